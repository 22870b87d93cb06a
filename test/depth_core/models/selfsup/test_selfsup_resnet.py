# SPDX-License-Identifier: Apache-2.0
"""The ResNet depth network gives the numbers of packnet-sfm and of monodepth2."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
import torchvision
from torch import Tensor, nn

from depth_core.convert import convert_state_dict
from depth_core.errors import ConfigError, ModelError
from depth_core.models import create_model
from depth_core.models.selfsup.inverse_depth import InverseDepthModel
from depth_core.models.selfsup.resnet import ResNetEncoder, SelfSupResNet
from test.depth_core.packnet_official import arrays, depth_resnet, monodepth2_depth
from test.rounding import assert_within_rounding, in_both_precisions

pytestmark = pytest.mark.numeric

NETWORK_CEILING = 1e-4
"""Relative to each value: float32 sums in another order, through 18 layers and a decoder."""

_packnet_sfm = cache(partial(arrays, 'packnet_resnet18_procedural'))
_monodepth2 = cache(partial(arrays, 'monodepth2_nets_procedural'))


def _loaded(official: dict[str, Tensor]) -> SelfSupResNet:
    model = create_model('selfsup_resnet18')
    assert isinstance(model, SelfSupResNet)
    model.load_state_dict(convert_state_dict('selfsup_resnet18', official))
    return model.eval()


def test_the_network_of_packnet_sfm() -> None:
    images = _packnet_sfm()['in_rgb']
    model = _loaded(depth_resnet())
    expected = {
        name: _packnet_sfm()[f'depthresnet18/{name}']
        for name in (
            *(f'enc_feat{index}_meanstd' for index in range(5)),
            *(f'disp{scale}' for scale in range(4)),
            *(f'invdepth{scale}' for scale in range(4)),
        )
    }

    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        outputs = model.official_forward(images.to(dtype))
        found = {name.replace('_', ''): value for name, value in outputs.items()}
        for index, features in enumerate(model.encoder(images.to(dtype))):
            found[f'enc_feat{index}_meanstd'] = torch.stack((features.mean(), features.std()))
        return found

    found = in_both_precisions(model, run)
    assert_within_rounding(found, expected, ceiling=NETWORK_CEILING, relative_to='each')


def test_disparity_becomes_depth_as_in_monodepth2(
    reference: Callable[[str], dict[str, Tensor]],
) -> None:
    expected = reference('monodepth2_layers')
    model = create_model('selfsup_resnet18', min_depth=0.1, max_depth=100.0)
    assert isinstance(model, SelfSupResNet)
    (inverse,) = model._scaled((expected['sigmoid'],))
    torch.testing.assert_close(inverse, expected['disp_to_depth/scaled_disp'], rtol=1e-6, atol=0.0)
    depth = model._depth(inverse)
    torch.testing.assert_close(depth, expected['disp_to_depth/depth'], rtol=1e-6, atol=0.0)


def test_the_network_of_monodepth2() -> None:
    images = _monodepth2()['in']
    encoder, decoder = monodepth2_depth()
    model = _loaded(encoder | decoder)
    found = in_both_precisions(model, lambda dtype: model.official_forward(images.to(dtype)))
    expected = {name: _monodepth2()[name] for name in ('disp0', 'disp1', 'disp2', 'disp3')}
    assert_within_rounding(found, expected, ceiling=NETWORK_CEILING, relative_to='each')


def test_the_classifier_is_left_out_and_nothing_else() -> None:
    model = create_model('selfsup_resnet18')
    own = {key for key in model.state_dict() if not key.startswith('sigma_head.')}
    assert len(own) == len(depth_resnet()) - 2


@torch.no_grad()
def test_the_range_is_that_of_the_network_itself() -> None:
    model = create_model('selfsup_resnet18', min_depth=2.0, max_depth=8.0).eval()
    assert isinstance(model, SelfSupResNet)
    images = torch.rand(1, 3, 64, 64)
    disparity = model.official_forward(images)['disp0'][:, 0]
    torch.testing.assert_close(model(images).depth, 1.0 / (0.125 + 0.375 * disparity))


def test_the_deeper_network_has_wider_skips() -> None:
    with torch.device('meta'):
        model = create_model('selfsup_resnet50')
    assert isinstance(model, SelfSupResNet)
    assert model.encoder.channels == (64, 256, 512, 1024, 2048)
    images = torch.empty(1, 3, 64, 96, device='meta')
    assert [tuple(x.shape[1:]) for x in model.encoder(images)] == [
        (64, 32, 48), (256, 16, 24), (512, 8, 12), (1024, 4, 6), (2048, 2, 3),
    ]  # fmt: skip
    assert isinstance(model, InverseDepthModel)
    assert model(images).depth.shape == (1, 64, 96)


@torch.no_grad()
def test_stacked_images_keep_the_strength_of_the_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights to repeat, two equal images answer as one does."""
    one = ResNetEncoder('resnet18').eval()

    def ready_made(name: str, *, weights: str | None) -> nn.Module:
        assert (name, weights) == ('resnet18', 'IMAGENET1K_V1')
        network: nn.Module = torchvision.models.resnet18()  # the real one, but not downloaded
        network.get_submodule('conv1').load_state_dict(one.conv1.state_dict())
        return network

    monkeypatch.setattr('torchvision.models.get_model', ready_made)
    two = ResNetEncoder('resnet18', images=2, pretrained=True).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(
        two.conv1(torch.cat((image, image), dim=1)), one.conv1(image), rtol=0.0, atol=1e-5
    )


def test_an_image_too_small_to_mirror_is_refused() -> None:
    with pytest.raises(ModelError, match='32x64 pixels: both sides must be at least 64'):
        create_model('selfsup_resnet18')(torch.rand(1, 3, 32, 64))


def test_an_unknown_encoder_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match='resnet18, resnet34, resnet50'):
        create_model('selfsup_resnet18', encoder='resnet19')
