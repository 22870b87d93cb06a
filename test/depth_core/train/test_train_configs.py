# SPDX-License-Identifier: Apache-2.0
"""Every file in config/train builds what it names and takes a step."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from depth_core.metrics import PROTOCOLS
from depth_core.models import FAMILIES, NETWORKS, Family, default_options
from depth_core.models.packaged_weights import PACKAGED
from depth_core.train.command_line import parse
from depth_core.train.datasets import open_augmentation, open_training_set
from depth_core.train.loop import train
from depth_core.train.paths import named_paths
from depth_core.train.recipes import Recipe
from depth_core.train.recipes.embedding import EmbeddingRecipe
from depth_core.train.settings import (
    DatasetSettings,
    ModelSettings,
    TrainSettings,
    ValidationSettings,
)
from depth_core.train.stream import SampleStream, batches

FOLDER = Path(__file__).resolve().parents[3] / 'config/train'
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix('')) for path in FOLDER.rglob('*.yaml'))

DATA_ALONE = [
    name
    for name in NAMES
    if 'name: supervised' in (FOLDER / f'{name}.yaml').read_text(encoding='utf-8')
    and name != 'supervised_synthetic'
]
"""The files that differ from another one in their data set alone."""


@cache
def read(name: str) -> TrainSettings:
    return parse(['--config', str(FOLDER / f'{name}.yaml')])


def without_files(recipe: Recipe[Any]) -> Recipe[Any]:
    """The recipe as if the user had none of the files it starts from."""
    absent: dict[str, Any] = {
        item.name: None for item in fields(recipe) if isinstance(getattr(recipe, item.name), Path)
    }
    absent |= {item.name: False for item in fields(recipe) if item.name.endswith('pretrained')}
    return replace(recipe, **absent)


def stand_in(chosen: DatasetSettings, recipe: Recipe[Any], *, seed: int) -> DatasetSettings:
    """Synthetic images in the place of the data set."""
    own = chosen.options if chosen.name == 'synthetic' else {}
    options = own | {'seed': seed, 'length': 2}
    if neighbours := getattr(recipe, 'neighbours', 0):
        options['neighbours'] = [-1, 1, -2, 2][:neighbours]
    if chosen.name != 'mix':
        return DatasetSettings(name='synthetic', options=options)
    parts = [
        {key: value for key, value in part.items() if key in {'augmentation', 'domain'}}
        | {'name': 'synthetic', 'options': options}
        for part in chosen.options['datasets']
    ]
    return DatasetSettings(name='mix', options={'datasets': parts})


def quick(settings: TrainSettings, folder: Path) -> TrainSettings:
    """The same settings for one step of a tiny network."""
    model, data, trainer = settings.model, settings.data, settings.trainer
    tiny = NETWORKS[model.name].tiny if model.name in NETWORKS else {}  # HEGs are small
    options = untrained(settings) | dict(tiny)
    recipe = without_files(settings.recipe)
    return replace(
        settings,
        model=ModelSettings(name=model.name, options=options),  # as if it had no weights
        recipe=recipe,
        data=replace(
            data, height=64, width=64, workers=0,
            train=stand_in(data.train, recipe, seed=1),
            validation=ValidationSettings(**vars(stand_in(data.validation, recipe, seed=2))),
            cache=None if data.cache is None else folder / 'cache',
        ),
        schedule=replace(settings.schedule, warmup_steps=0, steps=None),
        trainer=replace(
            trainer, max_steps=1, batch_size=2 * trainer.gradient_accumulation,
            accelerator='cpu', threads=1, run_dir=folder / 'run', resume=None,
        ),
    )  # fmt: skip


def without_weights(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model as if the user had none of the files it starts from."""
    return {key: item for key, item in options.items() if not key.endswith('_weights')}


def untrained(settings: TrainSettings) -> dict[str, Any]:
    """The options of a network that starts from random weights."""
    if isinstance(settings.recipe, EmbeddingRecipe):
        return {}
    return without_weights(settings.model.options) | {'pretrained': False}


def test_the_schemes_of_the_house_are_there() -> None:
    """The official ones, the quick one, and what the shipped model is made with."""
    assert {'densedepth_kitti', 'densedepth_nyu', 'densedepth_synthetic',
            'densedepth_small_main', 'densedepth_small_main_2'} <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize('family', FAMILIES, ids=lambda family: family.name)
def test_every_family_is_trained_on_synthetic_data_by_its_recipe(family: Family) -> None:
    """Where it is quick to try, with a file of its own."""
    files = [read(name) for name in NAMES if name.endswith('_synthetic')]
    trained = {file.model.name for file in files if file.recipe.name == family.recipe}
    assert trained & {network.name for network in family.networks}


@pytest.mark.parametrize('name', NAMES)
def test_the_model_named_is_the_model_built(name: str) -> None:
    """At its full size, without numbers: the largest have 300 million."""
    settings = read(name)
    recipe, size = without_files(settings.recipe), (settings.data.height, settings.data.width)
    with torch.device('meta'):
        model = recipe.create(settings.model.name, untrained(settings), size=size)
    assert recipe.problems(model) == []
    for key, value in without_weights(settings.model.options).items():
        if key != 'pretrained':
            assert model.options[key] == value


def test_encoders_start_from_weights_that_exist() -> None:
    """Packaged with pip, or known to timm; nothing is loaded."""
    missing = []
    for name in NAMES:
        model = read(name).model
        usual = default_options(model.name) if model.name in NETWORKS else {}
        options = {**usual, **model.options}
        encoder, weights = options.get('encoder'), options.get('encoder_weights')
        if 'encoder_weights' in usual and options.get('pretrained'):
            weights = 'download'
        if weights == 'packaged' and encoder not in PACKAGED:
            missing.append(f'{name}: {encoder}')
        if weights == 'download' and not timm.is_model_pretrained(str(encoder)):
            missing.append(f'{name}: {encoder}')
    assert missing == []


def test_the_head_names_all_that_is_read() -> None:
    """Folders, lists and checkpoints, in full, and where it is said what they are."""
    missing = []
    for name in NAMES:
        settings = read(name)
        paths = [str(path) for path in named_paths(settings).values()]
        weights = str(settings.model.weights or '')
        paths += [weights] if '/' in weights else []
        text = (FOLDER / f'{name}.yaml').read_text(encoding='utf-8')
        lines = itertools.takewhile(lambda line: line.startswith('#'), text.splitlines())
        head = ' '.join(line.removeprefix('#').strip() for line in lines)
        missing += [f'{name}: {path}' for path in paths if path not in head]
        if any(path.startswith('data/') for path in paths) and 'docs/data.md' not in head:
            missing.append(f'{name}: docs/data.md')
    assert missing == []


def test_schemes_of_paper_size_state_the_gpu_memory_they_need() -> None:
    names = [
        name
        for name in NAMES
        if name.endswith(('_nyu', '_kitti', '_mix', '_paper')) and '_small' not in name
    ]
    assert len(names) > 10
    for name in names:
        text = (FOLDER / f'{name}.yaml').read_text(encoding='utf-8')
        assert 'GPU memory, computed (python -m depth_core.train.gpu_memory)' in text, name


@pytest.mark.parametrize('name', DATA_ALONE)
def test_its_images_reach_the_network(tmp_path: Path, name: str) -> None:
    """Augmented as it says, at the size it says; supervised_synthetic takes the step of all."""
    settings = quick(read(name), tmp_path)
    data = replace(settings.data, height=read(name).data.height, width=read(name).data.width)
    train_set = open_training_set(data, needs_depth=settings.recipe.needs_depth)
    stream = SampleStream(train_set, open_augmentation(data, train_set), 0, 1)
    (sample,) = batches(stream, first_step=0, steps=1, rank=0, world_size=1, workers=0)
    assert sample.image.shape == (1, 3, data.height, data.width)
    assert bool(sample.image.isfinite().all())
    assert bool(sample.valid.any())


@pytest.mark.parametrize('name', sorted({*NAMES} - {*DATA_ALONE}))
def test_it_trains(tmp_path: Path, name: str) -> None:
    run = train(quick(read(name), tmp_path))
    training = read(name).recipe.read(run.last).training
    assert training is not None
    assert training['step'] == 1


@pytest.mark.parametrize(
    ('name', 'protocol', 'flip', 'every'),
    [
        ('densedepth_nyu', 'nyu_densedepth', 'mean', 6250),
        ('urcdc_nyu', 'nyu_eigen', 'blended', 500),
        ('urcdc_kitti', 'kitti_window_garg_80m', 'blended', 1000),
        ('zoedepth_n_nyu', 'nyu_eigen', 'mean', 378),
        ('zoedepth_k_kitti', 'kitti_window_garg_80m', 'mean', 362),
        ('packnet_kitti', 'kitti_eigen_garg_80m', 'blended_inverse', 2488),
        ('monodepth2_kitti', 'kitti_eigen_garg_80m', 'none', 3317),
        ('packnet_paper_kitti', 'kitti_eigen_garg_80m', 'blended_inverse', 2488),
        ('packnet_semisup_kitti', 'kitti_eigen_garg_80m', 'blended_inverse', 2488),
        ('packnet_velocity_kitti', 'kitti_eigen_garg_80m', 'blended_inverse', 2488),
        ('zoedepth_nk_mix', 'nyu_eigen', 'mean', 758),
        ('densedepth_kitti', 'kitti_eigen_garg_80m', 'mean', 5000),
        ('cliffnet_kitti', 'kitti_window_garg_80m', 'none', 5000),
    ],
)
def test_official_schemes_are_validated_as_their_authors_did(
    name: str, protocol: str, flip: str, every: int
) -> None:
    settings = read(name)
    held_out = settings.data.validation
    assert (held_out.protocol, held_out.flip_average) == (protocol, flip)
    assert settings.trainer.validate_every_steps == every
    if PROTOCOLS[protocol].window is not None:
        assert held_out.options.get('crop') is None  # the protocol cuts it
