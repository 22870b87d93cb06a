# SPDX-License-Identifier: Apache-2.0
"""The semantic network guides depth and is never changed by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, ModelError
from depth_core.models import create_model
from depth_core.models.selfsup.guidance import SemanticGuidance
from depth_core.models.selfsup.inverse_depth import InverseDepthModel
from depth_core.models.selfsup.packnet import PackNet
from depth_core.models.selfsup.packnet_blocks import ConvNormElu
from depth_core.models.selfsup.pixel_adaptive import PixelAdaptiveConv2d
from depth_core.models.selfsup.resnet import ReflectedConv
from depth_core.models.selfsup.semantic import FrozenSemantics, SemanticNetwork

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
