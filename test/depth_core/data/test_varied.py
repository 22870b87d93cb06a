# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
import torch

from depth_core.data.synthetic import VARIED_CLASSES, VariedDataset
from depth_core.data.synthetic.rendering.intersect import intersect
from depth_core.data.synthetic.scene import Scene, Shape
from depth_core.data.synthetic.things.builder import Builder
from depth_core.errors import ConfigError, DataError


def varied(**changes: object) -> VariedDataset:
    settings = {'seed': 4, 'length': 8, 'height': 32, 'width': 48, **changes}
    return VariedDataset(**settings)  # type: ignore[arg-type]  # one table of settings


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    first, again = varied()[3], varied(start=2)[1]
    assert first.key == again.key == 'varied/4/3'
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.depth_m, again.depth_m)
    assert not torch.equal(first.depth_m, varied(seed=5)[3].depth_m)


@pytest.mark.parametrize('scenes', VARIED_CLASSES[11:])
def test_every_new_scene_has_depth_labels_and_camera(scenes: str) -> None:
    sample = varied(scenes=scenes)[0]
    assert sample.scene_class is not None
    assert int(sample.scene_class) == VARIED_CLASSES.index(scenes)
    assert sample.valid.float().mean() > 0.25
    depth = sample.depth_m[sample.valid]
    assert float(depth.min()) >= 0.05
    assert torch.isfinite(depth).all()
    assert sample.semantic is not None
    assert set(sample.semantic.unique().tolist()) <= {*range(23), 255}
    focal = float(sample.intrinsics[0, 0])
    assert 24.0 / np.tan(np.radians(55.0)) <= focal <= 24.0 / np.tan(np.radians(22.5))


def test_rods_reach_from_end_to_end() -> None:
    scene = Scene()
    rod = Builder(scene=scene, source=Random(0), body=0, label=5)  # noqa: S311 - draws nothing here
    rod.rod((0.1, 1.0, 2.0), (0.4, 1.4, 1.5), 0.02, 0)
    arrays = scene.arrays()
    half = arrays.rotation[0] @ np.array((0.0, arrays.half[0, 1], 0.0))
    ends = {tuple(np.round(arrays.centre[0] + sign * half, 6)) for sign in (-1.0, 1.0)}
    assert ends == {(0.1, -1.0, 2.0), (0.4, -1.4, 1.5)}  # the axis of the world is down


def test_rings_and_bars_are_open() -> None:
    origin = torch.tensor([0.0, 0.0, -3.0]).view(3, 1, 1)
    # Through a bar (x = 0), between two bars, and through the rail above them.
    toward = torch.tensor([[0.0, 0.0, 1.0], [0.03, 0.0, 1.0], [0.03, 0.45, 1.0]]).T[:, None]
    assert torch.isfinite(intersect(Shape.BARS, origin, toward))[0].tolist() == [True, False, True]
    above = torch.tensor([0.0, -3.0, 0.0]).view(3, 1, 1)
    down = torch.tensor([[0.0, 1.0, 0.0], [0.47, 1.0, 0.0]]).T[:, None]
    assert torch.isfinite(intersect(Shape.RING, above, down))[0].tolist() == [False, True]


def test_glass_is_seen_and_not_valid() -> None:
    dataset = varied(scenes='hall', length=20)
    hidden = [
        (torch.isfinite(sample.depth_m) & ~sample.valid).any()
        for sample in (dataset[index] for index in range(8))
    ]
    assert any(hidden)


def test_photographs_appear_in_the_pictures(tmp_path: Path) -> None:
    for number in range(200):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((8, 8, 3), (0, 255, 0), np.uint8))
    drawn, printed = varied(scenes='near_desk'), varied(scenes='near_desk', textures=tmp_path)
    assert any(not torch.equal(drawn[i].image, printed[i].image) for i in range(2))
    assert torch.equal(drawn[0].depth_m, printed[0].depth_m)


def test_what_is_not_possible_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='near_desk'):
        varied(scenes='near_dsk')
    with pytest.raises(ConfigError, match='at least 1'):
        varied(length=0)
    with pytest.raises(DataError, match='holds no image'):
        varied(textures=tmp_path)
