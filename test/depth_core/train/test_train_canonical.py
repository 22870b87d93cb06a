# SPDX-License-Identifier: Apache-2.0
"""Training of a network whose depth belongs to one focal length."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import Tensor

from depth_core.contracts import DepthKind
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError
from depth_core.models import create_model
from depth_core.models.base import ModelSpec, make_canonical
from depth_core.train.command_line import parse, plain
from depth_core.train.loop import train
from depth_core.train.recipes import depth
from depth_core.train.recipes.embedding import EmbeddingRecipe
from depth_core.train.run_folder import RunFolder
from depth_core.weights.checkpoint import load_model, read_checkpoint, save_model
from test.benchmarks import focal_lengths

SMALL = {'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 8, 8, 8, 8)}


def run(config: Path, folder: Path, *arguments: object) -> RunFolder:
    given = ['--config', config, '--trainer.run_dir', folder, *arguments]
    return train(parse([str(argument) for argument in given]))


def test_the_checkpoint_carries_the_focal_length(
    tiny_config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finished = run(
        tiny_config, tmp_path / 'run', '--data.canonical_focal_px', 50.0,
        '--data.augmentation', 'zoom_jitter', '--trainer.max_steps', 2,
    )  # fmt: skip
    for path in (finished.last, finished.best):
        model = load_model(path)
        assert model.spec.kind is DepthKind.CANONICAL
        assert model.spec.canonical_focal_px == 50.0
    assert finished.records[-1]['align'] == 'none'
    assert finished.records[-1]['images_scored'] == 3
    assert 'canonical_focal_px asks for' not in caplog.text
    for name, focal_px in (('same', 50.0), ('other', 60.0)):
        caplog.clear()
        run(
            tiny_config, tmp_path / name, '--data.canonical_focal_px', focal_px,
            '--trainer.max_steps', 1, '--schedule.steps', 4, '--model.weights', finished.last,
        )  # fmt: skip
        warned = [record for record in caplog.records if 'asks for' in record.getMessage()]
        assert [record.levelname for record in warned] == ['WARNING'] * (name == 'other')
    assert 'length of 50 px, and data.canonical_focal_px asks for depth' in caplog.text
    assert 'length of 60 px' in caplog.text


def test_targets_are_canonical_and_only_those(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wide camera and a narrow one see the same scenes with the same steps."""
    seen: list[Tensor] = []

    def target_of(
        sample: Sample, spec: ModelSpec, *, sky_as_max_depth: bool
    ) -> tuple[Tensor, Tensor]:
        target = depth.target_of(sample, spec, sky_as_max_depth=sky_as_max_depth)
        seen.append(target[0].median())
        return target

    monkeypatch.setattr('depth_core.train.recipes.densedepth.target_of', target_of)
    steps = (
        '--trainer.max_steps', 1, '--schedule.steps', 4,
        '--data.train.options', '{seed: 1, length: 6, hfov_deg: 90}',
    )  # fmt: skip
    run(tiny_config, tmp_path / 'metres', *steps)
    run(tiny_config, tmp_path / 'canonical', *steps, '--data.canonical_focal_px', 16.0)
    metres, canonical = (float(value) for value in seen)
    assert canonical == pytest.approx(0.5 * metres, rel=1e-5)  # 90 degrees at 64 px: f = 32 px


def test_images_without_a_camera_are_refused_before_training(
    tiny_config: Path, tmp_path: Path
) -> None:
    for name in ('rgb', 'depth'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'data/rgb/a.png'), np.zeros((64, 64, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'data/depth/a.png'), np.full((64, 64), 2000, np.uint16))
    with pytest.raises(DataError, match=r'no focal length is known.*give the intrinsics'):
        run(
            tiny_config, tmp_path / 'run', '--data.canonical_focal_px', 50.0,
            '--data.train.name', 'folder', '--data.train.root', tmp_path / 'data',
            '--data.train.options', '{depth_unit_m: 0.001}',
        )  # fmt: skip


def test_only_networks_of_metric_depth_can_be_canonical(tiny_config: Path, tmp_path: Path) -> None:
    model = create_model('selfsup_resnet18')
    with pytest.raises(ConfigError, match='up_to_scale depth: only metres depend'):
        make_canonical(model, 50.0)
    recipe = EmbeddingRecipe()
    embedding = recipe.create('heg_s', {}, size=(64, 64))
    with pytest.raises(ConfigError, match='recipe embedding trains no network of metric depth'):
        recipe.make_canonical(embedding, 50.0)
    with pytest.raises(ConfigError, match='canonical_focal_px is -4'):
        run(tiny_config, tmp_path / 'run', '--data.canonical_focal_px', -4)
    with pytest.raises(ConfigError, match='zoom_jitter'):
        run(tiny_config, tmp_path / 'run', '--data.augmentation', 'zoom_jitter')


def test_networks_that_learned_metres_stay_metric(tmp_path: Path) -> None:
    model = create_model('densedepth_small', **SMALL)
    save_model(tmp_path / 'a.ckpt', model, provenance={'canonical_focal_px': None})
    save_model(tmp_path / 'b.ckpt', model)
    for name in ('a.ckpt', 'b.ckpt'):
        assert read_checkpoint(tmp_path / name).canonical_focal_px is None
        assert load_model(tmp_path / name).spec.kind is DepthKind.METRIC


def test_the_page_states_what_was_measured() -> None:
    result = json.loads(focal_lengths.RESULT.read_text(encoding='utf-8'))
    page = (focal_lengths.RESULT.parents[1] / 'training.md').read_text(encoding='utf-8')
    assert focal_lengths.table(result) in page
    found = focal_lengths.summary(result['cameras'])
    assert found == {key: result[key] for key in found}
    assert f'{result["less_error"]:.0%} less error' in page


def test_both_networks_of_the_comparison_are_trained_alike() -> None:
    """Same network, scenes, order and steps; only what is compared differs."""
    metric, canonical = (
        plain(parse(['--config', str(focal_lengths.FOLDER / f'{name}.yaml')]))
        for name in ('metric', 'canonical')
    )
    for settings in (metric, canonical):
        for key in ('canonical_focal_px', 'augmentation'):
            settings['data'].pop(key)
        settings['trainer'].pop('run_dir')
    assert metric == canonical
