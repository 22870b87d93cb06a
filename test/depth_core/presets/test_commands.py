# SPDX-License-Identifier: Apache-2.0
"""A graph from elsewhere with the name of its preset, in every command that takes a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from depth_core.bench.command import _parser as bench_parser
from depth_core.bench.command import main as bench
from depth_core.bench.rows import choose_rows
from depth_core.bench.subject import open_subject
from depth_core.errors import BackendError, ConfigError, ModelError
from depth_core.evaluate.__main__ import main as evaluate
from depth_core.export.__main__ import main as export
from depth_core.predict import main as predict
from depth_core.runtime import Predictor
from depth_core.runtime.engine.__main__ import main as engines
from test.foreign import NEAREST, SPAN, STANDINS


@pytest.fixture(scope='module')
def fastdepth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of metres, without a camera, and the smallest."""
    return STANDINS['fastdepth'].write(tmp_path_factory.mktemp('graph') / 'fastdepth.onnx')


def test_predict_takes_the_name_of_a_preset(fastdepth: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'grey.png'), np.full((60, 80, 3), 102, np.uint8))
    predict([
        str(tmp_path / 'grey.png'), '--model', str(fastdepth), '--manifest', 'fastdepth',
        '--backend', 'onnxruntime', '--output', str(tmp_path / 'out'),
    ])  # fmt: skip
    found = np.load(tmp_path / 'out' / 'grey_depth.npy')
    np.testing.assert_allclose(found, NEAREST + SPAN * 102 / 255, rtol=1e-5)


def test_predict_prints_the_correction_of_a_known_distance(
    fastdepth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / 'grey.png'), np.full((60, 80, 3), 102, np.uint8))
    predict([
        str(tmp_path / 'grey.png'), '--model', str(fastdepth), '--manifest', 'fastdepth',
        '--backend', 'onnxruntime', '--output', str(tmp_path / 'out'),
        '--known_distance', '40,30,2.8',
    ])  # fmt: skip
    assert 'scale_correction 0.5 in the section depth' in capsys.readouterr().out, '2.8 for 5.6'


def test_evaluate_takes_the_name_of_a_preset(fastdepth: Path, tmp_path: Path) -> None:
    evaluate([
        '--onnx', str(fastdepth), '--manifest', 'fastdepth', '--data', 'synthetic',
        '--protocol', 'none', '--backend', 'onnxruntime', '--limit', '1', '--pictures', '0',
        '--output', str(tmp_path / 'report'),
    ])  # fmt: skip
    assert (tmp_path / 'report').is_dir()


@pytest.mark.parametrize('loop', ['predictor', 'raw'])
def test_bench_takes_the_name_of_a_preset(
    tmp_path: Path, loop: Literal['predictor', 'raw']
) -> None:
    """Of one with an input beside the image, which the bare loop has to fill too."""
    path = STANDINS['fsnet'].write(tmp_path / 'graph.onnx')
    options = bench_parser().parse_command([
        '--model', str(path), '--manifest', 'fsnet', '--backends', 'onnxruntime',
        '--hfov_deg', '70',
    ])  # fmt: skip
    (row,) = choose_rows(path, options).requests
    subject = open_subject(replace(row, loop=loop))
    subject.answer()
    assert subject.backend == 'onnxruntime'


COMMANDS: dict[str, Callable[[str, str], object]] = {
    'predict': lambda model, name: predict(
        [f'{Path(model).parent}', '--model', model, '--manifest', name]
    ),
    'evaluate': lambda model, name: evaluate(
        [
            '--onnx',
            model,
            '--manifest',
            name,
            '--data',
            'synthetic',
            '--protocol',
            'none',
            '--output',
            f'{model}.report',
        ]
    ),
    'bench': lambda model, name: bench(['--model', model, '--manifest', name]),
    'export': lambda model, name: export(['--onnx', model, '--engine', '--manifest', name]),
    'engine': lambda model, name: engines(['build', model, '--manifest', name]),
    'Predictor.open': lambda model, name: Predictor.open(model, manifest=name),
}


@pytest.mark.parametrize('command', COMMANDS)
def test_an_unknown_preset_is_answered_with_the_nearest(fastdepth: Path, command: str) -> None:
    cv2.imwrite(str(fastdepth.parent / 'black.png'), np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="unknown preset 'fast_depth'; did you mean 'fastdepth'"):
        COMMANDS[command](str(fastdepth), 'fast_depth')


def test_a_manifest_of_an_export_that_builds_nothing_has_no_effect(fastdepth: Path) -> None:
    with pytest.raises(ConfigError, match='--manifest is for building an engine'):
        export(['--onnx', str(fastdepth), '--precision', 'fp16', '--manifest', 'fastdepth'])


@pytest.mark.parametrize(
    ('graph', 'preset', 'said'),
    [
        ('fastdepth', 'midas_small', "'0' float32"),
        ('depth_anything_3_base', 'depth_anything_3_metric', "'sky'"),
        ('depth_anything_3_metric', 'depth_anything_3_mono', 'rank_hint is 3'),
        ('unidepth_v2_camera', 'unidepth_v2', "'rays'"),
        ('unidepth_v2', 'unidepth_v2_camera', "'rays'"),
        ('moge_2', 'depth_anything_3_metric', "'num_tokens'"),
    ],
)
def test_a_graph_that_differs_from_the_preset_is_refused_with_what_differs(
    tmp_path: Path, graph: str, preset: str, said: str
) -> None:
    path = STANDINS[graph].write(tmp_path / 'graph.onnx')
    with pytest.raises((ModelError, BackendError)) as refused:
        Predictor.open(path, manifest=preset, backend='onnxruntime')
    assert said in str(refused.value)


def test_a_preset_with_a_rule_for_the_size_refuses_a_graph_of_one_size(tmp_path: Path) -> None:
    path = STANDINS['dpt_large'].write(tmp_path / 'graph.onnx')
    with pytest.raises(ModelError, match='takes images of one size alone'):
        Predictor.open(path, manifest='depth_anything_v2_small', backend='onnxruntime')
