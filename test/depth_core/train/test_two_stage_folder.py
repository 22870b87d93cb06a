# SPDX-License-Identifier: Apache-2.0
"""A folder of two stages: whose it is, and what is said of frames without a ground."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from depth_core.errors import CheckpointError
from depth_core.train.command_line import parse
from depth_core.train.two_stage.holes import HoleSettings
from depth_core.train.two_stage.stages import train_two_stages


def test_frames_without_a_ground_are_told_and_other_settings_refused(
    tiny_config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / 'run'
    settings = parse(
        [
            '--config', str(tiny_config), '--trainer.run_dir', str(folder),
            '--trainer.max_steps', '1', '--schedule.warmup_steps', '0',
            '--trainer.images_logged', '0',
        ]
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        result = train_two_stages(settings, HoleSettings())
    unjudged = sum(verdict.pixels_below is None for verdict in result.verdicts)
    assert unjudged, 'a network of one step sees no ground in rooms'
    assert f'no ground was found in {unjudged} of 6 frames' in caplog.text
    other = dataclasses.replace(settings.trainer, seed=settings.trainer.seed + 1)
    with pytest.raises(CheckpointError, match=r'settings differ:\n  trainer\.seed'):
        train_two_stages(dataclasses.replace(settings, trainer=other), HoleSettings())
    again = train_two_stages(settings, HoleSettings())
    assert again.verdicts == result.verdicts, 'the same settings take it over'
