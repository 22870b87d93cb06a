# SPDX-License-Identifier: Apache-2.0
"""Sigma is corrected so that the stated confidence comes true, and is served so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_core.contracts import SigmaCalibration
from depth_core.errors import CheckpointError, ConfigError, DepthError
from depth_core.metrics.sigma_fit import Seen, fit
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.models.serving import ServingGraph
from depth_core.train.calibrate import calibrate
from depth_core.weights.checkpoint import load_model, read_checkpoint, save_model

SMALL = {'encoder': 'mobilenetv3_small_050', 'decoder_channels': (16, 8, 8, 8, 8)}
DATA = """\
model: {name: densedepth_small}
data:
  height: 64
  width: 64
  train: {name: synthetic, options: {seed: 1, length: 1}}
  validation: {name: synthetic, options: {seed: 2, length: 2}}
recipe: {name: densedepth}
trainer: {max_steps: 1, batch_size: 1}
"""


@pytest.fixture
def model() -> DepthModel:
    torch.manual_seed(0)
    return create_model('densedepth_small', **SMALL).eval()


def seen_with(true_relative: np.ndarray, stated: np.ndarray) -> Seen:
    """Pixels whose error is Laplace, of a deviation that is not the one stated."""
    drawn = np.random.default_rng(0).laplace(size=true_relative.shape)
    ratio = np.maximum(1.0 + true_relative / np.sqrt(2.0) * drawn, 1e-3)
    return Seen(stated.astype(np.float32), ratio.astype(np.float32))


def test_the_calibration_of_known_errors_is_found() -> None:
    stated = np.geomspace(0.02, 0.4, 60_000)
    found = fit(seen_with(2.0 * stated**1.3, stated))
    assert found.factor == pytest.approx(2.0, rel=0.1)
    assert found.power == pytest.approx(1.3, rel=0.1)


def test_confidence_comes_true_after_it() -> None:
    stated = np.full(20_000, 0.05)
    seen = seen_with(np.full(20_000, 0.5), stated)
    before, after = seen.metrics(SigmaCalibration()), seen.metrics(fit(seen))
    assert before.calibration_error > 0.3
    assert after.calibration_error < 0.03
    assert after.expected_within == pytest.approx(after.observed_within, abs=0.03)


def test_what_is_right_already_is_left_nearly_as_it_is() -> None:
    stated = np.geomspace(0.02, 0.4, 60_000)
    found = fit(seen_with(stated, stated))
    assert found.factor == pytest.approx(1.0, rel=0.1)
    assert found.power == pytest.approx(1.0, rel=0.1)


def test_the_graph_serves_it_and_the_depth_stays(model: DepthModel) -> None:
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    depth, sigma = ServingGraph(model)(image)
    calibration = SigmaCalibration(factor=1.5, power=0.8)
    model.spec = dataclasses.replace(model.spec, sigma_calibration=calibration)
    same, corrected = ServingGraph(model)(image)
    torch.testing.assert_close(same, depth, rtol=0.0, atol=0.0)
    torch.testing.assert_close(corrected, 1.5 * depth * (sigma / depth) ** 0.8)


def test_a_checkpoint_keeps_it(tmp_path: Path, model: DepthModel) -> None:
    path = tmp_path / 'a.ckpt'
    save_model(path, model)
    assert read_checkpoint(path).sigma_calibration == SigmaCalibration()
    calibration = SigmaCalibration(factor=2.0, power=1.25)
    model.spec = dataclasses.replace(model.spec, sigma_calibration=calibration)
    save_model(path, model, provenance={'height': 64, 'width': 64})
    assert load_model(path).spec.sigma_calibration == calibration


@pytest.mark.parametrize('stated', [{'factor': -1.0}, {'gain': 2.0}, {'power': float('nan')}])
def test_a_checkpoint_that_states_none_is_refused(
    tmp_path: Path, model: DepthModel, stated: dict[str, float]
) -> None:
    path = tmp_path / 'a.ckpt'
    save_model(path, model, provenance={'sigma_calibration': stated})
    with pytest.raises(CheckpointError, match='sigma_calibration'):
        load_model(path)


def test_a_checkpoint_is_calibrated_on_held_out_images(tmp_path: Path, model: DepthModel) -> None:
    source, config = tmp_path / 'a.ckpt', tmp_path / 'data.yaml'
    save_model(source, model)
    config.write_text(DATA, encoding='utf-8')
    found, before, after = calibrate(source, tmp_path / 'b.ckpt', config=config)
    assert after.calibration_error < before.calibration_error
    calibrated = read_checkpoint(tmp_path / 'b.ckpt')
    assert calibrated.sigma_calibration == found
    assert calibrated.provenance is not None
    assert calibrated.provenance['calibration'] == {
        'images': 2,
        'error_before': before.calibration_error,
        'error_after': after.calibration_error,
    }


def test_without_held_out_images_it_is_refused(tmp_path: Path, model: DepthModel) -> None:
    source, config = tmp_path / 'a.ckpt', tmp_path / 'data.yaml'
    save_model(source, model)
    with pytest.raises(DepthError, match='give --config'):
        calibrate(source, tmp_path / 'b.ckpt')
    lines = [line for line in DATA.splitlines() if 'validation' not in line]
    config.write_text('\n'.join(lines), encoding='utf-8')
    with pytest.raises(ConfigError, match=r'no data\.validation'):
        calibrate(source, tmp_path / 'b.ckpt', config=config)
