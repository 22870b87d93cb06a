# SPDX-License-Identifier: Apache-2.0
"""The DenseDepth recipe: which terms there are, on which pixels, and what they move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.models.densedepth import DenseDepthPrediction
from depth_core.train.recipes.densedepth import DenseDepthRecipe


@pytest.fixture
def model() -> DepthModel:
    torch.manual_seed(0)
    return create_model(
        'densedepth_small', encoder='mobilenetv3_small_050', decoder_channels=(16, 8, 8, 8, 8),
        min_depth=1.0, max_depth=50.0,
    ).eval()  # fmt: skip


@pytest.fixture
def sample() -> Sample:
    generator = torch.Generator().manual_seed(0)
    depth_m = 2.0 + 40.0 * torch.rand(2, 64, 64, generator=generator)
    return Sample(
        image=torch.rand(2, 3, 64, 64, generator=generator),
        depth_m=depth_m,
        valid=torch.ones(2, 64, 64, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(2, 3, 3),
        key=('a', 'b'),
    )


def test_the_default_is_the_authors_loss_and_a_sigma(model: DepthModel, sample: Sample) -> None:
    terms = DenseDepthRecipe().open(model).losses(sample, 0)
    assert set(terms) == {'reciprocal', 'sigma'}
    prediction = model(sample.image)
    assert isinstance(prediction, DenseDepthPrediction)
    y = 50.0 / sample.depth_m.unsqueeze(1)
    y = y.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-2, -1))  # each 2x2 block
    expected = losses.densedepth_loss_keras(prediction.reciprocal, y).mean()
    torch.testing.assert_close(terms['reciprocal'], expected)


def test_conventions_differ_by_the_edges(model: DepthModel, sample: Sample) -> None:
    keras = DenseDepthRecipe(convention='keras').open(model).losses(sample, 0)['reciprocal']
    pytorch = DenseDepthRecipe(convention='pytorch').open(model).losses(sample, 0)['reciprocal']
    assert keras > pytorch


def test_terms_are_weighted(model: DepthModel, sample: Sample) -> None:
    recipe = DenseDepthRecipe(
        reciprocal_weight=0.0, log_l1_weight=2.0, silog_weight=0.5, sigma_weight=3.0,
        log_gradient_weight=0.25,
    )  # fmt: skip
    terms = recipe.open(model).losses(sample, 0)
    prediction = model(sample.image)
    expected = {
        'log_l1': 2.0 * losses.log_l1(prediction.depth, sample.depth_m),
        'silog': 0.5 * losses.silog(prediction.depth, sample.depth_m),
        'log_gradient': 0.25 * losses.log_gradient_matching(prediction.depth, sample.depth_m),
        'sigma': 3.0 * losses.laplace_nll(prediction.depth, prediction.sigma, sample.depth_m),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_sigma_cannot_move_the_depth(model: DepthModel, sample: Sample) -> None:
    DenseDepthRecipe().open(model).losses(sample, 0)['sigma'].backward()
    moved = {
        name
        for name, weight in model.named_parameters()
        if weight.grad is not None and weight.grad.abs().sum() > 0.0
    }
    assert moved
    assert all(name.startswith('sigma_head.') for name in moved)


@pytest.mark.parametrize('unknown', [float('nan'), 0.0, float('inf')])
def test_what_is_not_valid_changes_nothing(
    model: DepthModel, sample: Sample, unknown: float
) -> None:
    recipe = DenseDepthRecipe(log_l1_weight=1.0, silog_weight=1.0, log_gradient_weight=1.0)
    valid = sample.valid.clone()
    valid[:, 16:48] = False
    known = recipe.open(model).losses(replace(sample, valid=valid), 0)
    depth_m = torch.where(valid, sample.depth_m, unknown)
    masked = recipe.open(model).losses(replace(sample, valid=valid, depth_m=depth_m), 0)
    for name, value in known.items():
        torch.testing.assert_close(masked[name], value)


def test_sky_is_left_out_or_trained_as_the_largest_depth(
    model: DepthModel, sample: Sample
) -> None:
    valid = sample.valid.clone()
    valid[:, :32] = False
    far = replace(
        sample, valid=valid, depth_m=torch.where(valid, sample.depth_m, float('inf'))
    )  # fmt: skip
    out = DenseDepthRecipe().open(model).losses(far, 0)
    trained = DenseDepthRecipe(sky_as_max_depth=True).open(model).losses(far, 0)
    at_range = replace(sample, depth_m=torch.where(valid, sample.depth_m, 50.0))
    torch.testing.assert_close(
        trained['reciprocal'], DenseDepthRecipe().open(model).losses(at_range, 0)['reciprocal']
    )
    assert out['reciprocal'] != trained['reciprocal']


def test_depth_beyond_the_range_counts_as_its_end(model: DepthModel, sample: Sample) -> None:
    beyond = replace(sample, depth_m=sample.depth_m + 100.0)
    at_end = replace(sample, depth_m=torch.full_like(sample.depth_m, 50.0))
    recipe = DenseDepthRecipe(log_l1_weight=1.0)
    for name, value in recipe.open(model).losses(at_end, 0).items():
        torch.testing.assert_close(recipe.open(model).losses(beyond, 0)[name], value)


def test_no_valid_pixel_is_no_loss_but_a_gradient(model: DepthModel, sample: Sample) -> None:
    nothing = replace(sample, valid=torch.zeros_like(sample.valid))
    terms = DenseDepthRecipe(log_l1_weight=1.0, silog_weight=1.0).open(model).losses(nothing, 0)
    total = torch.stack(tuple(terms.values())).sum()
    assert total == 0.0
    total.backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_contradictions_are_named(model: DepthModel) -> None:
    assert DenseDepthRecipe().problems(model) == []
    problems = DenseDepthRecipe(reciprocal_weight=0.0, sigma_weight=0.0, data_range=-1.0).problems(
        model
    )
    assert len(problems) == 3
    assert 'nothing trains depth' in problems[0]
