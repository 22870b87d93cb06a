# SPDX-License-Identifier: Apache-2.0
"""URCDC-Depth gives the numbers of the authors' code, in its parts and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import timm
import torch
import torchvision
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError
from depth_core.models import create_model
from depth_core.models.urcdc.coupling import CouplingUnit, FusionDecoder, SelectiveFusion
from depth_core.models.urcdc.network import PRETRAINED_SWIN, Urcdc, UrcdcPrediction, official_key
from depth_core.models.urcdc.neural_crf import POOL_SIZES, CrfStage, PooledBranch, QuarterHead
from depth_core.models.urcdc.swin import SwinEncoder, swin_from_timm
from test.depth_core.urcdc_official import TINY, fill
from test.rounding import assert_within_rounding, in_both_precisions, in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]

MODULE_TOLERANCE = 1e-5
"""Absolute, on values of about 1: the authors' float32 sums of up to 700 products; ours are of
float64."""
NETWORK_CEILING = 1e-4
"""Relative to the largest output: such differences through 24 Swin and 8 CRF blocks."""


def _assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=MODULE_TOLERANCE)


def _load(
    module: nn.Module, place: str, arrays: Mapping[str, Tensor], stored: str = 'sd.'
) -> None:
    """Load weights stored under the authors' names of `place` in the network, all of them."""
    parent = _parent(place)
    names = {key: stored + official_key(place + key).removeprefix(parent) for key in _keys(module)}
    module.double().load_state_dict({key: arrays[name] for key, name in names.items()})
    given = {key for key in arrays if key.startswith(stored) and not key.endswith('_index')}
    assert given == set(names.values())
    module.eval()


def _keys(module: nn.Module) -> list[str]:
    return list(module.state_dict())


def _parent(place: str) -> str:
    """The authors' name of a module, from that of a weight in it."""
    return {
        'cnn.encoder.units.0.': 'backbone.fusion1.',
        'cnn.decoder.fusions.0.': 'decoder2.fusion3.',
        'cnn.decoder.': 'decoder2.',
        'decoder.stages.0.': 'crf0.',
        'decoder.pooling.': 'decoder.psp_modules.',
        'depth_head.': 'disp_head1.',
    }[place]


# Parts


@torch.no_grad()
def test_coupling_unit(reference: Reference) -> None:
    arrays = in_float64(reference('urcdc_coupling_unit'))
    after = {key: value for key, value in arrays.items() if key.startswith('sd_after_train.')}
    unit = CouplingUnit(24, 16, bypass=0.0)
    _load(unit, 'cnn.encoder.units.0.', arrays)
    _assert_close(unit.joined(arrays['cnn'], arrays['transformer']), arrays['mid_eval'])
    _assert_close(unit(arrays['cnn'], arrays['transformer']), arrays['out_eval'])
    unit.train()
    _assert_close(unit(arrays['cnn'], arrays['transformer']), arrays['out_train'])
    state = unit.state_dict()
    for key in state:
        name = official_key(f'cnn.encoder.units.0.{key}').removeprefix('backbone.fusion1.')
        if f'sd_after_train.{name}' in after:
            _assert_close(state[key], after.pop(f'sd_after_train.{name}'))
    assert not after


@torch.no_grad()
def test_selective_fusion(reference: Reference) -> None:
    arrays = in_float64(reference('urcdc_sff'))
    fusion = SelectiveFusion(16)
    _load(fusion, 'cnn.decoder.fusions.0.', arrays)
    _assert_close(fusion(arrays['local'], arrays['glob']), arrays['out'])


@torch.no_grad()
def test_decoder_of_the_cnn(reference: Reference) -> None:
    arrays = in_float64(reference('urcdc_cnn_decoder'))
    decoder = FusionDecoder((8, 10, 12, 20))
    _load(decoder, 'cnn.decoder.', arrays)
    found = []
    for fusion in decoder.fusions:
        fusion.register_forward_pre_hook(lambda _, inputs: found.append(inputs[1]))
    maps = [arrays[name] for name in ('x1', 'x2', 'x3', 'x4')]
    _assert_close(decoder(maps), arrays['out1'])
    for wide, name in zip(found, ('out4', 'out3', 'out2'), strict=True):
        _assert_close(wide, arrays[name])


@torch.no_grad()
@pytest.mark.parametrize(('suffix', 'in_channels'), [('', 24), ('_noproj', 32)])
def test_crf_stage(reference: Reference, suffix: str, in_channels: int) -> None:
    arrays = in_float64(reference('urcdc_crf'))
    stage = CrfStage(in_channels, 16, 32, heads=4, window=7)
    _load(stage, 'decoder.stages.0.', arrays, f'sd{suffix}.')
    out = stage(arrays[f'x{suffix}'], arrays[f'v{suffix}'])
    _assert_close(out, arrays[f'out{suffix}'])
    if not suffix:
        _assert_close(F.pixel_shuffle(out, 2), arrays['pixelshuffled'])


@torch.no_grad()
@pytest.mark.parametrize(('index', 'side'), list(enumerate(POOL_SIZES)))
def test_pooled_branch_has_group_norm_at_every_size(
    reference: Reference, index: int, side: int
) -> None:
    arrays = in_float64(reference('urcdc_ppm'))
    branch = PooledBranch(16, 512, side=side, groups=256).double()
    names = {'conv.weight': 'conv.weight', 'norm.weight': 'gn.weight', 'norm.bias': 'gn.bias'}
    stored = f'sd.{index}.1.'
    branch.load_state_dict({key: arrays[stored + name] for key, name in names.items()})
    _assert_close(branch(arrays['x'])[:, ::16], arrays[f'out{index}'])


@torch.no_grad()
def test_head_enlarges_after_the_sigmoid(reference: Reference) -> None:
    arrays = in_float64(reference('urcdc_disp_head'))
    head = QuarterHead(16)
    _load(head, 'depth_head.', arrays)
    _assert_close(head(arrays['x']), arrays['sigmoid_x4'])


@torch.no_grad()
@pytest.mark.parametrize('size', [(2, 3), (5, 7), (6, 6), (15, 20), (1, 1)])
def test_pooling_by_matrices_is_adaptive_pooling(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, *size).double()
    for side in POOL_SIZES:
        branch = PooledBranch(4, 4, side=side, groups=1).double()
        nn.init.dirac_(branch.conv.weight)
        pooled = branch.norm(F.adaptive_avg_pool2d(x, side))
        expected = F.interpolate(F.relu(pooled), size, mode='bilinear', align_corners=False)
        _assert_close(branch(x), expected)


@torch.no_grad()
def test_swin_is_that_of_timm_where_both_pad_nothing() -> None:
    torch.manual_seed(0)
    # The last stage has maps of one window, on which timm does not shift: one block of it.
    depths, heads = (2, 2, 2, 1), (1, 2, 2, 4)
    theirs = SwinTransformer(
        img_size=224, embed_dim=8, depths=depths, num_heads=heads, drop_path_rate=0.0
    ).eval()
    ours = SwinEncoder(embed_dim=8, depths=depths, heads=heads, window=7, drop_path=0.0).eval()
    for weight in theirs.parameters():
        weight.normal_(std=0.2)
    ours.load_state_dict(ours.state_dict() | swin_from_timm(theirs.state_dict()))
    ours.double(), theirs.double()
    images = torch.rand(1, 3, 224, 224).double()
    expected = theirs.forward_intermediates(images, intermediates_only=True)
    for level, (found, tap) in enumerate(
        zip(ours(images), cast('list[Tensor]', expected), strict=True)
    ):
        normalised = F.layer_norm(tap.permute(0, 2, 3, 1), (8 * 2**level,)).permute(0, 3, 1, 2)
        torch.testing.assert_close(found, normalised, rtol=0.0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize('size', [(65, 93), (4, 4), (32, 100)])
def test_swin_takes_any_size(size: tuple[int, int]) -> None:
    encoder = SwinEncoder(embed_dim=4, depths=(1, 2, 1, 1), heads=(1,) * 4, window=7, drop_path=0)
    height, width = -(-size[0] // 4), -(-size[1] // 4)
    for tap in encoder.eval()(torch.rand(1, 3, *size)):
        assert tap.shape[-2:] == (height, width)
        height, width = -(-height // 2), -(-width // 2)


# The whole network


@torch.no_grad()
def test_full_network(reference: Reference) -> None:
    """The only test that holds all 334 M weights, 2.7 GB, at once."""
    arrays = reference('urcdc_full_network_formula_weights')
    with torch.device('meta'):
        empty = create_model('urcdc', max_depth=10.0)
    model = cast('Urcdc', fill(empty))
    img = arrays.pop('img')
    seen: dict[str, Any] = {}
    parts = {'swin': model.encoder, 'cnn': model.cnn.encoder, 'ppm': model.decoder.pooling}
    for name, part in parts.items():
        part.register_forward_hook(lambda *given, name=name: seen.update({name: given[2]}))

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        seen.clear()
        found = model.official_forward(img.to(dtype))
        assert list(found) == ['pred_d', 'pred_d2', 'u1', 'u2']
        maps, coupled, pooled = seen['swin'], seen['cnn'], seen['ppm']
        for branch, taps in (('swin', maps), ('cnn', coupled)):
            for level, tap in enumerate(taps):
                height, width = arrays[f'{branch}{level}_ch0_3'].shape[-2:]
                found[f'{branch}{level}_ch0_3'] = tap[:, :4, :height, :width]
                found[f'{branch}{level}_meanstd'] = torch.stack((tap.mean(), tap.std()))
        found['ppm_ch0_3'] = pooled[:, :4]
        return found

    found = in_both_precisions(model, run)
    assert found.float64.keys() == arrays.keys()
    assert_within_rounding(found, arrays, ceiling=NETWORK_CEILING)


def test_the_transformer_alone_has_the_published_size() -> None:
    with torch.device('meta'):
        model = create_model('urcdc')
    branch = sum(w.numel() for key, w in model.named_parameters() if not key.startswith('cnn.'))
    confidence = 128 * 9 + 1  # the published count is of what is scored: depth alone
    assert branch - confidence == 270_444_877


def test_pretrained_weights_have_their_places() -> None:
    """Names and shapes only: nothing is downloaded."""
    with torch.device('meta'):
        model = cast('Urcdc', create_model('urcdc'))
        swin = timm.create_model(PRETRAINED_SWIN, pretrained=False).state_dict()
        densenet = torchvision.models.densenet161().features.state_dict()
    own = model.encoder.state_dict()
    given = swin_from_timm(swin)
    assert {key for key in own if key not in given} == {key for key in own if 'norms.' in key}
    assert all(own[key].shape == value.shape for key, value in given.items())
    features = model.cnn.encoder.features.state_dict()
    assert features.keys() == densenet.keys()
    assert all(features[key].shape == value.shape for key, value in densenet.items())


# Wiring


def _tiny() -> Urcdc:
    torch.manual_seed(0)
    return cast('Urcdc', create_model('urcdc', **TINY))


def test_prediction_is_the_official_output_in_range() -> None:
    model = _tiny().eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        outputs = model.official_forward((images - model.mean) / model.std)
        prediction = model(images)
    assert isinstance(prediction, UrcdcPrediction)
    assert prediction.cnn is None
    torch.testing.assert_close(prediction.transformer.depth, outputs['pred_d'], rtol=0.0, atol=0.0)
    torch.testing.assert_close(prediction.depth, outputs['pred_d'][:, 0].clamp(1e-3, 10.0))


def test_the_cnn_cannot_move_the_transformer() -> None:
    model = _tiny()
    prediction = model(torch.rand(2, 3, 64, 96))
    assert prediction.cnn is not None
    (prediction.cnn.depth.mean() + prediction.cnn.confidence.mean()).backward()
    for key, weight in model.named_parameters():
        assert (weight.grad is not None) == key.startswith('cnn.'), key


def test_the_cnn_sees_the_transformer() -> None:
    model = _tiny().eval()
    x = torch.rand(1, 3, 64, 96)
    maps = model.encoder(x)
    with torch.no_grad():
        before = model.cnn(x, maps)
        for level in range(4):
            other = [*maps[:level], maps[level] + 1.0, *maps[level + 1 :]]
            after = model.cnn(x, other)
            assert not torch.equal(before[0], after[0])
            assert not torch.equal(before[1], after[1])


def test_the_cnn_runs_in_training_only() -> None:
    model = _tiny()
    runs = []
    model.cnn.register_forward_hook(lambda *_: runs.append(1))
    images = torch.rand(2, 3, 32, 64)
    assert model(images).cnn is not None
    model.eval()
    assert model(images).cnn is None
    assert len(runs) == 1
    model.official_forward(images)
    assert len(runs) == 2


@torch.no_grad()
def test_coupling_is_left_out_in_one_training_step_of_twenty() -> None:
    unit = CouplingUnit(4, 2, bypass=0.05)
    x, transformer = torch.rand(2, 4, 2, 2), torch.rand(2, 2, 2, 2)

    def draws(count: int) -> list[bool]:
        torch.manual_seed(7)
        return [unit(x, transformer) is x for _ in range(count)]

    first = draws(600)
    assert first[:50] == draws(50)
    # Three standard deviations of a share of 600 draws: sqrt(0.05 * 0.95 / 600) = 0.009.
    assert sum(first) / len(first) == pytest.approx(0.05, abs=0.027)
    unit.eval()
    assert not any(draws(100))


# Options


@pytest.mark.parametrize(
    ('options', 'value'),
    [
        ({'max_depth': 1e-4}, '0.0001'),
        ({'depths': (2, 2, 18)}, 'depths [2, 2, 18]'),
        ({'crf_heads': (4, 8, 0, 32)}, 'crf_heads [4, 8, 0, 32]'),
        ({'embed_dim': 100}, '100 channels cannot be split into 6'),
        ({'crf_channels': (128, 256, 512, 1022)}, '1022 channels cannot be split into 32'),
        ({'pooled_groups': 100}, '512 channels cannot be split into 100'),
        ({'drop_path': 1.0}, 'drop_path is 1.0'),
        ({'bypass': -0.1}, 'bypass is -0.1'),
        ({'window': 0}, 'window is 0'),
        ({'window': 8, 'pretrained': True}, 'weights exist for (192, (2, 2, 18, 2)'),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, object], value: str) -> None:
    with torch.device('meta'), pytest.raises(ConfigError) as error:
        create_model('urcdc', **options)
    assert value in str(error.value)
