# SPDX-License-Identifier: Apache-2.0
"""`evaluate --calibrate`: sigma made honest on images that are not scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from depth_core.contracts import SigmaCalibration
from depth_core.data.sample import DepthDataset
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate.__main__ import main
from depth_core.evaluate.calibrate import look
from depth_core.evaluate.graph_sigma import write_calibrated
from depth_core.evaluate.scoring import Scorer
from depth_core.manifest import CalibratedSigma, read_manifest
from depth_core.metrics.sigma_fit import Seen
from depth_core.runtime import Predictor
from test.standin import NEAREST_M, SIGMA_RATIO, SPAN_M, write_standin_onnx

HEIGHT, WIDTH, IMAGES = 32, 48, 6
TRUE_SPREAD = 0.6
"""Relative deviation of the truth; the stand-in states 0.1."""
RECORD = CalibratedSigma(
    factor=2.0, power=1.0, data='d', images=1, error_before=0.5, error_after=0.1
)


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('model') / 'standin.onnx'
    return write_standin_onnx(path, height=HEIGHT, width=WIDTH, min_depth=0.1)


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose truth differs from what the stand-in says by Laplace noise."""
    root = tmp_path_factory.mktemp('data')
    (root / 'images').mkdir()
    (root / 'depth').mkdir()
    for index in range(IMAGES):
        rng = np.random.default_rng(index)
        grey = rng.integers(0, 255, (HEIGHT, WIDTH), np.uint8)
        answer = NEAREST_M + SPAN_M * grey / 255.0
        noise = rng.laplace(scale=TRUE_SPREAD / np.sqrt(2.0), size=grey.shape)
        truth = np.clip(answer * (1.0 + noise), 0.2, 70.0)
        assert cv2.imwrite(str(root / f'images/{index}.png'), np.dstack([grey] * 3))
        np.save(root / f'depth/{index}.npy', truth.astype(np.float32))
    return root


def given(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    arguments = ['--onnx', str(model), '--backend', 'onnxruntime', '--data', str(data)]
    return [*arguments, '--protocol', 'none', '--output', str(output), '--pictures', '1', *more]


def test_a_graph_is_calibrated_on_one_half_and_scored_on_the_other(
    model: Path, data: Path, tmp_path: Path
) -> None:
    honest = tmp_path / 'honest.onnx'
    main(given(model, data, tmp_path / 'report', '--calibrate', str(honest)))
    content = json.loads((tmp_path / 'report/metrics.json').read_text())
    assert content['counts']['images'] == IMAGES // 2
    found = content['calibrated']
    assert found['images'] == IMAGES // 2
    assert found['scored_before']['calibration_error'] > 0.3
    after = content['uncertainty']['pooled']
    assert after['calibration_error'] < 0.05
    assert after['expected_within'] == pytest.approx(after['observed_within'], abs=0.05)
    image = np.asarray(cv2.imread(str(data / 'images/5.png')), np.uint8)
    old, new = (
        Predictor.open(path, backend='onnxruntime').predict(image) for path in (model, honest)
    )
    np.testing.assert_array_equal(new.depth_m, old.depth_m)
    expected = found['factor'] * SIGMA_RATIO ** found['power']
    np.testing.assert_allclose(new.sigma_m / new.depth_m, expected, rtol=1e-4)
    assert expected == pytest.approx(TRUE_SPREAD, rel=0.2)
    stated = read_manifest(honest).sigma_calibration
    assert stated is not None
    assert (stated.factor, stated.power) == (found['factor'], found['power'])
    assert read_manifest(model).sigma_calibration is None, 'the model itself is left alone'
    page = (tmp_path / 'report/report.html').read_text(encoding='utf-8')
    assert 'scored here, before' in page
    assert 'Sigma was calibrated on 3 other images' in page


def test_a_second_calibration_takes_the_place_of_the_first(model: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / 'once.onnx', tmp_path / 'twice.onnx'
    write_calibrated(model, once, SigmaCalibration(factor=2.0, power=0.5), RECORD)
    write_calibrated(once, twice, SigmaCalibration(factor=3.0, power=2.0), RECORD)
    # With r = 0.1: three times the square of twice its root.
    image = np.full((HEIGHT, WIDTH, 3), 80, np.uint8)
    answer = Predictor.open(twice, backend='onnxruntime').predict(image)
    np.testing.assert_allclose(answer.sigma_m / answer.depth_m, 12.0 * SIGMA_RATIO, rtol=1e-5)
    nodes = [len(onnx.load(path).graph.node) for path in (model, once, twice)]
    assert nodes == [nodes[0], nodes[0] + 4, nodes[0] + 4]
    stated = read_manifest(twice).sigma_calibration
    assert stated is not None
    assert [stated.factor, stated.power] == pytest.approx([12.0, 1.0])


def test_wrong_calibrations_are_refused_before_any_work(
    model: Path, data: Path, tmp_path: Path
) -> None:
    for name, complaint in (
        (str(tmp_path / 'x.ckpt'), r'has to end in \.onnx'),
        (str(model), 'is the model itself'),
    ):
        with pytest.raises(ConfigError, match=complaint):
            main(given(model, data, tmp_path / 'r', '--calibrate', name))
    limited = ('--limit', '1', '--calibrate', str(tmp_path / 'x.onnx'))
    with pytest.raises(DataError, match='calibration takes half'):
        main(given(model, data, tmp_path / 'r', *limited))
    assert not (tmp_path / 'r').exists()


def test_a_model_that_is_exchanged_meanwhile_is_not_calibrated(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, honest = tmp_path / 'own.onnx', tmp_path / 'honest.onnx'
    shutil.copy(model, own)

    def looked(scorer: Scorer, dataset: DepthDataset) -> Seen:
        seen = look(scorer, dataset)
        shutil.copy(model, own)  # as an export that ends meanwhile
        return seen

    monkeypatch.setattr('depth_core.evaluate.__main__.look', looked)
    with pytest.raises(DataError, match=r'own\.onnx was changed while it was read'):
        main(given(own, data, tmp_path / 'r', '--limit', '4', '--calibrate', str(honest)))
    assert not honest.exists()


def test_images_to_calibrate_on_can_be_given(model: Path, data: Path, tmp_path: Path) -> None:
    more = ('--calibrate', str(tmp_path / 'x.onnx'), '--calibrate_data', str(data))
    main(given(model, data, tmp_path / 'r', *more, '--limit', '2'))
    content = json.loads((tmp_path / 'r/metrics.json').read_text())
    assert content['counts']['images'] == 2
    assert content['calibrated']['data'] == str(data)
