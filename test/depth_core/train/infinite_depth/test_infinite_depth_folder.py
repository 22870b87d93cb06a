# SPDX-License-Identifier: Apache-2.0
"""A folder of two stages: whose it is, who fills it, and what is said while that goes on."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from pathlib import Path

import pytest
import torch

from depth_core.errors import CheckpointError, ConfigError
from depth_core.train.command_line import parse
from depth_core.train.fabric import open_device
from depth_core.train.infinite_depth.holes import HoleSettings
from depth_core.train.infinite_depth.stages import (
    _compare,
    _list_frames,
    _refuse_longer_first_stage,
    _refuse_other_holes,
    counter,
    train_infinite_depth,
)
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainSettings


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
    with caplog.at_level(logging.INFO):
        result = train_infinite_depth(settings, HoleSettings())
    unjudged = sum(verdict.pixels_below is None for verdict in result.verdicts)
    assert unjudged, 'a network of one step sees no ground in rooms'
    assert f'no ground was found in {unjudged} of 6 frames' in caplog.text
    assert f'{folder}: looking for holes in 6 frames on cpu' in caplog.text
    holes = json.loads((folder / 'holes.json').read_text(encoding='utf-8'))
    assert holes == {**dataclasses.asdict(HoleSettings()), 'stage_1_step': 1}
    other = dataclasses.replace(settings.trainer, seed=settings.trainer.seed + 1)
    with pytest.raises(
        CheckpointError, match=r'settings differ:\n  trainer\.seed[^;]*--trainer\.run_dir: both'
    ):
        train_infinite_depth(dataclasses.replace(settings, trainer=other), HoleSettings())
    again = train_infinite_depth(settings, HoleSettings())
    assert again.verdicts == result.verdicts, 'the same settings take it over'
    longer = dataclasses.replace(settings.trainer, max_steps=2)
    with pytest.raises(ConfigError, match=r'made by stage 1 after 1 steps.*max_steps is 2; give'):
        train_infinite_depth(dataclasses.replace(settings, trainer=longer), HoleSettings())
    if not torch.cuda.is_available():
        result.frames.unlink()
        elsewhere = dataclasses.replace(settings.trainer, accelerator='cuda')
        with pytest.raises(ConfigError, match=r'trainer\.accelerator is cuda.*finds 0 CUDA'):
            train_infinite_depth(dataclasses.replace(settings, trainer=elsewhere), HoleSettings())


def test_a_list_whose_network_is_not_told_is_taken(tmp_path: Path) -> None:
    path = tmp_path / 'holes.json'
    content = dataclasses.asdict(HoleSettings())
    path.write_text(json.dumps(content), encoding='utf-8')
    _refuse_longer_first_stage(tmp_path, 9)
    path.write_text(json.dumps({**content, 'stage_1_step': 9}), encoding='utf-8')
    _refuse_longer_first_stage(tmp_path, 9)
    with pytest.raises(ConfigError, match=r'give --trainer\.max_steps 9 or another'):
        _refuse_longer_first_stage(tmp_path, 10)


@pytest.fixture
def settings(tiny_config: Path, tmp_path: Path) -> TrainSettings:
    return parse(['--config', str(tiny_config), '--trainer.run_dir', str(tmp_path / 'run')])


@pytest.mark.parametrize('content', ['', '{"below_m": ', '[1]'])
def test_a_damaged_account_of_the_holes_is_answered(tmp_path: Path, content: str) -> None:
    path = tmp_path / 'holes.json'
    path.write_text(content, encoding='utf-8')
    with pytest.raises(ConfigError, match=r'holes\.json does not say what counted as a hole'):
        _refuse_other_holes(path, HoleSettings())


def test_all_processes_but_the_first_wait_for_the_list_and_compare_nothing(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('RANK', '1')
    run = RunFolder(tmp_path)
    waiting = threading.Thread(
        target=_list_frames, args=(settings, HoleSettings(), tmp_path, run), daemon=True
    )
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    (tmp_path / 'frames.jsonl').touch()
    waiting.join(240.0)
    assert not waiting.is_alive()
    assert _compare(settings, tmp_path, run, run) is None
    assert [path.name for path in tmp_path.iterdir()] == ['frames.jsonl']


def test_the_device_is_that_of_the_settings(settings: TrainSettings) -> None:
    threads = torch.get_num_threads()
    device = open_device(dataclasses.replace(settings.trainer, threads=threads))
    assert device == torch.device('cpu')
    if torch.cuda.is_available():
        elsewhere = dataclasses.replace(settings.trainer, accelerator='cuda')
        assert open_device(elsewhere) == torch.device('cuda', 0)


def test_counting_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now_s = iter([0.0, 20.0, 40.0, 60.0, 80.0])
    advance = counter('holes', 10, clock_s=lambda: next(now_s))
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            advance()
    # 2 done in 40 s leave 160 s, 4 in 80 s 120 s.
    assert caplog.messages == ['holes: 2 of 10, 3 min left', 'holes: 4 of 10, 2 min left']
