# SPDX-License-Identifier: Apache-2.0
"""The semantic network guides depth, is never changed by it, and takes weights of many kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import CheckpointError, ConfigError, ModelError
from depth_core.models import create_model
from depth_core.models.selfsup.guidance import SemanticGuidance
from depth_core.models.selfsup.inverse_depth import InverseDepthModel
from depth_core.models.selfsup.packnet import PackNet
from depth_core.models.selfsup.packnet_blocks import ConvNormElu
from depth_core.models.selfsup.pixel_adaptive import PixelAdaptiveConv2d
from depth_core.models.selfsup.resnet import ReflectedConv
from depth_core.models.selfsup.semantic import FrozenSemantics, SemanticNetwork
from depth_core.models.selfsup.semantic_file import load_semantic_weights
from depth_core.weights.checkpoint import load_model, save_model

pytestmark = pytest.mark.numeric

ENCODER = 'tu-mobilenetv3_small_050'
NETWORK: dict[str, Any] = {'channels': 16, 'head_channels': 32}
SEMANTICS: dict[str, Any] = {
    'semantic_encoder': ENCODER,
    'semantic_channels': 16,
    'semantic_head_channels': 32,
    'guide_channels': 16,
}
PACKNET: dict[str, Any] = {
    'channels': (16, 16, 16, 32, 32), 'blocks': (1, 1, 1, 1), 'features_3d': 2,
}  # fmt: skip


def _network(**options: Any) -> SemanticNetwork:
    torch.manual_seed(0)
    return SemanticNetwork(ENCODER, **{**NETWORK, **options}).eval()


def _guided(name: str, **options: Any) -> InverseDepthModel:
    torch.manual_seed(0)
    tiny = PACKNET if name == 'semantic_packnet' else {}
    model = create_model(name, **{**tiny, **SEMANTICS, **options})
    assert isinstance(model, InverseDepthModel)
    return model


# The semantic network


@torch.no_grad()
def test_classes_are_those_of_the_library_and_levels_its_pyramid() -> None:
    network = _network().double()
    images = torch.rand(2, 3, 64, 96).double()
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    normalised = (images - mean[:, None, None]) / std[:, None, None]
    expected = network.network(normalised)
    torch.testing.assert_close(network(images), expected, rtol=0.0, atol=1e-5)
    assert expected.shape == (2, 19, 64, 96)
    shapes = [tuple(level.shape) for level in network.pyramid(images)]
    assert shapes == [(2, 16, 16, 24), (2, 16, 8, 12), (2, 16, 4, 6), (2, 16, 2, 3)]


def test_the_default_is_a_resnet_50_with_a_pyramid_of_256_for_cityscapes() -> None:
    with torch.device('meta'):
        network = SemanticNetwork()
    assert network.network.decoder.p5.weight.shape == (256, 2048, 1, 1)
    assert network.classes == 19


def test_every_weight_of_it_learns_when_it_is_let() -> None:
    network = _network().train()
    network(torch.rand(2, 3, 64, 96)).square().mean().backward()
    unmoved = [
        key for key, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]  # fmt: skip
    assert unmoved == []


@pytest.mark.parametrize(
    ('encoder', 'options', 'error', 'message'),
    [
        ('resnet51', {}, ModelError, "did you mean 'resnet50'"),
        ('tu-resnet51x', {}, ModelError, "unknown timm encoder 'resnet51x'"),
        ('tu-vit_tiny_patch16_224', {}, ModelError, 'gives no feature pyramid'),
        (ENCODER, {'head_channels': 48}, ConfigError, 'the last a multiple of 32'),
        (ENCODER, {'classes': 0}, ConfigError, '0 classes'),
    ],
)
def test_a_network_that_cannot_be_is_refused(
    encoder: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SemanticNetwork(encoder, **{**NETWORK, **options})


# Frozen inside a depth network


@pytest.mark.parametrize('name', ['semantic_packnet', 'semantic_resnet18'])
def test_it_stays_as_it_is_whatever_is_asked_of_the_depth_network(name: str) -> None:
    model = _guided(name)
    semantics = model.get_submodule('semantics')
    assert isinstance(semantics, FrozenSemantics)
    before = {key: value.clone() for key, value in semantics.state_dict().items()}
    optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=0.1)
    model.train()
    assert not any(layer.training for layer in semantics.modules())
    images = torch.rand(2, 3, 64, 96, requires_grad=True)
    model(images).inv_depths[0].mean().backward()
    optimizer.step()
    assert not any(weight.requires_grad for weight in semantics.parameters())
    assert all(level.grad_fn is None for level in semantics(images))
    for key, value in semantics.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_the_guide_matters() -> None:
    model = _guided('semantic_resnet18').eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        before = model(images).depth
        for weight in model.get_submodule('semantics').parameters():
            weight.add_(0.05)
        assert not torch.allclose(model(images).depth, before, rtol=1e-3)


# Guidance


def _guidance(*strides: int) -> SemanticGuidance:
    torch.manual_seed(0)
    return SemanticGuidance(
        16, channels=16, level_strides=(16, 8, 4, 2, 1), guided_strides=strides
    ).eval()


@torch.no_grad()
def test_each_level_is_guided_by_its_own_stride_or_by_the_finest() -> None:
    pyramid = [torch.rand(1, 16, 32 // s, 64 // s) for s in (1, 2, 4, 8)]  # strides 4 to 32
    guides = _guidance(16, 8, 4, 2, 1)(pyramid)
    sizes = [tuple(guide.shape[-2:]) for guide in guides if guide is not None]
    assert sizes == [(8, 16), (16, 32), (32, 64), (64, 128), (128, 256)]
    # Only the level of the same stride speaks.
    for index, (level, guide) in enumerate(zip((2, 1, 0, 0, 0), guides, strict=True)):
        changed = [
            value if place == level else torch.rand_like(value)
            for place, value in enumerate(pyramid)
        ]
        again = _guidance(16, 8, 4, 2, 1)(changed)[index]
        assert guide is not None
        assert again is not None
        assert torch.equal(again, guide)
    assert [guide is None for guide in _guidance(8, 1)(pyramid)] == [
        True,
        False,
        True,
        True,
        False,
    ]


@torch.no_grad()
def test_unrelated_pixels_start_about_one_apart_whatever_the_width() -> None:
    for channels in (16, 64):
        torch.manual_seed(0)
        guidance = SemanticGuidance(16, channels=channels, level_strides=(4,), guided_strides=(4,))
        (guide,) = guidance([torch.randn(1, 16, 32, 32)])
        assert guide is not None
        apart = (guide[..., ::8, ::8] - guide[..., 4::8, 4::8]).square().sum(dim=1)
        assert 0.5 < float(apart.mean()) < 2.5


def test_guidance_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match='guide_channels 24 is not a positive multiple of 16'):
        _guided('semantic_resnet18', guide_channels=24)
    with pytest.raises(ConfigError, match=r'\[32\]: give some of \[16, 8, 4, 2, 1\]'):
        _guided('semantic_packnet', guided_strides=(32,))
    with pytest.raises(ConfigError, match=r'guided_strides \[\]'):
        _guided('semantic_packnet', guided_strides=())


@torch.no_grad()
@pytest.mark.parametrize('constant', [0.0, 1.0])
def test_a_constant_guide_makes_ordinary_layers(constant: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 6, 7, 9).double()
    guide = torch.full((1, 4, 7, 9), constant, dtype=torch.float64)
    zero_padded = ConvNormElu(6, 16, 3, guided=True).double()
    adaptive = zero_padded.conv
    assert isinstance(adaptive, PixelAdaptiveConv2d)
    expected = F.conv2d(x, adaptive.weight, adaptive.bias, padding=1)
    torch.testing.assert_close(zero_padded(x, guide), F.elu(zero_padded.norm(expected)))
    mirrored = ReflectedConv(6, 16, guided=True).double()
    adaptive = mirrored.conv
    assert isinstance(adaptive, PixelAdaptiveConv2d)
    padded = F.pad(x, (1, 1, 1, 1), mode='reflect')
    torch.testing.assert_close(
        mirrored(x, guide), F.conv2d(padded, adaptive.weight, adaptive.bias), rtol=0.0, atol=1e-12
    )


class _NoGuide(nn.Module):
    """Says the same of every pixel of every level."""

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        height, width = pyramid[0].shape[-2:]
        return [
            pyramid[0].new_zeros(1, 16, height * 4 // stride, width * 4 // stride)
            for stride in (16, 8, 4, 2, 1)
        ]


@torch.no_grad()
@pytest.mark.parametrize('name', ['semantic_packnet', 'semantic_resnet18'])
def test_with_a_constant_guide_the_network_is_the_unguided_one(name: str) -> None:
    guided = _guided(name, guided_strides=(16, 8, 4, 2, 1)).eval()
    guided.add_module('guidance', _NoGuide())
    plain_name = {'semantic_packnet': 'packnet01', 'semantic_resnet18': 'selfsup_resnet18'}[name]
    plain = create_model(plain_name, **(PACKNET if name == 'semantic_packnet' else {})).eval()
    own = guided.state_dict()
    plain.load_state_dict({key: own[key] for key in plain.state_dict()})
    assert isinstance(plain, InverseDepthModel)
    guided.double(), plain.double()
    images = torch.rand(1, 3, 64, 96).double()
    for found, expected in zip(guided(images).inv_depths, plain(images).inv_depths, strict=True):
        # Sums in another order, through the decoder.
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=0.0)


def test_guided_filters_start_as_unguided_ones() -> None:
    model = _guided('semantic_packnet')
    assert isinstance(model, PackNet)
    adaptive = model.decoder.get_submodule('levels.0.merge.conv')
    assert isinstance(adaptive, PixelAdaptiveConv2d)
    assert adaptive.bias is not None
    assert not adaptive.bias.any()
    fan = 9 * (adaptive.weight.shape[0] + adaptive.weight.shape[1])
    bound = (6.0 / fan) ** 0.5  # Xavier
    assert 0.9 * bound < float(adaptive.weight.detach().abs().max()) <= bound


# Weights


def _differs(model: InverseDepthModel, network: SemanticNetwork) -> bool:
    own = model.get_submodule('semantics.network').state_dict()
    return any(not torch.equal(own[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize('form', ['.pth', '.pth in a container', '.safetensors', 'folder'])
def test_weights_of_the_library_are_taken(form: str, tmp_path: Path) -> None:
    library = smp.FPN(
        ENCODER, encoder_weights=None, classes=19,
        decoder_pyramid_channels=16, decoder_segmentation_channels=32,
    )  # fmt: skip
    path = tmp_path / 'weights.pth'
    if form in {'.safetensors', 'folder'}:
        library.save_pretrained(tmp_path / 'saved')
        path = tmp_path / 'saved'
        path = path / 'model.safetensors' if form == '.safetensors' else path
    elif form == '.pth':
        torch.save(library.state_dict(), path)
    else:
        state = {f'model.{key}': value for key, value in library.state_dict().items()}
        torch.save({'state_dict': state, 'epoch': 3}, path)
    model = _guided('semantic_resnet18', semantic_weights=str(path))
    expected = _network()
    expected.network.load_state_dict(library.state_dict())
    assert not _differs(model, expected)
    assert _differs(_guided('semantic_resnet18'), expected)


def test_a_checkpoint_of_another_guided_network_is_taken(tmp_path: Path) -> None:
    source = _guided('semantic_packnet')
    for weight in source.get_submodule('semantics').parameters():
        nn.init.normal_(weight)
    path = tmp_path / 'semantic.ckpt'
    save_model(path, source)
    model = _guided('semantic_resnet18', semantic_weights=str(path))
    network = source.get_submodule('semantics.network')
    assert isinstance(network, SemanticNetwork)
    assert not _differs(model, network)
    # The checkpoint of the new network does not depend on the file.
    save_model(tmp_path / 'depth.ckpt', model)
    path.unlink()
    assert model.options['semantic_weights'] is None
    again = load_model(tmp_path / 'depth.ckpt')
    assert isinstance(again, InverseDepthModel)
    assert not _differs(again, network)


@pytest.mark.parametrize(
    ('encoder', 'classifier', 'prefix'),
    [
        ('resnet50', True, ''),
        ('resnet18', False, 'module.'),
        ('resnet18', True, 'model.'),
        ('tu-resnet18', True, 'module.model.'),
        ('tu-resnet18', False, 'encoder.'),
        ('tu-mobilenetv3_small_050', True, ''),
        ('tu-convnext_atto', True, ''),  # timm calls its stages stages_0 in pyramids
    ],
)
def test_an_encoder_alone_is_taken_and_the_rest_stays(
    encoder: str, classifier: bool, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(1)
    # As published: the whole network of timm, whose names torchvision shares for ResNets.
    source = timm.create_model(encoder.removeprefix('tu-'), pretrained=False)
    state = {
        key: value for key, value in source.state_dict().items()
        if classifier or not key.startswith('fc.')
    }  # fmt: skip
    path = tmp_path / 'encoder.pth'
    torch.save({'state_dict': {f'{prefix}{key}': value for key, value in state.items()}}, path)
    torch.manual_seed(0)
    network = SemanticNetwork(encoder, **NETWORK)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_semantic_weights(network, path)
    path.unlink()
    plain = {key.replace('_', '.'): value for key, value in state.items()}
    for key, value in network.state_dict().items():
        place = key.removeprefix('network.encoder.').removeprefix('model.').replace('_', '.')
        inside = key.startswith('network.encoder.')
        assert torch.equal(value, plain[place] if inside else before[key]), key
    assert any(not torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert 'holds an encoder alone: the feature pyramid and the head keep' in caplog.text


def test_an_encoder_that_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    network = SemanticNetwork('resnet18', **NETWORK)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fitting = timm.create_model('resnet18', pretrained=False).state_dict()
    old = {key: value for key, value in fitting.items() if not key.endswith('tracked')}
    path = tmp_path / 'encoder.pth'
    short = {key: value for key, value in fitting.items() if key != 'layer4.1.bn2.bias'}
    for wrong, words in (
        (short, '1 missing: network.encoder.layer4.1.bn2.bias'),
        (fitting | {'layer5.weight': torch.zeros(1)}, '1 surplus: network.layer5'),
        (fitting | {'conv1.weight': torch.zeros(64, 1, 7, 7)}, r'1 of another shape: .*conv1'),
        (timm.create_model('resnet34', pretrained=False).state_dict(), 'network.layer1.2.conv1'),
        ({'fc.weight': torch.zeros(1)}, 'and 90 more'),
    ):
        torch.save(wrong, path)
        with pytest.raises(CheckpointError, match=words) as error:
            load_semantic_weights(network, path)
        assert 'it was taken for an encoder alone' in str(error.value)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
    torch.save(old, path)  # of before there was a counter of batches
    load_semantic_weights(network, path)
    assert torch.equal(network.state_dict()['network.encoder.conv1.weight'], old['conv1.weight'])
    path.unlink()


def test_extras_of_tools_do_no_harm_and_broken_values_are_refused(tmp_path: Path) -> None:
    network, path = _network(), tmp_path / 'fpn.pth'
    other = _network().network.state_dict()
    wrapped = {
        f'module._orig_mod.{key}': value.double()
        for key, value in other.items()
        if not key.endswith('num_batches_tracked')
    }
    torch.save({'model': wrapped | {'total_params': torch.ones(1)}, 'epoch': 7}, path)
    load_semantic_weights(network, path)
    assert torch.equal(network.network.state_dict()['decoder.p5.bias'], other['decoder.p5.bias'])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    broken = torch.full_like(other['decoder.p5.bias'], float('nan'))
    torch.save(other | {'decoder.p5.bias': broken}, path)
    with pytest.raises(CheckpointError, match=r'fpn\.pth: 1 of .* infinite: network\.decoder\.p5'):
        load_semantic_weights(network, path)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_weights_that_do_not_fit_are_refused_whole(tmp_path: Path) -> None:
    network = _network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    other = _network(classes=5).network.state_dict()
    del other['decoder.p5.bias']
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError) as error:
        load_semantic_weights(network, tmp_path / 'other.pth')
    assert '1 missing: network.decoder.p5.bias' in str(error.value)
    assert 'network.segmentation_head.0.weight (given (5, 32, 1, 1), network (19, 32' in str(
        error.value
    )
    assert 'semantic_classes' in str(error.value)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    network = _network()
    with pytest.raises(CheckpointError, match=r'none\.pth does not exist'):
        load_semantic_weights(network, tmp_path / 'none.pth')
    for name, content in (('broken.pth', b'PK\x03\x04'), ('broken.safetensors', b'12345678{')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match='no complete'):
            load_semantic_weights(network, tmp_path / name)
    torch.save({'epoch': 3}, tmp_path / 'no_state.pth')
    with pytest.raises(CheckpointError, match='holds no state dict'):
        load_semantic_weights(network, tmp_path / 'no_state.pth')
    plain = create_model('packnet01', **PACKNET)
    save_model(tmp_path / 'plain.ckpt', plain)
    with pytest.raises(CheckpointError, match='without semantic guidance'):
        load_semantic_weights(network, tmp_path / 'plain.ckpt')
