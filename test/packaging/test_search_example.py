# SPDX-License-Identifier: Apache-2.0
"""The example of a search runs for two trials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from test.depth_core.train.conftest import TINY


def test_search_settings(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip('optuna', reason='make setup installs optuna, for this example alone')
    config = tmp_path / 'tiny.yaml'
    config.write_text(TINY.replace('ema_decay: 0.9, ', ''), encoding='utf-8')
    search: list[str | Path] = [
        sys.executable,
        'examples/search_settings.py',
        config,
        tmp_path / 'runs',
        '2',
    ]
    finished = subprocess.run(
        [*search, '--trainer.loggers', '[]', '--trainer.max_steps', '2'],
        cwd=repository,
        env={**os.environ, 'PYTHONPATH': '.'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    scores = [
        json.loads((tmp_path / f'runs/trial_{number:03d}/metrics.json').read_text())[-1]['abs_rel']
        for number in range(2)
    ]
    assert f'AbsRel {min(scores):.4f} after 2 trials' in finished.stdout
    assert '--optimizer.lr' in finished.stdout
    assert '--optimizer.weight_decay' in finished.stdout
