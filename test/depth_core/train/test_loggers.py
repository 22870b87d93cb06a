# SPDX-License-Identifier: Apache-2.0
"""TensorBoard, Weights & Biases and MLflow: read back, and refused in words where absent."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # no stubs
    EventAccumulator,
)
from tensorboard.plugins.custom_scalar import (  # type: ignore[import-untyped]  # no stubs
    layout_pb2,
)
from tensorboard.plugins.hparams import metadata  # type: ignore[import-untyped]  # no stubs

from depth_core.errors import ConfigError
from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.run_folder import RunFolder

Run = Callable[..., RunFolder]


@pytest.fixture
def run(tiny_config: Path, tmp_path: Path) -> Run:
    def start(*arguments: str) -> RunFolder:
        folder = str(tmp_path / 'run')
        return train(
            parse(['--config', str(tiny_config), '--trainer.run_dir', folder, *arguments])
        )

    return start


@pytest.mark.parametrize(('name', 'package'), [('wandb', 'wandb'), ('mlflow', 'mlflow-skinny')])
def test_a_logger_that_is_not_installed_is_refused_before_anything_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    found = importlib.util.find_spec

    def without(module: str, parent: str | None = None) -> ModuleSpec | None:
        return None if module == name else found(module, parent)

    monkeypatch.setattr(importlib.util, 'find_spec', without)
    expected = (
        f'trainer.loggers {name} needs the package {package}, which is not installed: '
        rf"pip install 'depth_ros\[{name}\]', or leave it out"
    )
    with pytest.raises(ConfigError, match=expected):
        run('--trainer.loggers', f'[{name}]')
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--trainer.wandb_mode', 'online'], r'loggers is \[.tensorboard.\]; add wandb'),
        (['--trainer.mlflow_uri', 'http://127.0.0.1:5000'], 'add mlflow, or leave it out'),
        (
            ['--trainer.mlflow_uri', 'mlruns', '--trainer.loggers', '[mlflow]'],
            'give a server as http://127.0.0.1:5000, a folder',
        ),
        (['--trainer.loggers', '[tensorbord]'], 'trainer.loggers'),
    ],
)
def test_settings_of_loggers_that_make_no_sense_are_refused(
    run: Run, arguments: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(*arguments)


def test_without_loggers_the_files_of_the_run_remain(run: Run) -> None:
    folder = run('--trainer.loggers', '[]').path
    assert not (folder / 'tensorboard').exists()
    assert (folder / 'training.jsonl').is_file()
    assert (folder / 'metrics.json').is_file()


@pytest.fixture(scope='module')
def finished(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp('finished') / 'run'
    drawing = ('--trainer.draw_training_every_steps', '2')
    return train(parse(['--config', str(tiny_config), '--trainer.run_dir', str(folder), *drawing]))


def gradients(folder: Path) -> list[float]:
    lines = (folder / 'training.jsonl').read_text(encoding='utf-8').splitlines()
    return [json.loads(line)['gradient_norm'] for line in lines]


def test_tensorboard_has_curves_and_pictures(finished: RunFolder) -> None:
    events = EventAccumulator(str(finished.path / 'tensorboard'))
    events.Reload()
    tags = events.Tags()
    expected = {'train/loss', 'train/reciprocal', 'train/sigma', 'train/log_l1',
                'optimizer/learning_rate', 'optimizer/gradient_norm',
                'machine/images_per_second', 'held_out/abs_rel', 'held_out/a1',
                'held_out/rmse'}  # fmt: skip
    assert expected <= set(tags['scalars'])
    assert [event.step for event in events.Scalars('train/loss')] == [1, 2, 3, 4]
    norms = [event.value for event in events.Scalars('optimizer/gradient_norm')]
    assert norms == pytest.approx(gradients(finished.path))
    assert min(norms) > 0.0
    assert sorted(tags['images']) == ['held_out/drawn', 'train/drawn']
    assert [event.step for event in events.Images('train/drawn')] == [2, 4]
    for name, rows in (('held_out/drawn', 3), ('train/drawn', 2)):
        picture = events.Images(name)[0]
        # Image, truth, depth and certainty under a title; a scale of depth and one of certainty.
        assert (picture.height, picture.width) == (rows * (64 + 16), 4 * 64 + 2 * 64)


def test_tensorboard_compares_runs_by_settings_and_has_legends(finished: RunFolder) -> None:
    events = EventAccumulator(str(finished.path / 'tensorboard'))
    events.Reload()
    plugin = events.PluginTagToContent('hparams')
    (experiment,) = (
        metadata.parse_experiment_plugin_data(content)
        for tag, content in plugin.items()
        if tag.endswith('experiment')
    )
    (start,) = (
        metadata.parse_session_start_info_plugin_data(content)
        for tag, content in plugin.items()
        if tag.endswith('start_info')
    )
    assert start.hparams['optimizer.lr'].number_value == pytest.approx(1e-3)
    assert start.hparams['data.train.options.seed'].number_value == 1
    assert start.hparams['model.options.decoder_channels'].string_value == '[16, 8, 8, 8, 8]'
    names = [info.name.tag for info in experiment.metric_infos]
    assert names == ['held_out/abs_rel', 'held_out/a1', 'held_out/rmse']
    layout = layout_pb2.Layout.FromString(
        events.Tensors('custom_scalars__config__')[0].tensor_proto.string_val[0]
    )
    charts = {
        chart.title: chart.multiline.tag for group in layout.category for chart in group.chart
    }
    assert charts['loss and its terms'] == ['train/.*']


@pytest.fixture
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder of the test, and an environment that is as before afterwards."""
    before = dict(os.environ)
    home = tmp_path / 'home'
    home.mkdir()
    monkeypatch.setenv('HOME', str(home))
    yield home
    for name in set(os.environ) - set(before):
        del os.environ[name]


def losses(folder: Path) -> list[float]:
    lines = (folder / 'training.jsonl').read_text(encoding='utf-8').splitlines()
    return [json.loads(line)['loss'] for line in lines]


@pytest.mark.filterwarnings('default')  # MLflow's and W&B's own are not ours to mend
def test_mlflow_keeps_the_run_in_its_folder_and_goes_on_with_it(
    run: Run, own_environment: Path
) -> None:
    tracking = pytest.importorskip(
        'mlflow.tracking', reason="optional package: pip install 'depth_ros[mlflow]'"
    )
    loggers = ('--trainer.loggers', '[mlflow]', '--trainer.draw_training_every_steps', '4')
    run(*loggers, '--schedule.steps', '4', '--trainer.max_steps', '2')
    folder = run(*loggers, '--schedule.steps', '4', '--trainer.resume', 'last').path
    client = tracking.MlflowClient((folder / 'mlruns').resolve().as_uri())
    experiment = client.get_experiment_by_name('depth_core')
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == 'FINISHED'
    assert kept.data.params['optimizer.lr'] == '0.001'
    assert kept.data.tags['depth_core.score'].startswith('held_out/abs_rel, ')
    history = client.get_metric_history(kept.info.run_id, 'train/loss')
    assert [item.step for item in history] == [1, 2, 3, 4]
    np.testing.assert_allclose([item.value for item in history], losses(folder))
    pictures = [item.path for item in client.list_artifacts(kept.info.run_id, 'images')]
    assert any('train' in name and name.endswith('.png') for name in pictures), pictures
    assert list(own_environment.iterdir()) == []


@pytest.mark.filterwarnings('default')  # as above
def test_wandb_keeps_the_run_in_its_folder(run: Run, own_environment: Path) -> None:
    pytest.importorskip('wandb', reason="optional package: pip install 'depth_ros[wandb]'")
    loggers = ('--trainer.loggers', '[wandb]', '--trainer.draw_training_every_steps', '4')
    folder = run(*loggers).path
    (kept,) = folder.glob('wandb/offline-run-*/*.wandb')
    rows = wandb_rows(kept)
    steps = {int(row['step']): float(row['train/loss']) for row in rows if 'train/loss' in row}
    np.testing.assert_allclose([steps[step] for step in (1, 2, 3, 4)], losses(folder))
    assert sum('held_out/abs_rel' in row for row in rows) == 2
    assert list(folder.glob('wandb/offline-run-*/files/media/images/train/*.png'))
    assert list(own_environment.iterdir()) == []


def wandb_rows(path: Path) -> list[dict[str, Any]]:
    """The logged values in a file of an offline run."""
    from wandb.proto import wandb_internal_pb2  # noqa: PLC0415  optional

    rows = []
    for data in levels(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof('record_type') == 'history':
            rows.append(
                {
                    item.key or '/'.join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
            )
    return rows


def levels(content: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB has them, behind the 7 bytes that W&B begins a file with.

    Blocks are of 32 KiB. A part of a record has its checksum (4 bytes), length (2) and kind (1):
    1 is whole, 2 the first, 3 a middle one, 4 the last.
    """
    block, header, place, waiting = 1 << 15, 7, 7, b''
    while place + header <= len(content):
        if block - place % block < header:
            place += block - place % block
            continue
        length, kind = struct.unpack_from('<HB', content, place + 4)
        place += header
        waiting += content[place : place + length]
        place += length
        if kind in {1, 4}:
            yield waiting
            waiting = b''
