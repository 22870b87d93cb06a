# SPDX-License-Identifier: Apache-2.0
"""The small network of the self-supervised family trains at four scales and serves one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError
from depth_core.models import create_model
from depth_core.models.blocks import resize_bilinear
from depth_core.models.selfsup.small import SelfSupSmall


def _small(**options: Any) -> SelfSupSmall:
    torch.manual_seed(0)
    model = create_model('selfsup_small', encoder='mobilenetv3_small_050', **options)
    assert isinstance(model, SelfSupSmall)
    return model.eval()


@torch.no_grad()
def test_four_scales_within_the_range_and_the_finest_from_half_resolution() -> None:
    model = _small(min_depth=0.5, max_depth=20.0)
    prediction = model(torch.rand(2, 3, 64, 96))
    sizes = [tuple(item.shape[-2:]) for item in prediction.inv_depths]
    assert sizes == [(64, 96), (32, 48), (16, 24), (8, 12)]
    for inverse in prediction.inv_depths:
        assert float(inverse.min()) > 1.0 / 20.0
        assert float(inverse.max()) < 1.0 / 0.5
    finest, half, *_ = prediction.inv_depths
    torch.testing.assert_close(finest, resize_bilinear(half, (64, 96), 'half_pixel'))
    torch.testing.assert_close(prediction.depth, 1.0 / finest[:, 0])


@torch.no_grad()
def test_sigma_is_read_at_half_resolution_and_resized() -> None:
    model = _small()
    prediction = model(torch.rand(1, 3, 64, 96))
    depth = 1.0 / prediction.inv_depths[1]
    expected = resize_bilinear(
        model.sigma_head(prediction.features, depth), (64, 96), 'half_pixel'
    )
    torch.testing.assert_close(prediction.sigma, expected[:, 0])
    model.sigma_head.make_neutral()
    sigma = model(torch.rand(1, 3, 64, 96)).sigma
    assert torch.isfinite(sigma).all()


def test_it_is_up_to_scale_and_its_size_that_of_a_robots_camera() -> None:
    model = _small()
    assert model.spec.kind == DepthKind.UP_TO_SCALE
    assert model.spec.family == 'selfsup'
    assert model.spec.default_size == (256, 320)


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match='give 5 positive numbers, for strides 32, 16, 8, 4, 2'):
        _small(decoder_channels=(32, 16, 8, 8))


GUIDED = {
    'guided_strides': (8, 4),
    'semantic_encoder': 'tu-mobilenetv3_small_050',
    'semantic_channels': 16,
    'semantic_head_channels': 32,
}


def test_the_semantic_network_guides_and_stays_frozen() -> None:
    model = _small(**GUIDED).train()
    assert model.semantics is not None
    assert not any(weight.requires_grad for weight in model.semantics.parameters())
    images = torch.rand(2, 3, 64, 96)
    sum(inverse.mean() for inverse in model(images).inv_depths).backward()
    assert model.guidance is not None
    moved = [weight.grad is not None for weight in model.guidance.parameters()]
    assert all(moved)
    model.eval()
    with torch.no_grad():
        before = model(images).depth
        for weight in model.semantics.parameters():
            weight.mul_(1.5)
        assert not torch.allclose(model(images).depth, before)


def test_guidance_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r'give some of \[16, 8, 4, 2\]'):
        _small(**{**GUIDED, 'guided_strides': (32,)})
    with pytest.raises(ConfigError, match='guided_strides is empty: nothing would use it'):
        _small(semantic_weights='semantic.ckpt')
