# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from depth_core.bench import BenchRequest, BenchResult, main, measure, table
from depth_core.errors import BackendError, ModelError
from test.standin import write_standin_onnx


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
    assert result.frames == 20
    assert 0.0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p99_ms
    assert 0.0 < result.frames_per_s <= 1e3 / result.min_ms
    stages = (result.preprocess_ms, result.inference_ms, result.postprocess_ms)
    assert min(stages) > 0.0
    assert max(stages) < result.p99_ms
    assert 10.0 < result.peak_memory_mb < 10_000.0


def test_the_table_is_aligned() -> None:
    result = BenchResult(
        backend='openvino',
        precision='fp32',
        frames=5,
        open_s=1.0,
        p50_ms=9.5,
        p90_ms=10.5,
        p99_ms=123.456,
        min_ms=9.0,
        preprocess_ms=1.0,
        inference_ms=8.0,
        postprocess_ms=0.5,
        frames_per_s=104.25,
        peak_memory_mb=163.7,
    )
    head, row = table([result]).splitlines()
    assert ' '.join(head.split()) == 'backend p50 p90 p99 min pre infer post fps MB'
    assert ' '.join(row.split()) == 'openvino 9.50 10.50 123.46 9.00 1.00 8.00 0.50 104.2 164'
    assert len(head) == len(row)


@pytest.mark.slow
def test_the_command_measures_each_backend_and_writes_json(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'bench.json'
    main(['--model', str(model), '--frames', '5', '--threads', '1', '--output', str(output)])
    said = capsys.readouterr().out
    assert '96x64 inside; image 640x480' in said
    content = json.loads(output.read_text(encoding='utf-8'))
    assert [result['backend'] for result in content['results']] == ['openvino', 'onnxruntime']
    assert all(result['frames_per_s'] > 0.0 for result in content['results'])
    assert (content['image_height'], content['image_width']) == (480, 640)


def test_a_shipped_model_is_measured_by_name(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BackendError, match=r'runs \.ckpt files, not \.onnx'):
        main(['--model', 'densedepth_small', '--backends', 'torch', '--frames', '1'])
    path = repository / 'trt_engines/densedepth_small.onnx'
    assert f'{path}, 256x192 inside' in capsys.readouterr().out


def test_a_backend_that_does_not_run_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r'1 of 1 backends did not run:\n.*runs \.ckpt files'):
        main(['--model', str(model), '--backends', 'torch', '--frames', '2'])
    with pytest.raises(BackendError, match="did you mean 'openvino'"):
        main(['--model', str(model), '--backends', 'openvin'])
    with pytest.raises(ModelError, match='does not exist'):
        main(['--model', str(tmp_path / 'a.onnx')])
