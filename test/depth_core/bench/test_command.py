# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_core.bench import BenchRequest, main, measure
from depth_core.errors import BackendError, ConfigError, DepthError, ModelError
from depth_core.models import create_model
from depth_core.weights.checkpoint import save_model
from test.standin import write_standin_onnx

QUICK = ['--threads', '1', '--image_height', '48', '--image_width', '64']


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


def test_the_numbers_fit_together(model: Path) -> None:
    result = measure(
        BenchRequest(
            model=model,
            backend='onnxruntime',
            precision='fp32',
            threads=1,
            image_height=48,
            image_width=64,
            frames=20,
        )
    )
    assert result.frames == len(result.latencies_ms) == 20
    assert 0.0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p99_ms
    assert 0.0 < result.frames_per_s <= 1e3 / result.min_ms
    stages = (result.preprocess_ms, result.inference_ms, result.postprocess_ms)
    assert all(stage is not None and 0.0 < stage < result.p99_ms for stage in stages)
    assert 10.0 < result.peak_memory_mb < 10_000.0
    assert result.cpu_ms is not None
    assert 0.0 < result.cpu_ms < 1e3


@pytest.mark.parametrize('option', ['--output', '--plot'])
def test_what_cannot_be_written_is_said_before_anything_is_measured(
    model: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DepthError, match='it is a folder'):
        main(['--model', str(model), *QUICK, option, str(tmp_path)])
    assert not capsys.readouterr().out


def test_a_backend_is_compared_with_the_bare_loop_of_its_runtime(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, plot = tmp_path / 'bench.json', tmp_path / 'bench.png'
    asked = ['--model', str(model), '--backends', 'onnxruntime', '--frames', '7', '--rounds', '3']
    main([*asked, *QUICK, '--reference', 'raw', '--output', str(output), '--plot', str(plot)])
    said = capsys.readouterr().out
    assert '96x64 inside; image 64x48, 7 frames, fp32, 1 of ' in said
    content = json.loads(output.read_text(encoding='utf-8'))
    predictor, raw = content['results']
    assert (predictor['label'], raw['label']) == ('onnxruntime/1t', 'raw onnxruntime/1t')
    assert len(predictor['latencies_ms']) == len(raw['latencies_ms']) == 7
    assert len(predictor['round_p50_ms']) == 3
    assert raw['preprocess_ms'] is raw['postprocess_ms'] is raw['ratio'] is None
    ratio = predictor['ratio']
    assert ratio['reference'] == 'raw onnxruntime/1t'
    assert ratio['low'] <= ratio['value'] <= ratio['high']
    assert ratio['null_low'] <= 1.0 <= ratio['null_high']
    # A new process imports the runtime, which the clock of the opened model does not see.
    assert 0.0 < predictor['open_s'] < predictor['start_cached_s']
    assert predictor['start_cold_s'] > 0.0
    assert content['machine']['processor']
    assert 'onnxruntime' in content['machine']['libraries']
    assert 'standin.onnx' in content['model']
    picture = cv2.imread(str(plot))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_each_backend_that_runs_here_is_measured(model: Path, tmp_path: Path) -> None:
    output = tmp_path / 'bench.json'
    asked = ['--model', str(model), '--frames', '5', '--starts', '0', '--batch', '1']
    main([*asked, *QUICK, '--output', str(output)])
    content = json.loads(output.read_text(encoding='utf-8'))
    assert {'openvino/1t', 'onnxruntime/1t'} <= {row['label'] for row in content['results']}
    assert all(row['frames_per_s'] > 0.0 for row in content['results'])
    assert (content['image_height'], content['image_width']) == (48, 64)
    assert all(math.isfinite(row['p99_ms']) for row in content['results'])


def test_other_weights_are_no_reference(model: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint = tmp_path / 'other.ckpt'
    save_model(checkpoint, create_model('densedepth_small'))
    asked = ['--model', str(model), '--backends', 'onnxruntime', '--frames', '1', '--starts', '0']
    with pytest.raises(ConfigError, match='not the same weights; give the checkpoint'):
        main([*asked, *QUICK, '--reference', 'torch', '--checkpoint', str(checkpoint)])


def test_a_shipped_model_is_measured_by_name(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ['--model', 'densedepth_small', '--backends', 'torch', '--frames', '1']
    with pytest.raises(BackendError, match=r'runs \.ckpt files, not \.onnx'):
        main([*asked, '--starts', '0', '--hfov_deg', '60'])
    path = repository / 'trt_engines/densedepth_small.onnx'
    assert f'{path}, 256x192 inside' in capsys.readouterr().out


def test_a_backend_that_does_not_run_is_named(model: Path) -> None:
    asked = ['--model', str(model), '--backends', 'torch', '--frames', '2', '--starts', '0']
    with pytest.raises(BackendError, match=r'1 of 1 backends did not run:\n.*runs \.ckpt files'):
        main(asked)


@pytest.mark.parametrize(
    ('options', 'error', 'said'),
    [
        (['--backends', 'openvin'], BackendError, "did you mean 'openvino'"),
        (['--precision', 'fp23'], ConfigError, "did you mean 'fp32'"),
        (['--threads', '1,0'], ConfigError, "'0' is not a whole number of at least 1"),
        (['--reference', 'torch'], ConfigError, 'give the checkpoint it was exported from'),
        (
            ['--backends', 'openvino,onnxruntime', '--reference', 'openvin'],
            ConfigError,
            r"unknown reference 'openvin'; did you mean 'openvino'\? Known: onnxruntime, openv",
        ),
        (['--rounds', '0'], ConfigError, "'0' is not a whole number of at least 1"),
        (
            ['--backends', 'onnxruntime', '--batch', '4', '--starts', '0', '--frames', '1'],
            ConfigError,
            r'takes 1 image at once, and a batch of 4 is asked for; export it with --batch 4',
        ),
    ],
)
def test_wrong_options_are_refused_with_the_remedy(
    model: Path, options: list[str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        main(['--model', str(model), *options])


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='does not exist'):
        main(['--model', str(tmp_path / 'a.onnx')])
