# SPDX-License-Identifier: Apache-2.0
"""CLIFFNet gives the numbers of the authors' code, and metres within its range."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from depth_core.errors import ConfigError, ModelError
from depth_core.losses import l1, laplace_nll
from depth_core.models import create_model
from depth_core.models.cliffnet.caffe_resnet import CaffeResNet, for_bgr_255
from depth_core.models.cliffnet.fusion import CliffModule, resize_to
from depth_core.models.cliffnet.network import (
    CliffDecoder,
    CliffNet,
    CliffNetPrediction,
    CliffNetSmall,
    FeaturePyramid,
    clamp_passing_gradient,
    official_key,
)
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]

MODULE_TOLERANCE = 1e-5
"""Absolute, on values of about 1: the authors' float32 sums of up to 18,000 products; ours are of
float64."""

TINY: dict[str, Any] = {'layers': (1, 1, 1, 1), 'channels': 8}


def _load(module: nn.Module, arrays: Mapping[str, Tensor], prefix: str, beginning: str) -> None:
    """Fill `module`, whose own keys are `beginning` + key in the whole network."""
    ours = {official_key(f'{beginning}{key}'): key for key in module.state_dict()}
    before = {'pyramid.': 'fpn.', 'decoder.': 'fcn.', '': ''}[beginning]
    state = {
        ours[before + key.removeprefix(prefix)]: value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
    module.double().load_state_dict(state)


def _assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=MODULE_TOLERANCE)


@pytest.mark.parametrize(
    ('prefix', 'output', 'norm', 'train'),
    [
        ('sd.', 'out_bn_eval', True, False),
        ('sd.', 'out_bn_train', True, True),
        ('sd_nobn.', 'out_nobn', False, False),
    ],
)
@torch.no_grad()
def test_the_module(
    reference: Reference, prefix: str, output: str, *, norm: bool, train: bool
) -> None:
    arrays = in_float64(reference('cliff_module'))
    module = CliffModule(8, norm=norm)
    _load(module, arrays, prefix, '')
    module.train(train)
    _assert_close(module(arrays['x_low'], arrays['x_high']), arrays[output])


@torch.no_grad()
def test_the_module_hands_the_high_level_on() -> None:
    """With weights of zero the fused part is 0, and what is left is the enlarged map itself."""
    module = CliffModule(3, norm=False)
    for weight in module.parameters():
        nn.init.zeros_(weight)
    high = torch.arange(12.0).reshape(1, 3, 2, 2)
    enlarged = nn.functional.interpolate(high, size=(4, 4), mode='bilinear')
    assert torch.equal(module(torch.rand(1, 3, 4, 4), high), enlarged)


@torch.no_grad()
def test_levels_may_be_summed_instead() -> None:
    torch.manual_seed(0)
    low, high = torch.rand(1, 8, 6, 8), torch.rand(1, 8, 3, 4)
    decoder = CliffDecoder(2, 8, fusion='sum')
    assert not list(decoder.fuse.parameters())
    torch.testing.assert_close(decoder.fuse[0](low, high), low + resize_to(high, low))


def test_the_pyramid(reference: Reference) -> None:
    arrays = in_float64(reference('cliff_fpn'))
    pyramid = FeaturePyramid((256, 512, 1024, 2048), 8)
    _load(pyramid, arrays, 'sd.', 'pyramid.')
    maps = pyramid.eval()([arrays[f'r{level}'] for level in (2, 3, 4, 5)])
    for level, found in zip((2, 3, 4, 5), maps, strict=True):
        _assert_close(found, arrays[f'p{level}'])


@torch.no_grad()
def test_the_decoder(reference: Reference) -> None:
    arrays = in_float64(reference('cliff_fusion_head'))
    decoder = CliffDecoder(4, 8)
    _load(decoder, arrays, 'sd.', 'decoder.')
    raw_m, _ = decoder.eval()([arrays[f'p{level}'] for level in (2, 3, 4, 5)])
    size = cast('list[int]', arrays['image_hw'].tolist())
    _assert_close(nn.functional.interpolate(raw_m, size, mode='bilinear'), arrays['out'])


def test_the_size_is_halved_in_the_first_convolution_of_a_stage() -> None:
    caffe = CaffeResNet((1, 1, 1, 1), stride_in='first_1x1', pretrained=False).eval()
    torchvision = CaffeResNet((1, 1, 1, 1), stride_in='3x3', pretrained=False).eval()
    torchvision.load_state_dict(caffe.state_dict())
    assert [block.conv1.stride for block in (caffe.layer1[0], caffe.layer2[0])] == [(1, 1), (2, 2)]
    assert caffe.layer2[0].conv2.stride == (1, 1)
    x = torch.rand(1, 3, 64, 64)
    first, second = caffe(x), torchvision(x)
    assert [item.shape for item in first] == [item.shape for item in second]
    assert torch.equal(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_a_first_layer_of_torchvision_is_turned_to_bgr() -> None:
    weight = torch.rand(4, 3, 7, 7).double() - 0.5
    mean = torch.tensor((0.485, 0.456, 0.406)).reshape(1, 3, 1, 1)
    std = torch.tensor((0.229, 0.224, 0.225)).reshape(1, 3, 1, 1)
    images = torch.rand(1, 3, 16, 16).double()
    expected = nn.functional.conv2d((images - mean) / std, weight, stride=2)
    x = (255.0 * (images - mean)).flip(1)
    found = nn.functional.conv2d(x, for_bgr_255(weight), stride=2)
    # The constants are of float32, on which sums of 147 products are built.
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-6)


def test_published_size_in_parameters() -> None:
    with torch.device('meta'):
        model = cast('CliffNet', create_model('cliffnet'))
    counts = {
        name: sum(weight.numel() for weight in part.parameters())
        for name, part in model.named_children()
    }
    assert counts.pop('sigma_head') > 0
    assert counts == {'encoder': 23_508_032, 'pyramid': 3_348_480, 'decoder': 10_035_969}


@torch.no_grad()
def test_images_become_bgr_without_their_mean() -> None:
    model = create_model('cliffnet', **TINY).eval()
    images = torch.rand(1, 3, 64, 96)
    red, green, blue = (images[:, channel] * 255.0 for channel in range(3))
    x = torch.stack((blue - 102.9801, green - 115.9465, red - 122.7717), dim=1)
    prediction = model(images)
    assert isinstance(prediction, CliffNetPrediction)
    out = model.official_forward(x)['out']
    torch.testing.assert_close(prediction.raw_m, out)
    torch.testing.assert_close(prediction.depth, out[:, 0].clamp(0.1, 10.0))


@torch.no_grad()
def test_the_authors_network_takes_any_size() -> None:
    model = create_model('cliffnet', **TINY).eval()
    assert model.official_forward(torch.rand(1, 3, 61, 93))['out'].shape == (1, 1, 61, 93)


def test_clamping_keeps_values_in_range_and_gradients_alive() -> None:
    x = torch.tensor([-3.0, 0.1, 5.0, 1e30], requires_grad=True)
    clamped = clamp_passing_gradient(x, 0.1, 10.0)
    assert clamped.tolist() == pytest.approx([0.1, 0.1, 5.0, 10.0])
    l1(clamped, torch.full_like(clamped, 3.0)).backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([-0.25, -0.25, 0.25, 0.25])
    with torch.no_grad():
        assert torch.equal(clamp_passing_gradient(x, 0.1, 10.0), clamped)


@torch.no_grad()
def test_depth_beyond_the_range_is_its_end() -> None:
    model = create_model('cliffnet', **TINY).eval()
    assert isinstance(model, CliffNet)
    bias = model.decoder.score[3].get_parameter('bias')
    for raw, end in ((1e6, 10.0), (-1e6, 0.1)):
        bias.fill_(raw)
        prediction = model(torch.rand(1, 3, 64, 64))
        assert (prediction.depth == end).all()
        assert torch.isfinite(prediction.sigma).all()
        assert (prediction.raw_m.abs() > 1e5).all()


@pytest.mark.parametrize(
    ('name', 'options'),
    [('cliffnet', TINY), ('cliffnet_small', {'encoder': 'mobilenetv3_small_050', 'channels': 8})],
)
def test_training_sigma_cannot_move_depth(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = create_model(name, **options)
    prediction = model(torch.rand(2, 3, 64, 96))
    target = torch.full_like(prediction.depth, 4.0)
    laplace_nll(prediction.depth, prediction.sigma, target).backward()
    moved = {
        key for key, weight in model.named_parameters() if weight.grad is not None
    }  # fmt: skip
    assert moved == {key for key, _ in model.named_parameters() if key.startswith('sigma_head.')}


@torch.no_grad()
def test_sigma_takes_no_part_in_depth() -> None:
    model = create_model('cliffnet', **TINY).eval()
    images = torch.rand(1, 3, 64, 64)
    before = model(images)
    for key, weight in model.named_parameters():
        if key.startswith('sigma_head.'):
            weight.add_(1.0)
    after = model(images)
    assert torch.equal(before.depth, after.depth)
    assert not torch.equal(before.sigma, after.sigma)


@torch.no_grad()
def test_neutral_sigma_is_a_fifth_of_the_depth() -> None:
    model = create_model('cliffnet', **TINY).eval()
    model.load_state_dict(model.state_dict() | model.own_state())
    assert isinstance(model, CliffNet)
    model.decoder.score[3].get_parameter('bias').fill_(5.0)
    prediction = model(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(prediction.sigma, 0.2 * prediction.depth, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize('encoder', ['resnet10t', 'mobilenetv3_small_050'])
def test_the_small_network_takes_any_pyramid_from_stride_four_on(encoder: str) -> None:
    model = create_model('cliffnet_small', encoder=encoder, channels=8).eval()
    assert isinstance(model, CliffNetSmall)
    assert len(model.pyramid.lateral) == 4
    assert all(isinstance(module, CliffModule) for module in model.decoder.fuse)
    prediction = model(torch.rand(1, 3, 64, 96))
    assert isinstance(prediction, CliffNetPrediction)
    assert (prediction.raw_m > 0.0).all()
    assert prediction.depth.shape == (1, 64, 96)


@torch.no_grad()
def test_the_small_network_reaches_both_ends_of_its_range() -> None:
    model = create_model(
        'cliffnet_small', encoder='mobilenetv3_small_050', channels=8, min_depth=1.0,
        max_depth=20.0,
    ).eval()  # fmt: skip
    assert isinstance(model, CliffNetSmall)
    bias = model.decoder.score[3].get_parameter('bias')
    images = torch.rand(1, 3, 64, 64)
    for raw, end in ((30.0, 20.0), (-30.0, 1.0)):
        bias.fill_(raw)
        torch.testing.assert_close(model(images).depth, torch.full((1, 64, 64), end))
        beyond = end * 1.25 if raw > 0.0 else end / 1.25
        out = model.official_forward(images)['out']
        torch.testing.assert_close(out, torch.full((1, 1, 64, 64), beyond))


@pytest.mark.parametrize(
    ('name', 'options', 'value'),
    [
        ('cliffnet', {'layers': (3, 4, 6)}, '[3, 4, 6]'),
        ('cliffnet', {'channels': 0}, 'channels 0'),
        ('cliffnet', {'stride_in': 'first'}, 'first_1x1'),
        ('cliffnet', {'min_depth': 20.0}, '20.0'),
        ('cliffnet', {'layers': (1, 1, 1, 1), 'pretrained': True}, '[3, 4, 6, 3]'),
        ('cliffnet_small', {'channels': -1}, 'channels -1'),
        ('cliffnet_small', {'fusion': 'concat'}, 'cliff, sum'),
    ],
)
def test_an_option_out_of_range_is_refused(name: str, options: dict[str, Any], value: str) -> None:
    with pytest.raises(ConfigError) as error:
        create_model(name, **options)
    assert value in str(error.value)


def test_a_size_that_does_not_fit_names_the_nearest() -> None:
    with torch.device('meta'):
        model = create_model('cliffnet', **TINY)
    with pytest.raises(ModelError, match='228x304 or 228x308'):
        model(torch.zeros(1, 3, 228, 305))
