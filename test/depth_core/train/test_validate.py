# SPDX-License-Identifier: Apache-2.0
"""Validation: each kind of depth in metres, and nothing of the network changed by it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from depth_core.contracts import DepthKind
from depth_core.data.sample import Sample, collate
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.train.recipes.densedepth import DenseDepthRecipe
from depth_core.train.recipes.depth import DepthScorer, scores_for
from depth_core.train.validate import draw, validate

RECIPE = DenseDepthRecipe()


class RedIsInverseDepth(DepthModel):
    """Reads inverse depth off the red channel, and answers it in the unit of its kind."""

    def __init__(self, kind: DepthKind) -> None:
        super().__init__()
        self.spec = ModelSpec(
            name='red', family='densedepth', kind=kind, min_depth=0.5, max_depth=50.0, divisor=1,
            default_size=(4, 6),
            canonical_focal_px=4.0 if kind is DepthKind.CANONICAL else None,
        )  # fmt: skip
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Prediction:
        assert not self.training
        inverse = images[:, 0]
        depth = {
            DepthKind.METRIC: 1.0 / inverse,
            DepthKind.CANONICAL: 4.0 / inverse,  # the cameras have a focal length of 1 px
            DepthKind.UP_TO_SCALE: 7.0 / inverse,
            DepthKind.INVERSE: 5.0 * inverse + 2.0,
        }[self.spec.kind]
        return Prediction(depth=depth, sigma=0.01 * depth)

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        return {'depth': x}


@dataclass(frozen=True)
class Ramps:
    """Depths of 1 to 10 m in the red channel; sizes and neighbours differ."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        depth_m = torch.linspace(1.0, 10.0 - index, 24 + 6 * (index // 2)).reshape(-1, 6)
        return Sample(
            image=(1.0 / depth_m).expand(3, -1, -1),
            depth_m=depth_m,
            valid=torch.ones_like(depth_m, dtype=torch.bool),
            intrinsics=torch.eye(3),
            key=f'ramp/{index}',
            neighbour_images=torch.zeros(1 + index, 3, *depth_m.shape),
        )


@pytest.fixture(scope='module')
def fabric() -> Fabric:
    return Fabric(accelerator='cpu', devices=1)


def test_the_range_of_depth_up_to_scale_is_not_taken_for_metres(fabric: Fabric) -> None:
    """The unit of this network is a tenth of a metre: it ends at 5 m, and truth at 50 m counts."""
    model = RedIsInverseDepth(DepthKind.UP_TO_SCALE)
    model.spec = replace(model.spec, min_depth=0.5, max_depth=5.0)
    scores = scores_for(model.spec)
    scores.update(np.array([[0.1]]), np.array([[50.0]]))
    assert scores.result().pixels == 1
    score = validate(RECIPE, model, Ramps(), fabric, batch_size=1)
    assert score.numbers['images_scored'] == 3
    assert score.costs['abs_rel'] < 1e-5


@pytest.mark.parametrize('kind', list(DepthKind))
def test_each_kind_is_scored_in_metres(fabric: Fabric, kind: DepthKind) -> None:
    score = validate(RECIPE, RedIsInverseDepth(kind), Ramps(), fabric, batch_size=2)
    assert score.numbers['images_scored'] == 3
    assert score.costs == {
        'abs_rel': pytest.approx(0.0, abs=1e-5),
        'a1': -1.0,
        'rmse': pytest.approx(0.0, abs=1e-4),
    }
    assert (
        score.numbers['align']
        == {
            DepthKind.METRIC: 'none',
            DepthKind.CANONICAL: 'none',
            DepthKind.UP_TO_SCALE: 'median',
            DepthKind.INVERSE: 'affine_inverse',
        }[kind]
    )


def test_thin_things_and_edges_are_scored_apart(fabric: Fabric) -> None:
    """Twice too far on a pole of two pixels at 2 m, whose outline is the edge before 4 m."""
    depth_m = torch.full((4, 6), 4.0)
    depth_m[1:3, 2] = 2.0
    answered = torch.where(depth_m == 2.0, 4.0, depth_m)
    sample = Sample(
        image=(1.0 / answered).expand(3, -1, -1),
        depth_m=depth_m,
        valid=torch.ones_like(depth_m, dtype=torch.bool),
        intrinsics=torch.eye(3),
        key='pole',
        semantic=torch.where(depth_m == 2.0, 5, 0),
    )
    score = validate(RECIPE, RedIsInverseDepth(DepthKind.METRIC), [sample], fabric, batch_size=1)
    found = {name: score.numbers[f'abs_rel_{name}'] for name in ('thin', 'ground', 'edge')}
    assert found == pytest.approx({'thin': 1.0, 'ground': 0.0, 'edge': 2.0 / 8.0}, abs=1e-5)


def test_canonical_depth_has_another_range_through_each_camera() -> None:
    """0.5 to 8 canonical metres are 0.125 to 2 m through a camera of a quarter of its focal."""
    model = RedIsInverseDepth(DepthKind.CANONICAL)
    model.spec = replace(model.spec, max_depth=8.0)
    scorer = RECIPE.scorer(model)
    assert isinstance(scorer, DepthScorer)
    batch = collate([replace(Ramps()[index], neighbour_images=None) for index in (0, 1)])
    scorer.update(model.eval(), batch)
    scored = int((batch.depth_m <= 2.0).sum())
    assert 0 < scored < batch.depth_m.numel()
    assert scorer.scores.result().pixels == scored


def test_canonical_depth_is_drawn_in_metres(fabric: Fabric) -> None:
    """The third picture of a row, the answer, has the colours of the second, the truth."""
    model = RedIsInverseDepth(DepthKind.CANONICAL).eval()
    drawn = draw(RECIPE, model, Ramps(), fabric, count=1)
    assert drawn is not None
    below = drawn[16:].astype(int)  # the title
    assert np.abs(below[:, 6:12] - below[:, 12:18]).max() <= 2


def test_every_layer_is_in_its_mode_afterwards(fabric: Fabric) -> None:
    model = RedIsInverseDepth(DepthKind.METRIC).train()
    model.norm.eval()  # frozen
    validate(RECIPE, model, Ramps(), fabric, batch_size=2)
    draw(RECIPE, model, Ramps(), fabric, count=1)
    assert model.training
    assert not model.norm.training


def test_inverse_depth_is_drawn_as_the_depth_it_stands_for(fabric: Fabric) -> None:
    """True and predicted depth in the same colours, whatever the sizes."""
    drawn = draw(RECIPE, RedIsInverseDepth(DepthKind.INVERSE), Ramps(), fabric, count=3)
    assert drawn is not None
    assert drawn.shape == (3 * 16 + 4 + 4 + 5, 4 * 6 + 2 * 64, 3)
    planes = np.vstack((drawn[16:20], drawn[36:40], drawn[56:61])).astype(int)  # without titles
    difference = planes[:, 6:12] - planes[:, 12:18]
    assert abs(difference).max() <= 8  # one step of the colour map
