# SPDX-License-Identifier: Apache-2.0
"""Flicker under the known motion, by walls whose numbers are worked by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_core.contracts import Intrinsics
from depth_core.data.folder import FolderDataset
from depth_core.data.places import Place
from depth_core.errors import DataError
from depth_core.evaluate.flicker import Flicker, Seen, change

CAMERA = Intrinsics(fx_px=50.0, fy_px=50.0, cx_px=31.5, cy_px=23.5, height=48, width=64)


def wall(
    distance_m: float, *, at_m: tuple[float, float, float] = (0.0, 0.0, 0.0), world: str = 'street'
) -> Seen:
    """An image of a wall across the view, from a camera that looks along z."""
    pose = np.eye(4)
    pose[:3, 3] = at_m
    depth_m = np.full((48, 64), distance_m, np.float32)
    return Seen(depth_m, CAMERA, Place(world=world, camera_to_world=pose))


def test_depth_that_shrinks_as_the_camera_comes_nearer_does_not_flicker() -> None:
    before, now = wall(10.0), wall(9.0, at_m=(0.0, 0.0, 1.0))
    assert change(before, now) == pytest.approx(0.0, abs=1e-6)


def test_depth_that_stays_as_the_camera_comes_nearer_flickers() -> None:
    before, now = wall(10.0), wall(10.0, at_m=(0.0, 0.0, 1.0))  # 11 m were expected before
    assert change(before, now) == pytest.approx(np.log(11.0 / 10.0), abs=1e-6)


def test_a_slanted_wall_seen_from_the_side_is_looked_up_between_pixels() -> None:
    """The wall z = 10 + x / 2, from a camera that moved 0.3 m along x."""
    rays = (np.arange(64) - CAMERA.cx_px) / CAMERA.fx_px
    images = []
    for moved_m in (0.0, 0.3):
        row = (10.0 + 0.5 * moved_m) / (1.0 - 0.5 * rays)
        seen = wall(1.0, at_m=(moved_m, 0.0, 0.0))
        images.append(Seen(np.tile(row.astype(np.float32), (48, 1)), CAMERA, seen.place))
    assert change(*images) == pytest.approx(0.0, abs=1e-4)


def test_the_smaller_part_of_an_image_may_move_by_itself() -> None:
    before, now = wall(10.0), wall(10.0)
    before.depth_m[:, :20] = 3.0
    assert change(before, now) == 0.0


def test_only_neighbours_in_one_world_are_compared() -> None:
    flicker = Flicker()
    assert flicker(wall(10.0)) is None, 'nothing before'
    assert flicker(wall(11.0)) == pytest.approx(np.log(1.1), abs=1e-6)
    assert flicker(wall(11.0, world='yard')) is None
    assert flicker(wall(11.0, at_m=(9.0, 0.0, 0.0), world='yard')) is None, 'another view'
    assert flicker(None) is None
    assert flicker(wall(11.0, world='yard')) is None, 'the place of the one before is not known'


def test_no_estimate_is_no_flicker() -> None:
    unknown = wall(float('nan'))
    assert change(unknown, wall(10.0)) is None
    assert change(wall(10.0), unknown) is None


def test_poses_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    (tmp_path / 'poses').mkdir()
    for name in ('a', 'b', 'c'):
        cv2.imwrite(str(tmp_path / f'images/{name}.png'), np.zeros((4, 6, 3), np.uint8))
    np.savetxt(tmp_path / 'poses/a.txt', np.eye(4))
    (tmp_path / 'poses/b.txt').write_text('nan ' * 16, encoding='utf-8')
    dataset = FolderDataset(tmp_path)
    found = dataset.place(0)
    assert found is not None
    assert np.array_equal(found.camera_to_world, np.eye(4))
    assert dataset.place(1) is None, 'tracking was lost'
    assert dataset.place(2) is None, 'no file'
    (tmp_path / 'poses/b.txt').write_text('1 2 3', encoding='utf-8')
    with pytest.raises(DataError, match='not sixteen numbers'):
        dataset.place(1)
