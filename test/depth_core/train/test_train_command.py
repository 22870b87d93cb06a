# SPDX-License-Identifier: Apache-2.0
"""`python -m depth_core.train` in processes of its own: killed, misused, several at once."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from depth_core.errors import run_command
from depth_core.train.__main__ import main
from depth_core.train.command_line import parse
from depth_core.train.datasets import open_augmentation, open_training_set
from depth_core.train.loop import train
from depth_core.train.run_folder import RunFolder
from depth_core.train.start import open_training_step
from depth_core.train.stream import SampleStream, batches
from depth_core.weights.checkpoint import read_checkpoint
from test.depth_core.train.test_embedding import TINY as TINY_EMBEDDING

COMMAND = ('-m', 'depth_core.train')

KILLED_WHILE_WRITING_STEP_4 = """
import os, signal, torch
from depth_core.errors import run_command
from depth_core.train.__main__ import main
save = torch.save
def kill_in_the_middle(payload, file):
    if payload['training'] is not None and payload['training']['step'] == 4:
        file.write(b'half a checkpoint')
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(payload, file)
torch.save = kill_in_the_middle
run_command(main)
"""


@pytest.fixture(params=['depth', 'embedding'])
def config(request: pytest.FixtureRequest, tiny_config: Path, tmp_path: Path) -> Path:
    """Four steps of a depth network, or of one that is written to files of its own."""
    if request.param == 'depth':
        return tiny_config
    path = tmp_path / 'embedding.yaml'
    path.write_text(TINY_EMBEDDING, encoding='utf-8')
    return path


def run(
    repository: Path, program: Sequence[str], *arguments: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program, *(str(argument) for argument in arguments)],
        cwd=repository,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_run_killed_while_it_writes_goes_on_bit_for_bit(
    repository: Path, config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGKILL after four steps, in the middle of the second checkpoint; two are on the disk."""
    settings = parse(['--config', str(config), '--trainer.run_dir', str(tmp_path / 'whole')])
    finished, read = train(settings), settings.recipe.read
    folder = RunFolder(tmp_path / 'run')
    arguments = ('--config', config, '--trainer.run_dir', folder.path)
    killed = run(repository, ('-c', KILLED_WHILE_WRITING_STEP_4), *arguments)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not folder.step_checkpoint(4).exists()
    left = read(folder.last).training
    assert left is not None
    assert left['step'] == 2

    with caplog.at_level(logging.INFO, 'depth_core'):
        train(parse([*map(str, arguments), '--trainer.resume', 'last']))
    assert 'steps 2 to 4' in caplog.text
    expected, found = read(finished.last), read(folder.last)
    for key, value in expected.state.items():
        assert torch.equal(found.state[key], value), key
    assert expected.training is not None
    assert found.training is not None
    for part in ('optimizer', 'weights', 'best_cost', 'best_step'):
        torch.testing.assert_close(
            found.training[part], expected.training[part], rtol=0.0, atol=0.0
        )
    starts = json.loads((folder.path / 'run.json').read_text(encoding='utf-8'))
    assert len(starts) == 2
    records = json.loads((folder.path / 'metrics.json').read_text(encoding='utf-8'))
    assert [record['step'] for record in records] == [2, 4]


def test_two_processes_of_torchrun_train_one_network(
    repository: Path, tiny_config: Path, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / 'run')
    torchrun = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2')
    result = run(
        repository, (*torchrun, *COMMAND), '--config', tiny_config,
        '--trainer.run_dir', folder.path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (made_with,) = json.loads((folder.path / 'run.json').read_text(encoding='utf-8'))
    assert made_with['machine']['processes'] == 2
    records = json.loads((folder.path / 'metrics.json').read_text(encoding='utf-8'))
    assert [record['images_scored'] for record in records] == [3, 3]  # 2 + 1 images
    state = read_checkpoint(folder.last).state
    assert all(torch.isfinite(value).all() for value in state.values())
    first = json.loads(folder.history.read_text(encoding='utf-8').splitlines()[0])
    shares = [terms_of_first_step(tiny_config, rank=rank, world_size=2) for rank in (0, 1)]
    assert shares[0]['sigma'] != pytest.approx(shares[1]['sigma'], rel=1e-2)
    for name in shares[0]:
        mean = (shares[0][name] + shares[1][name]) / 2
        assert first[name] == pytest.approx(mean, rel=1e-4), name


def terms_of_first_step(config: Path, *, rank: int, world_size: int) -> dict[str, float]:
    """The terms of the loss over the images that one of the processes sees first."""
    settings = parse(['--config', str(config)])
    torch.manual_seed(settings.trainer.seed)
    training_step = open_training_step(settings, None)
    data = open_training_set(settings.data, needs_depth=True)
    stream = SampleStream(
        data, open_augmentation(settings.data, data), settings.trainer.seed,
        settings.trainer.batch_size,
    )  # fmt: skip
    (sample,) = batches(stream, first_step=0, steps=1, rank=rank, world_size=world_size, workers=0)
    terms = training_step(step=0, **vars(sample))
    return {name: term.item() for name, term in terms.items()}


def test_wrong_input_is_an_error_line_and_status_2(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ['train', '--config', str(tiny_config), '--trainer.max_stps', '4']
    monkeypatch.setattr(sys, 'argv', given)
    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ')
    assert 'did you mean trainer.max_steps?' in said
