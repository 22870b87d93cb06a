# SPDX-License-Identifier: Apache-2.0
"""Every file in config/train builds what it names and takes a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.models import create_model
from depth_core.models.weights import read_checkpoint
from depth_core.train.command_line import parse
from depth_core.train.loop import train

NAMES = (
    'densedepth_kitti',
    'densedepth_nyu',
    'densedepth_small_shipped_1',
    'densedepth_small_shipped_2',
    'densedepth_synthetic',
)
REAL_DATA = ('densedepth_kitti', 'densedepth_nyu')

LIGHTER = {
    'densedepth': ('--model.options.encoder', 'densenet121', '--model.options.decoder_width', 0.05,
                   '--model.options.pretrained', 'false'),
    'densedepth_small': ('--model.options.encoder', 'mobilenetv3_small_050'),
}  # fmt: skip


def config(repository: Path, name: str) -> Path:
    return repository / 'config/train' / f'{name}.yaml'


def test_no_file_is_left_out(repository: Path) -> None:
    found = sorted(path.stem for path in (repository / 'config/train').glob('*.yaml'))
    assert tuple(found) == NAMES


@pytest.mark.parametrize('name', NAMES)
def test_the_model_named_is_the_model_built(repository: Path, name: str) -> None:
    settings = parse(['--config', str(config(repository, name))])
    options = settings.model.options | {'pretrained': False}
    model = create_model(settings.model.name, **options)
    assert settings.recipe.faults(model) == []
    assert settings.data.height % model.spec.divisor == 0
    assert settings.data.width % model.spec.divisor == 0
    for key, value in settings.model.options.items():
        if key != 'pretrained':
            assert model.options[key] == value


@pytest.mark.parametrize('name', NAMES)
def test_it_trains(repository: Path, tmp_path: Path, name: str) -> None:
    path = config(repository, name)
    model = parse(['--config', str(path)]).model.name
    arguments: list[object] = [
        '--config', path, *LIGHTER[model], '--data.height', 64, '--data.width', 64,
        '--data.train.options.seed', 1, '--data.train.options.length', 2,
        '--data.validation.options.seed', 2, '--data.validation.options.length', 1,
        '--data.workers', 0, '--trainer.max_steps', 1, '--trainer.batch_size', 2,
        '--trainer.accelerator', 'cpu', '--trainer.threads', 1,
        '--trainer.run_dir', tmp_path / 'run', '--schedule.warmup_steps', 0,
        '--model.weights', 'null',
    ]  # fmt: skip
    if name in REAL_DATA:
        for part in ('train', 'validation'):
            arguments += [f'--data.{part}.name', 'synthetic', f'--data.{part}.root', 'null',
                          f'--data.{part}.split', 'null']  # fmt: skip
    else:
        arguments += ['--data.cache', tmp_path / 'cache']
    run = train(parse([str(argument) for argument in arguments]))
    training = read_checkpoint(run.last).training
    assert training is not None
    assert training['step'] == 1
