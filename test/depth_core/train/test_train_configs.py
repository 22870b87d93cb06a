# SPDX-License-Identifier: Apache-2.0
"""Every file in config/train builds what it names and takes a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.models import create_model
from depth_core.models.weights import read_checkpoint
from depth_core.train.command_line import parse
from depth_core.train.loop import train

FOLDER = Path(__file__).resolve().parents[3] / 'config/train'
NAMES = sorted(path.stem for path in FOLDER.glob('*.yaml'))

LIGHTER = {
    'densedepth': ('--model.options.encoder', 'densenet121', '--model.options.decoder_width', 0.05,
                   '--model.options.pretrained', 'false'),
    'densedepth_small': ('--model.options.encoder', 'mobilenetv3_small_050'),
}  # fmt: skip


def test_the_schemes_of_the_house_are_there() -> None:
    """The official ones, the quick one, and what the shipped model is made with."""
    assert {'densedepth_kitti', 'densedepth_nyu', 'densedepth_synthetic',
            'densedepth_small_shipped_1'} <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize('name', NAMES)
def test_the_model_named_is_the_model_built(name: str) -> None:
    settings = parse(['--config', str(FOLDER / f'{name}.yaml')])
    options = settings.model.options | {'pretrained': False}
    model = create_model(settings.model.name, **options)
    assert settings.recipe.faults(model) == []
    assert settings.data.height % model.spec.divisor == 0
    assert settings.data.width % model.spec.divisor == 0
    for key, value in settings.model.options.items():
        if key != 'pretrained':
            assert model.options[key] == value


@pytest.mark.parametrize('name', NAMES)
def test_it_trains(tmp_path: Path, name: str) -> None:
    path = FOLDER / f'{name}.yaml'
    settings = parse(['--config', str(path)])
    arguments: list[object] = [
        '--config', path, *LIGHTER[settings.model.name], '--data.height', 64, '--data.width', 64,
        '--data.train.options.seed', 1, '--data.train.options.length', 2,
        '--data.validation.options.seed', 2, '--data.validation.options.length', 1,
        '--data.workers', 0, '--trainer.max_steps', 1, '--trainer.batch_size', 2,
        '--trainer.accelerator', 'cpu', '--trainer.threads', 1,
        '--trainer.run_dir', tmp_path / 'run', '--schedule.warmup_steps', 0,
        '--model.weights', 'null',
    ]  # fmt: skip
    if settings.data.train.name != 'synthetic':  # real data has a synthetic stand-in here
        for part in ('train', 'validation'):
            arguments += [f'--data.{part}.name', 'synthetic', f'--data.{part}.root', 'null',
                          f'--data.{part}.split', 'null']  # fmt: skip
    else:
        arguments += ['--data.cache', tmp_path / 'cache']
    run = train(parse([str(argument) for argument in arguments]))
    training = read_checkpoint(run.last).training
    assert training is not None
    assert training['step'] == 1
