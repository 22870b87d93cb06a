# SPDX-License-Identifier: Apache-2.0
"""DenseDepth gives the numbers of the authors' code, and metres where users ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from depth_core.convert import convert_state_dict
from depth_core.errors import ConfigError, ModelError
from depth_core.losses import laplace_nll
from depth_core.models import create_model
from depth_core.models.blocks import Sampling
from depth_core.models.densedepth import (
    Decoder,
    DenseDepth,
    DenseDepthPrediction,
    DenseDepthSmall,
    UpsampleBlock,
    decode_depth,
    official_key,
)
from test.rounding import assert_within_rounding, in_both_precisions, in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]

MODULE_TOLERANCE = 1e-5
"""Absolute, on values of about 1: the authors' float32 sums of up to 2900 products; ours are of
float64."""
NETWORK_CEILING = 1e-4
"""Relative to the largest output: such differences through 169 layers."""


def _weights(arrays: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    return {
        rename(key.removeprefix('sd.')): value
        for key, value in arrays.items()
        if key.startswith('sd.')
    }


def _assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=MODULE_TOLERANCE)


@pytest.mark.parametrize(
    ('output', 'activation_after_conv_a', 'upsampling'),
    [
        ('out_checkpoint', False, 'align_corners'),
        ('out_two_leaky', True, 'align_corners'),
        ('out_checkpoint_halfpixel', False, 'half_pixel'),
    ],
)
def test_upsample_block_in_each_wiring(
    reference: Reference, output: str, upsampling: Sampling, *, activation_after_conv_a: bool
) -> None:
    arrays = in_float64(reference('dd_upsample_block'))
    block = UpsampleBlock(
        24, 12, 16, activation_after_conv_a=activation_after_conv_a, upsampling=upsampling
    )
    block.double().load_state_dict(_weights(arrays, _our_block_key))
    _assert_close(block(arrays['x'], arrays['skip']), arrays[output])


def _our_block_key(key: str) -> str:
    return key.replace('convA', 'conv_a').replace('convB', 'conv_b')


@pytest.mark.parametrize(('name', 'width'), [('full', 1.0), ('half', 0.5)])
def test_decoder_in_both_widths(reference: Reference, name: str, width: float) -> None:
    inputs = in_float64(reference('dd_decoder_small_full'))
    arrays = in_float64(reference(f'dd_decoder_small_{name}'))
    decoder = Decoder(
        (64, 64, 128, 256, 64),
        width=width,
        activation_after_conv_a=False,
        upsampling='align_corners',
    )
    ours = {
        official_key(f'decoder.{key}').removeprefix('decoder.'): key
        for key in decoder.state_dict()
    }
    decoder.double().load_state_dict(_weights(arrays, ours.__getitem__))
    top = inputs['thirtysecond_prerelu'].relu()
    skips = [inputs[key] for key in ('half_res', 'quarter', 'eighth', 'sixteenth')]
    first = decoder.conv2(top)
    _assert_close(first, arrays['d0'])
    _assert_close(decoder.blocks[0](first, skips[-1]), arrays['d1'])
    _assert_close(decoder([*skips, top])[0], arrays['out'])


@pytest.fixture(scope='module')
def official_network(densedepth_official: Mapping[str, Tensor]) -> DenseDepth:
    with torch.device('meta'):  # no time is spent on values that are replaced
        model = create_model('densedepth')
    assert isinstance(model, DenseDepth)
    model.load_state_dict(convert_state_dict('densedepth', densedepth_official), assign=True)
    return model.eval()


def test_full_network(official_network: DenseDepth, reference: Reference) -> None:
    arrays = reference('dd_full_network_formula_weights')
    img = arrays.pop('img')

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        x = img.to(dtype)
        maps = official_network.encoder(x)
        taps = dict(zip((3, 4, 6, 8), maps, strict=False))
        # torchvision's features end before the last ReLU, which the authors apply in the decoder.
        taps[12] = official_network.encoder.features(x)
        found = {'out': official_network.official_forward(x)['out']}
        for index, tap in taps.items():
            height, width = arrays[f'feat{index}_ch0_3'].shape[2:]
            found[f'feat{index}_ch0_3'] = tap[:, :4, :height, :width]
            found[f'feat{index}_meanstd'] = torch.stack((tap.mean(), tap.std()))
        last = maps[4]
        found['feat12_relu_meanstd'] = torch.stack((last.mean(), last.std()))
        return found

    found = in_both_precisions(official_network, run)
    assert found.float64.keys() == arrays.keys()
    assert_within_rounding(found, arrays, ceiling=NETWORK_CEILING)


def test_published_size_in_parameters() -> None:
    with torch.device('meta'):
        published = cast('DenseDepth', create_model('densedepth'))
        half = cast('DenseDepth', create_model('densedepth', decoder_width=0.5))

    def count(model: DenseDepth) -> int:
        parts = (model.encoder, model.decoder)
        return sum(weight.numel() for part in parts for weight in part.parameters())

    assert count(published) == 42_657_689
    assert count(half) == 21_365_405


@torch.no_grad()
def test_official_network_takes_odd_sizes(official_network: DenseDepth) -> None:
    assert official_network.official_forward(torch.rand(1, 3, 70, 101))['out'].shape[1:] == (
        1,
        35,
        51,
    )


def test_depth_conventions_of_the_original(reference: Reference) -> None:
    arrays = reference('dd_depth_conventions')
    output = arrays['net_output']
    nyu = decode_depth(output, min_depth=0.1, max_depth=10.0)
    torch.testing.assert_close(nyu / 10.0, arrays['predict_0_1'])
    torch.testing.assert_close(nyu, arrays['predict_m_nyu'])
    kitti = decode_depth(output, min_depth=1.0, max_depth=80.0)
    torch.testing.assert_close(kitti, arrays['predict_m_kitti'])


def test_decoding_zero_and_extremes_keeps_gradients_finite() -> None:
    output = torch.tensor([0.0, -1e-30, 1e30, 1e-30, 5.0, -2.0], requires_grad=True)
    depth = decode_depth(output, min_depth=0.1, max_depth=10.0)
    assert depth.tolist() == pytest.approx([10.0, 0.1, 0.1, 10.0, 2.0, 0.1])
    depth.sum().backward()
    assert output.grad is not None
    # Only 5.0 is inside the range: d(10 / y) / dy = -10 / 25.
    assert output.grad.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0, -0.4, 0.0])


@torch.no_grad()
def test_prediction_is_the_decoded_official_output(official_network: DenseDepth) -> None:
    images = torch.rand(2, 3, 64, 96)
    prediction = official_network(images)
    assert isinstance(prediction, DenseDepthPrediction)
    out = official_network.official_forward(images)['out']
    torch.testing.assert_close(prediction.reciprocal, out, rtol=0.0, atol=0.0)
    depth = decode_depth(out, min_depth=0.1, max_depth=10.0)
    enlarged = torch.nn.functional.interpolate(depth, scale_factor=2, mode='bilinear')
    torch.testing.assert_close(prediction.depth, enlarged[:, 0])


def _trained_apart(name: str) -> tuple[Any, DenseDepthPrediction]:
    torch.manual_seed(0)
    model = create_model(name)
    prediction = model(torch.rand(2, 3, 64, 96))
    target = torch.full_like(prediction.depth, 4.0)
    laplace_nll(prediction.depth, prediction.sigma, target).backward()
    return model, prediction


@pytest.mark.parametrize('name', ['densedepth', 'densedepth_small'])
def test_training_sigma_cannot_move_depth(name: str) -> None:
    model, prediction = _trained_apart(name)
    reached = {key for key, weight in model.named_parameters() if weight.grad is not None}
    assert reached == {f'sigma_head.{key}' for key, _ in model.sigma_head.named_parameters()}
    # Even a loss on sigma itself, not detached by the likelihood, stops at the head.
    model.zero_grad()
    model(torch.rand(2, 3, 64, 96)).sigma.sum().backward()
    assert {key for key, weight in model.named_parameters() if weight.grad is not None} == reached
    assert prediction.depth.requires_grad


@torch.no_grad()
@pytest.mark.parametrize('name', ['densedepth', 'densedepth_small'])
def test_depth_is_the_same_with_another_sigma_head(name: str) -> None:
    torch.manual_seed(0)
    model = cast('DenseDepth | DenseDepthSmall', create_model(name).eval())
    images = torch.rand(1, 3, 64, 96)
    before = model(images)
    for weight in model.sigma_head.parameters():
        weight.normal_()
    after = model(images)
    assert torch.equal(before.depth, after.depth)
    assert torch.equal(before.reciprocal, after.reciprocal)
    assert not torch.equal(before.sigma, after.sigma)


@torch.no_grad()
def test_small_network_states_its_whole_range_for_any_weights() -> None:
    model = cast('DenseDepthSmall', create_model('densedepth_small').eval())
    images = torch.rand(1, 3, 32, 64)
    model.decoder.out.weight.zero_()
    for bias, depth_m in ((-1e4, 80.0), (0.0, (0.5 * 80.0) ** 0.5), (1e4, 0.5)):
        model.decoder.out.get_parameter('bias').fill_(bias)
        prediction = model(images)
        expected = torch.full_like(prediction.depth, depth_m)
        torch.testing.assert_close(prediction.depth, expected)
        assert (prediction.reciprocal > 0.0).all()


def test_small_network_fits_its_budget() -> None:
    model = create_model('densedepth_small')
    megabytes = sum(tensor.numel() * 4 for tensor in model.state_dict().values()) / 1e6
    assert megabytes < 9.9  # 10 MB with the graph around the weights


@torch.no_grad()
@pytest.mark.parametrize('encoder', ['resnet18', 'convnext_atto', 'mobilenetv4_conv_small_035'])
def test_small_network_on_other_encoders(encoder: str) -> None:
    model = create_model('densedepth_small', encoder=encoder).eval()
    assert model(torch.rand(1, 3, 64, 96)).depth.shape == (1, 64, 96)


@pytest.mark.parametrize(
    ('encoder', 'remedy'),
    [
        ('mobilnetv3_large_075', 'mobilenetv3_large_075'),
        ('vit_tiny_patch16_224', 'strides [16, 16, 16]'),
        ('swin_tiny_patch4_window7_224', 'NHWC'),
    ],
)
def test_small_network_refuses_what_is_no_pyramid(encoder: str, remedy: str) -> None:
    with pytest.raises(ModelError) as error:
        create_model('densedepth_small', encoder=encoder)
    assert encoder in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    ('name', 'options', 'value'),
    [
        ('densedepth', {'max_depth': 0.05}, '0.05'),
        ('densedepth', {'min_depth': 0.0}, '0.0'),
        ('densedepth', {'decoder_width': 1.5}, '1.5'),
        ('densedepth', {'upsampling': 'align_corner'}, 'align_corners'),
        ('densedepth_small', {'decoder_channels': (8, 8)}, '[8, 8]'),
    ],
)
def test_an_option_out_of_range_is_refused(name: str, options: dict[str, Any], value: str) -> None:
    with pytest.raises(ConfigError) as error:
        create_model(name, **options)
    assert value in str(error.value)


def test_an_unknown_densenet_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match='densenet161'):
        create_model('densedepth', encoder='densenet168')
