# SPDX-License-Identifier: Apache-2.0
"""Textbook losses: numbers worked by hand, masks, and lists of them with their mistakes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError
from depth_core.losses.terms import TERMS, Maps
from depth_core.models import NETWORKS, create_model
from depth_core.train.recipes.supervised import SupervisedRecipe, read_terms

pytestmark = pytest.mark.numeric

EXACT = 1e-6
CAMERA = torch.tensor([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 0.0, 1.0]])


def test_berhu_is_l1_below_c_and_square_above() -> None:
    """Errors 0, 1, 5: c = 1; the last counts (25 + 1) / 2 = 13."""
    prediction, target = torch.tensor([2.0, 3.0, 9.0]), torch.tensor([2.0, 2.0, 4.0])
    assert losses.berhu(prediction, target).item() == pytest.approx((0 + 1 + 13) / 3, rel=EXACT)
    masked = losses.berhu(prediction, target, torch.tensor([True, True, False]))
    assert masked.item() == pytest.approx((0 + (1 + 0.04) / 0.4) / 2, rel=EXACT)


def test_gradient_difference_of_a_slope() -> None:
    """The error rises by 1 a column and 2 a row."""
    target = torch.ones(1, 3, 3)
    rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing='ij')
    prediction = target + (columns + 2.0 * rows)
    assert losses.gradient_difference(prediction, target).item() == pytest.approx(3.0, rel=EXACT)
    valid = torch.ones(1, 3, 3, dtype=torch.bool)
    valid[0, 1, 1] = False
    prediction[0, 1, 1] = math.nan
    assert losses.gradient_difference(prediction, target, valid).item() == pytest.approx(3.0)


def test_normals_of_a_wall_and_of_one_turned_by_45_degrees() -> None:
    """Z = 4 + X in space: with x = (u - 1) / 2, Z = 4 / (1 - x), at an angle of 45 degrees."""
    x = (torch.arange(3.0) - 1.0) / 2.0
    turned = (4.0 / (1.0 - x)).expand(1, 3, 3)
    wall = torch.full((1, 3, 3), 4.0)
    loss = losses.surface_normal(turned, wall, CAMERA[None])
    assert loss.item() == pytest.approx(1.0 - math.sqrt(0.5), rel=1e-5)
    assert losses.surface_normal(turned, turned, CAMERA[None]).item() == pytest.approx(0, abs=1e-6)


def test_normals_need_a_camera() -> None:
    """An image without one counts nothing and gets no gradient."""
    depth = torch.rand(1, 3, 3).add(1.0).requires_grad_()
    loss = losses.surface_normal(depth, torch.ones(1, 3, 3), torch.full((1, 3, 3), math.nan))
    loss.backward()
    assert loss.item() == 0.0
    assert depth.grad is not None
    assert not depth.grad.any()


def test_data_without_cameras_are_refused_where_normals_are_listed() -> None:
    whole = batch(8)
    one = Sample(image=whole.image[0], depth_m=whole.depth_m[0], valid=whole.valid[0],
                 intrinsics=CAMERA, key='a')  # fmt: skip
    blind = replace(one, intrinsics=torch.full((3, 3), math.nan), key='b')
    recipe = SupervisedRecipe(losses=['l1', 'normal'])
    recipe.check_data([blind, one])
    with pytest.raises(
        DataError, match=r'none of 2 samples .* of 2 \(b \.\.\.\), has a known cam'
    ):
        recipe.check_data([blind, blind])
    SupervisedRecipe(losses=['l1', {'name': 'normal', 'weight': 0}]).check_data([blind])


def test_chamfer_distance_of_bins() -> None:
    """Centres 1 and 5, depths 1, 2 and 4: (0 + 1) / 2 from the centres, (0 + 1 + 1) / 3 back."""
    centres = torch.tensor([[5.0, 1.0]])
    target = torch.tensor([[[1.0, 2.0, 4.0, 99.0]]])
    valid = torch.tensor([[[True, True, True, False]]])
    loss = losses.bins_chamfer(centres, target, valid)
    assert loss.item() == pytest.approx(1 / 2 + 2 / 3, rel=EXACT)


@pytest.mark.parametrize('name', [name for name in TERMS if name != 'bins_chamfer'])
def test_a_perfect_prediction_costs_nothing_and_an_empty_mask_neither(name: str) -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 8, 8) + 1.0
    for depth, valid in (
        (target.clone(), torch.ones(2, 8, 8, dtype=torch.bool)),
        (target + 1.0, torch.zeros(2, 8, 8, dtype=torch.bool)),
    ):
        depth.requires_grad_()
        loss = TERMS[name]()(Maps(depth=depth, target=target, valid=valid,
                                  intrinsics=CAMERA.expand(2, 3, 3)))  # fmt: skip
        loss.backward()
        assert loss.item() == pytest.approx(0.0, abs=1e-5)
        assert depth.grad is not None
        assert bool(depth.grad.isfinite().all())


def batch(size: int = 64) -> Sample:
    torch.manual_seed(1)
    return Sample(
        image=torch.rand(2, 3, size, size),
        depth_m=torch.rand(2, size, size) * 4.0 + 1.0,
        valid=torch.rand(2, size, size) > 0.3,
        intrinsics=CAMERA.expand(2, 3, 3),
        key=('a', 'b'),
    )


def all_but(*left_out: str) -> list[dict[str, Any] | str]:
    return [{'name': name, 'weight': 0.5} for name in TERMS if name not in left_out]


@pytest.mark.parametrize(
    ('network', 'left_out'),
    [
        ('densedepth_small', ['bins_chamfer']),
        ('zoedepth_small', []),
        ('cliffnet_small', ['bins_chamfer']),
    ],
)
def test_every_term_trains_networks_of_several_families(network: str, left_out: list[str]) -> None:
    model = create_model(network, **dict(NETWORKS[network].tiny))
    recipe = SupervisedRecipe(losses=all_but(*left_out))
    assert recipe.problems(model) == []
    found = recipe.open(model).train().losses(batch(), 0)
    assert list(found) == [*(name for name in TERMS if name not in left_out), 'sigma']
    total: Tensor = torch.stack(tuple(found.values())).sum()
    total.backward()
    assert math.isfinite(total.item())
    assert any(bool(weight.grad.any()) for weight in model.parameters() if weight.grad is not None)


def test_a_weight_is_a_factor_and_a_loss_may_be_listed_twice() -> None:
    terms = read_terms([{'name': 'silog', 'weight': 2}, {'name': 'silog', 'scale': 1.0}])
    assert [(name, weight) for name, _, weight in terms] == [('silog', 2.0), ('silog#2', 1.0)]


def test_bins_are_refused_of_a_network_that_has_none() -> None:
    model = create_model('densedepth_small', **dict(NETWORKS['densedepth_small'].tiny))
    (problem,) = SupervisedRecipe(losses=[{'name': 'bins_chamfer'}]).problems(model)
    assert 'bins_chamfer, and densedepth_small has no bins of depth' in problem


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ([], 'recipe.losses is .*give a list of losses'),
        ([{'name': 'berhuu'}], "recipe.losses.0..name 'berhuu'.*berhu"),
        ([{'name': 'silog', 'variance': 1}], "'variance'.*variance_focus"),
        ([{'name': 'silog', 'weight': -1}], r'recipe.losses.0..weight is -1; give a number'),
        ([{'name': 'silog', 'variance_focus': 2}], 'variance_focus is 2; give a number from 0'),
        ([{'name': 'silog', 'unbiased': 'no'}], "unbiased is 'no'; give true or false"),
        ([{'name': 'silog', 'weight': math.inf}], 'weight is inf; give a number, at least 0'),
        ([{'name': 'silog', 'scale': math.nan}], 'scale is nan; give a number above 0'),
        ([{'name': 'silog', 'scale': 'ten'}], "scale is 'ten'; give a number"),
        ([{'name': 'gradient', 'scales': 2.5}], 'scales is 2.5; give a whole number'),
        ([{'name': 'ssi', 'alignment': 'mean'}], "alignment is 'mean'; give one of median"),
        ([3], 'recipe.losses.0. is 3; give a mapping with a name'),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_used_is_refused(given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_terms(given)
