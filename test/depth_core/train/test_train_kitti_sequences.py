# SPDX-License-Identifier: Apache-2.0
"""Drives of KITTI raw without time stamps train the networks that look at frames in order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.recipes.selfsup import SelfSupRecipe
from depth_core.train.settings import DatasetSettings, TrainSettings, ValidationSettings
from depth_core.weights.checkpoint import read_checkpoint

FOLDER = Path(__file__).resolve().parents[3] / 'config/train'
DAY, DRIVE = '2011_09_26', '2011_09_26_drive_0011_sync'
CALIBRATION = {
    'calib_cam_to_cam.txt': 'S_rect_02: 416 128\nR_rect_00: 1 0 0 0 1 0 0 0 1\n'
    'P_rect_02: 240 0 208 0 0 240 64 0 0 0 1 0\n',
    'calib_velo_to_cam.txt': 'R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n',
}


def settings_for(root: Path, folder: Path, *, split: str | None = None) -> TrainSettings:
    """The configuration of monodepth2, small, for one step."""
    settings = parse(['--config', str(FOLDER / 'monodepth2_kitti.yaml')])
    assert isinstance(settings.recipe, SelfSupRecipe)
    assert settings.recipe.pose_network == 'monodepth2_resnet18'
    options = {'neighbours': [-1, 1], 'ground_truth': 'none'}
    return replace(
        settings,
        model=replace(settings.model, options=settings.model.options | {'pretrained': False}),
        recipe=replace(settings.recipe, pose_pretrained=False),
        data=replace(
            settings.data, height=64, width=64, workers=0,
            train=DatasetSettings(name='kitti', root=root, split=split, options=options),
            validation=ValidationSettings(),
        ),
        trainer=replace(
            settings.trainer, max_steps=1, batch_size=2, accelerator='cpu', threads=1,
            run_dir=folder / 'run',
        ),
    )  # fmt: skip


def step_of(checkpoint: Path) -> object:
    training = read_checkpoint(checkpoint).training
    assert training is not None
    return training['step']


def test_a_drive_without_time_stamps_trains_monodepth2(tmp_path: Path) -> None:
    folder = tmp_path / 'kitti' / DAY / DRIVE / 'image_02/data'
    folder.mkdir(parents=True)
    for name, text in CALIBRATION.items():
        (tmp_path / 'kitti' / DAY / name).write_text(text)
    pattern = np.random.default_rng(0).integers(0, 255, (128, 480, 3), np.uint8)
    for frame in range(4):
        view = np.ascontiguousarray(pattern[:, 8 * frame : 8 * frame + 416])
        assert cv2.imwrite(str(folder / f'{frame:010d}.png'), view)
    assert step_of(train(settings_for(tmp_path / 'kitti', tmp_path)).last) == 1


def test_the_recorded_drive_without_time_stamps_trains_monodepth2(
    shared_dir: Path, tmp_path: Path
) -> None:
    root = shared_dir / 'data/kitti_raw_mini'
    assert not (root / DAY / DRIVE / 'image_02/timestamps.txt').exists()
    split = tmp_path / 'split.txt'
    split.write_text(''.join(f'{DAY}/{DRIVE} {frame} l\n' for frame in (1, 2, 7)))
    assert step_of(train(settings_for(root, tmp_path, split=str(split))).last) == 1
