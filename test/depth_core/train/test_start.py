# SPDX-License-Identifier: Apache-2.0
"""What a run starts from: by path and by name, whole and in part, with the options it has."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from depth_core import shipped
from depth_core.errors import CheckpointError, ConfigError, DepthError, ModelError
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.shipped import default_model, find_checkpoint
from depth_core.train.recipes.densedepth import DenseDepthRecipe
from depth_core.train.recipes.depth import DepthRecipe
from depth_core.train.recipes.relative import RelativeRecipe
from depth_core.train.settings import (
    DatasetSettings,
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrainerSettings,
    TrainSettings,
)
from depth_core.train.start import open_training_step, read_start
from depth_core.weights.checkpoint import read_checkpoint, save_model
from depth_core.weights.partial import MayDiffer, fit_partly

SMALL = {'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 8, 8, 8, 8)}


def _saved(folder: Path, name: str, **options: object) -> Path:
    torch.manual_seed(3)
    path = folder / f'{name}.ckpt'
    save_model(path, create_model(name, **options))
    return path


@pytest.fixture(scope='module')
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _saved(tmp_path_factory.mktemp('small'), 'densedepth_small', **SMALL, max_depth=40.0)


@pytest.fixture(scope='module')
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('official')
    return _saved(folder, 'densedepth', encoder='densenet121', decoder_width=0.05, max_depth=80.0)


def _start(
    name: str = 'densedepth_small', *, recipe: DepthRecipe | None = None, **model: Any
) -> DepthModel:
    """The network that a run with these settings of the model starts with, in eval mode."""
    settings = TrainSettings(
        model=ModelSettings(name=name, **model),
        data=DataSettings(height=64, width=64, train=DatasetSettings(name='synthetic')),
        recipe=recipe or DenseDepthRecipe(),
        optimizer=OptimizerSettings(),
        schedule=ScheduleSettings(),
        trainer=TrainerSettings(max_steps=1, batch_size=1),
    )
    started = open_training_step(*read_start(settings)).model
    assert isinstance(started, DepthModel)
    return started.eval()


def _refusal(name: str = 'densedepth_small', **model: Any) -> str:
    with pytest.raises(DepthError) as caught:
        _start(name, **model)
    return str(caught.value)


# Which file


def _ship(folder: Path, monkeypatch: pytest.MonkeyPatch, *files: str) -> None:
    (folder / 'trt_engines').mkdir()
    for file in files:
        (folder / 'trt_engines' / file).touch()
    monkeypatch.setattr(shipped, 'share_folders', lambda: iter((folder,)))


def test_a_shipped_model_is_taken_by_its_name(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ship(tmp_path, monkeypatch, 'tiny.onnx')
    (tmp_path / 'trt_engines/tiny.ckpt').write_bytes(small.read_bytes())
    started = _start(weights=Path('tiny')).state_dict()
    for key, value in read_checkpoint(small).state.items():
        assert torch.equal(started[key], value), key


def test_names_that_cannot_be_trained_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ship(tmp_path, monkeypatch, 'tiny.onnx', 'other.onnx', 'other.ckpt')
    with pytest.raises(ModelError, match='tiny is here as a graph alone, which cannot be trained'):
        find_checkpoint('tiny')
    with pytest.raises(ModelError, match=r"othre.* did you mean 'other'|othre.*other"):
        find_checkpoint('othre')


@pytest.mark.parametrize('beside', [True, False])
def test_a_graph_given_for_training_is_refused_in_words(tmp_path: Path, *, beside: bool) -> None:
    graph = tmp_path / 'net.onnx'
    graph.write_bytes(b'\x08\x08')
    if beside:
        (tmp_path / 'net.ckpt').touch()
    said = _refusal(weights=graph)
    assert 'is an ONNX graph' in said
    assert 'cannot be trained' in said
    assert (f'give its checkpoint, {tmp_path / "net.ckpt"}' in said) is beside


@pytest.mark.parametrize('name', ['renamed.ckpt', 'renamed.pth', 'renamed'])
def test_a_graph_by_another_name_is_refused_as_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(default_model().read_bytes())
    said = _refusal(weights=path)
    assert f'{path} is an ONNX graph' in said
    assert 'those of shipped models are taken by name' in said


def test_a_shipped_model_with_an_ending_is_taken_for_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ship(tmp_path, monkeypatch, 'tiny.onnx', 'tiny.ckpt')
    with pytest.raises(ModelError, match='tiny is taken by its name alone: give tiny'):
        find_checkpoint('tiny.onnx')


# Its options


def test_options_that_are_not_given_are_those_of_the_checkpoint(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, 'depth_core'):
        model = _start(weights=small)
    assert model.spec.max_depth == 40.0
    assert model.options['decoder_channels'] == (16, 8, 8, 8, 8)
    assert 'max_depth 40.0' in caplog.text


def test_an_option_that_changes_every_prediction_is_refused_and_both_are_said(small: Path) -> None:
    said = _refusal(weights=small, options={'max_depth': 10})
    assert 'max_depth 40.0 to 10' in said
    assert '--model.options.max_depth 40.0' in said
    assert 'weights_other_options as [max_depth]' in said


def test_it_may_change_where_that_is_said(small: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = _start(weights=small, options={'max_depth': 10}, weights_other_options=['max_depth'])
    assert model.spec.max_depth == 10.0
    assert 'was trained with max_depth 40.0, and model.options asks for 10' in caplog.text


def test_the_range_of_densedepth_is_rescaled_exactly(
    official: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Y = max_depth / depth: the same depth where both ranges have it."""
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with caplog.at_level(logging.INFO, 'depth_core'), torch.no_grad():
        wide = _start('densedepth', weights=official)
        narrow = _start('densedepth', weights=official, options={'max_depth': 10})
        with_80, with_10 = (net.official_forward(images)['out'] for net in (wide, narrow))
    assert torch.allclose(80.0 / with_80, 10.0 / with_10, rtol=1e-4)
    assert 'max_depth 80.0 to 10' in caplog.text


def test_another_family_is_refused_and_its_name_is_said(official: Path, tmp_path: Path) -> None:
    other = _saved(tmp_path, 'cliffnet_small', encoder='mobilenetv3_small_050')
    said = _refusal(weights=other)
    assert 'cliffnet_small of family cliffnet, and model.name is densedepth_small' in said
    assert '--model.name cliffnet_small' in said
    assert 'densedepth of family densedepth' in _refusal(weights=official)


# A part of it


def test_a_new_decoder_starts_as_it_is_built(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wider: dict[str, Any] = {
        'weights': small, 'options': {'decoder_channels': [16, 8, 8, 8, 12]}
    }  # fmt: skip
    refused = _refusal(**wider)
    assert 'of another shape' in refused
    assert 'model.weights_missing' in refused
    with caplog.at_level(logging.INFO, 'depth_core'):
        model = _start(**wider, weights_missing=['decoder.*', 'sigma_head.*'])
    held = read_checkpoint(small).state
    state = model.state_dict()
    same = {key for key in held if held[key].shape == state[key].shape}
    assert all(torch.equal(state[key], held[key]) for key in same)
    assert 'start as they are built: decoder.' in caplog.text


def test_another_encoder_needs_both_lists(small: Path) -> None:
    other: dict[str, Any] = {
        'weights': small, 'options': {'encoder': 'resnet18'}, 'weights_left_over': ['encoder.*']
    }  # fmt: skip
    said = _refusal(**other)
    assert re.search(r'\d+ missing: encoder\.network', said)
    assert 'model.weights_missing' in said
    model = _start(**other, weights_missing=['encoder.*', 'decoder.*'])
    held = read_checkpoint(small).state
    assert torch.equal(model.state_dict()['sigma_head.out.weight'], held['sigma_head.out.weight'])


def test_patterns_that_mean_nothing_are_refused(small: Path) -> None:
    missing = _refusal(weights=small, weights_missing=['head.*'])
    assert "weights_missing: 'head.*' matches none of" in missing
    left = _refusal(weights=small, weights_left_over=['head.*'])
    assert "weights_left_over: 'head.*' matches none of" in left
    option = _refusal(weights=small, weights_other_options=['max_dept'])
    assert 'max_depth' in option


def test_a_checkpoint_may_be_a_part_of_another_network(small: Path) -> None:
    """ZoeDepth's core is the network that DenseDepth is; the heads on it are its own."""
    given: dict[str, Any] = {
        'name': 'zoedepth_small', 'recipe': RelativeRecipe(), 'weights': small,
        'options': {**SMALL, 'domains': ['a', 'b'], 'domain_max_depths': [10.0, 80.0]},
        'weights_missing': ['embedding.*', 'router.*', 'heads.*', 'calibration.*'],
        'weights_left_over': ['core.sigma_head.*'],
    }  # fmt: skip
    state = _start(**given, weights_part='core').state_dict()
    held = read_checkpoint(small).state
    core = [key for key in held if not key.startswith('sigma_head')]
    assert core
    assert all(torch.equal(state[f'core.{key}'], held[key]) for key in core)
    assert "did you mean 'core'" in _refusal(**given, weights_part='kore')
    assert 'weights_part is core, but there is no model.weights' in _refusal(weights_part='core')


def test_a_file_of_which_nothing_fits_is_refused() -> None:
    given, own = {'a': torch.zeros(2)}, {'a': torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r'nothing of a\.ckpt fits the network'):
        fit_partly(given, own, MayDiffer(missing=['*']), source='a.ckpt')


def test_what_both_lists_name_starts_as_it_is_built() -> None:
    """Weights of the other encoder would fit here and there, and make a mixture of two."""
    given = {'encoder.a': torch.ones(2), 'encoder.b': torch.ones(3), 'head.c': torch.ones(4)}
    own = {key: torch.zeros(2 + (key == 'head.c') * 2) for key in given}
    may = MayDiffer(missing=['encoder.*'], left_over=['encoder.*'])
    fit = fit_partly(given, own, may, source='a.ckpt')
    assert (fit.kept, fit.left_over) == (['encoder.a', 'encoder.b'], ['encoder.a', 'encoder.b'])
    assert [bool(weight.any()) for weight in fit.state.values()] == [False, False, True]
    taken = fit_partly(given, own, MayDiffer(missing=['encoder.*']), source='a.ckpt')
    assert taken.kept == ['encoder.b']


def test_lists_without_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'no model\.weights that it is about'):
        _start(weights_missing=['decoder.*'])


def test_half_the_space_and_the_same_weights_but_for_rounding(small: Path, tmp_path: Path) -> None:
    """float16 has 11 bits: each kernel's weights are off by at most 2^-11 of themselves."""
    whole = read_checkpoint(small)
    model = create_model(whole.name, **whole.options)
    model.load_state_dict(dict(whole.state))
    half = tmp_path / 'half.ckpt'
    save_model(half, model, half=True)
    stored = read_checkpoint(half)
    assert (stored.provenance or {})['stored_as'] == 'float16, vectors float32'
    started = _start(weights=half).state_dict()
    for key, value in whole.state.items():
        if value.ndim > 1:
            assert stored.state[key].dtype == torch.float16
            assert torch.allclose(started[key], value, rtol=2.0**-11, atol=2.0**-25), key
        else:
            assert torch.equal(started[key], value), key
    assert half.stat().st_size < 0.62 * small.stat().st_size


def test_weights_that_are_not_finite_are_refused_by_name(small: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(small)
    model = create_model(checkpoint.name, **checkpoint.options)
    with torch.no_grad():
        model.get_parameter('decoder.out.bias').fill_(float('nan'))
    broken = tmp_path / 'broken.ckpt'
    save_model(broken, model)
    with pytest.raises(CheckpointError, match=r'NaN or infinite: decoder\.out\.bias'):
        _start(weights=broken)
