# SPDX-License-Identifier: Apache-2.0
"""The best validation: by which metric, what is kept of it, and going back to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from depth_core.errors import CheckpointError, ConfigError
from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.run_folder import RunFolder
from depth_core.weights.checkpoint import read_checkpoint

Start = Callable[..., RunFolder]

STEPPED = (
    '--schedule.name', 'step', '--schedule.milestones', '[3]', '--schedule.warmup_steps', 0,
    '--schedule.reload_best', 'true', '--trainer.validate_every_steps', 1,
    '--optimizer.lr', 0.1,
)  # fmt: skip
"""A rate at which the tiny network gets worse after its first step."""


@pytest.fixture(scope='module')
def start(tiny_config: Path) -> Start:
    def run(folder: Path, *arguments: object) -> RunFolder:
        given = ['--config', tiny_config, '--trainer.run_dir', folder, *arguments]
        return train(parse([str(argument) for argument in given]))

    return run


def training_of(path: Path) -> dict[str, Any]:
    training = read_checkpoint(path).training
    assert training is not None
    return dict(training)


@pytest.mark.parametrize('metric', ['a1', 'rmse'])
def test_the_best_is_the_best_in_the_metric_chosen(
    start: Start, tmp_path: Path, metric: str
) -> None:
    run = start(tmp_path / 'run', '--trainer.best_metric', metric,
                '--trainer.validate_every_steps', 1)  # fmt: skip
    records = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    sign = -1.0 if metric == 'a1' else 1.0
    best = min(records, key=lambda record: sign * record[metric])
    training = training_of(run.last)
    assert training['best_step'] == best['step']
    assert training['best_cost'] == pytest.approx(sign * best[metric])


@pytest.fixture(scope='module')
def stepped(start: Start, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return start(tmp_path_factory.mktemp('stepped') / 'run', *STEPPED)


def test_at_a_milestone_the_run_goes_on_from_its_best_state(
    start: Start, stepped: RunFolder, tmp_path: Path
) -> None:
    """The fourth step is the one that a rate of 0.01 makes from the best of the first three."""
    records = json.loads((stepped.path / 'metrics.json').read_text(encoding='utf-8'))
    best = min(records[:3], key=lambda record: float(record['abs_rel']))
    assert best['step'] < 3, 'the run has to get worse for this test to say anything'
    plain = start(tmp_path / 'run', *STEPPED, '--schedule.reload_best', 'false')
    with_best, without = (training_of(run.last) for run in (stepped, plain))
    counts = [
        {int(state['step']) for state in training['optimizer']['state'].values()}
        for training in (with_best, without)
    ]
    # Adam counts its own steps: those of the best state and one more.
    assert counts == [{best['step'] + 1}, {4}]


def test_the_best_state_stays_beside_the_checkpoints(stepped: RunFolder) -> None:
    names = sorted(path.name for path in stepped.checkpoints.glob('best-state-*'))
    assert names == [f'best-state-{training_of(stepped.last)["best_step"]:06d}.ckpt']


def test_a_resumed_run_goes_back_to_the_same_state(
    start: Start, stepped: RunFolder, tmp_path: Path
) -> None:
    """Interrupted before the milestone, in the folder it was in."""
    folder = RunFolder(tmp_path / 'run')
    start(folder.path, *STEPPED, '--trainer.max_steps', 3, '--trainer.checkpoint_every_steps', 3)
    again = start(folder.path, *STEPPED, '--trainer.resume', 'last',
                  '--trainer.checkpoint_every_steps', 3)  # fmt: skip
    ours, theirs = read_checkpoint(again.last), read_checkpoint(stepped.last)
    torch.testing.assert_close(dict(ours.state), dict(theirs.state), rtol=0.0, atol=0.0)


def test_a_resume_without_the_best_state_is_refused(
    start: Start, stepped: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r'best-state-0.*does not exist; give the folder'):
        start(tmp_path / 'run', *STEPPED, '--trainer.resume', stepped.step_checkpoint(2))


STANDING = (
    '--optimizer.lr', 1e-30, '--optimizer.frozen_norm', 'true', '--optimizer.ema_decay', 'null',
    '--trainer.validate_every_steps', 1, '--trainer.max_steps', 6,
)  # fmt: skip
"""Nothing moves, so that no validation is better than the first."""


def test_a_run_that_no_longer_gets_better_stops_early(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first validation is the best; the second and third are not better: three steps."""
    caplog.set_level('INFO', 'depth_core')
    run = start(tmp_path / 'run', *STANDING, '--trainer.patience', 2)
    records = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert [record['step'] for record in records] == [1, 2, 3]
    training = training_of(run.last)
    assert (training['step'], training['best_step'], training['waited']) == (3, 1, 2)
    assert 'step 3: stopped early, 2 validations in a row were not better than that of step 1' in (
        caplog.text
    )
    with pytest.raises(CheckpointError, match=r'stopped early.*larger trainer\.patience'):
        start(run.path, *STANDING, '--trainer.patience', 2, '--trainer.resume', 'last')
    start(run.path, *STANDING, '--trainer.patience', 3, '--trainer.resume', 'last')
    assert training_of(run.last)['step'] == 4


def test_what_fine_tuning_begins_with_is_scored_when_asked_for(
    start: Start, stepped: RunFolder, tmp_path: Path
) -> None:
    """By the weights it starts from, before any step: nothing moves here, so all are alike."""
    weights = ('--model.weights', stepped.best, *STANDING, '--trainer.max_steps', 1,
               '--schedule.warmup_steps', 0)  # fmt: skip
    run = start(tmp_path / 'run', *weights, '--trainer.validate_first', 'true')
    before, after = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert (before.pop('step'), after.pop('step')) == (0, 1)
    assert before == after
    assert training_of(run.last)['best_step'] == 1


@pytest.mark.parametrize(
    ('arguments', 'rule'),
    [
        (('--schedule.reload_best', 'true'), 'schedule.reload_best needs a best validation'),
        ((*STEPPED, '--trainer.validate_every_steps', 4), 'not above the first one'),
        (('--schedule.name', 'step'), 'step needs milestones'),
        (('--schedule.milestones', '[2]'), 'nothing else has them'),
        ((*STEPPED, '--schedule.milestones', '[0]'), 'give steps of at least 1'),
        (('--schedule.name', 'cosine', '--schedule.cycled_momentum', '[0.8, 0.9]'),
         'only onecycle cycles it'),
        (('--optimizer.lr_factors', '{"a.*": -1}'), "optimizer.lr_factors 'a.*' is -1"),
        (('--data.augmentation', 'jiter'), "did you mean 'jitter'?"),
        (('--data.cutflip_probability', 2), 'data.cutflip_probability is 2.0'),
    ],
)  # fmt: skip
def test_schedules_that_contradict_themselves_are_refused(
    start: Start, tmp_path: Path, arguments: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        start(tmp_path / 'run', *arguments)
    assert rule in str(caught.value)
