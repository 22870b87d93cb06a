# SPDX-License-Identifier: Apache-2.0
"""Nothing reports to anybody: no internet socket is opened, the home folder stays empty."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.version import Version

from test.guarded import Guarded, guarded
from test.standin import write_standin_onnx

OPEN_AND_PREDICT = """
import sys
import numpy as np
from depth_core.runtime import Predictor
predictor = Predictor.open(sys.argv[2], backend=sys.argv[3], strict=True)
assert np.isfinite(predictor.predict(np.zeros((64, 96, 3), np.uint8)).depth_m).all()
"""


@pytest.fixture(scope='module')
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


def run_silently(process: Guarded, folder: Path) -> None:
    found = process.run(folder)
    assert found.returncode == 0, found.stderr or found.returncode
    assert process.contacts == []


def test_the_guard_sees_what_openvino_does_by_itself(tmp_path: Path) -> None:
    pytest.importorskip('openvino')
    process = guarded(tmp_path, '-c', 'import openvino')
    process.run(tmp_path)
    assert any('google-analytics.com' in contact for contact in process.contacts)
    assert process.written_to_home


def test_the_guard_sees_what_onnxruntime_does_by_itself(tmp_path: Path, standin: Path) -> None:
    if Version(metadata.version('onnxruntime')) < Version('1.29'):
        pytest.skip('this onnxruntime sends nothing on Linux')
    code = 'import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[2])'
    process = guarded(tmp_path, '-c', code, str(standin))
    process.run(tmp_path)  # it would send ten seconds later, under the name it writes at once
    assert any(path.endswith('deviceid') for path in process.written_to_home)


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_a_predictor_is_silent(standin: Path, backend: str, tmp_path: Path) -> None:
    process = guarded(tmp_path, '-c', OPEN_AND_PREDICT, str(standin), backend)
    run_silently(process, tmp_path)
    assert process.written_to_home == []


def test_predict_is_silent(standin: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((64, 96, 3), np.uint8))
    process = guarded(tmp_path, 'depth_core.predict', '--model', str(standin), 'image.png')
    run_silently(process, tmp_path)
    assert (tmp_path / 'predictions' / 'image_depth.png').is_file()
    assert process.written_to_home == []


def test_evaluate_is_silent(standin: Path, tmp_path: Path) -> None:
    process = guarded(
        tmp_path,
        *('depth_core.evaluate', '--onnx', str(standin), '--data', 'synthetic', '--limit', '1'),
        *('--height', '64', '--width', '96', '--protocol', 'none', '--output', 'report'),
    )
    run_silently(process, tmp_path)
    assert (tmp_path / 'report').is_dir()
    # matplotlib keeps its list of fonts there.
    assert [name for name in process.written_to_home if 'matplotlib' not in name] == [
        parent for parent in ('.cache', '.config') if (process.home / parent).exists()
    ]


TRAIN_EXPORT_AND_BENCH = """
import sys
from depth_core.bench.command import main as bench
from depth_core.export.__main__ import main as export
from depth_core.train.__main__ import main as train
run = train([
    '--config', sys.argv[2], '--model.name', 'densedepth_small',
    '--model.options.encoder_weights', 'none', '--data.height', '64', '--data.width', '64',
    '--data.workers', '1', '--trainer.batch_size', '2', '--trainer.max_steps', '1',
    '--trainer.accelerator', 'cpu', '--trainer.run_dir', 'run',
    '--data.train.options', '{"seed": 1, "length": 2}',
    '--data.validation.options', '{"seed": 2, "length": 1}',
])
size = ['--height', '64', '--width', '64']
export(['--checkpoint', str(run.last), '--output', 'model.onnx', *size])
bench(['--model', 'model.onnx', '--backends', 'onnxruntime', '--threads', '1', '--starts', '0',
       '--frames', '2', '--rounds', '1', '--output', 'bench.json'])
"""


def test_train_export_and_bench_are_silent(tmp_path: Path, repository: Path) -> None:
    config = repository / 'config/train/densedepth_synthetic.yaml'
    process = guarded(tmp_path, '-c', TRAIN_EXPORT_AND_BENCH, str(config))
    run_silently(process, tmp_path)
    assert (tmp_path / 'bench.json').is_file()
