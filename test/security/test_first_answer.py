# SPDX-License-Identifier: Apache-2.0
"""A graph with a loop that does not end is stopped, or refused where it cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from depth_core.errors import BackendError
from depth_core.runtime import Predictor
from depth_core.runtime.backends import onnxruntime_binding
from test.security.graphs import write_loop

_IMAGE = np.full((32, 32, 3), 51, np.uint8)


def test_a_loop_that_ends_is_computed(tmp_path: Path) -> None:
    write_loop(tmp_path / 'model.onnx', trips=3)
    predictor = Predictor.open(tmp_path / 'model.onnx', backend='onnxruntime')
    # The grey of the image, and three times that on top.
    depth_m = predictor.predict(_IMAGE).depth_m
    np.testing.assert_allclose(depth_m, 4 * 51 / 255, rtol=1e-5)


def test_a_loop_that_does_not_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_binding, 'FIRST_ANSWER_S', 0.2)
    write_loop(tmp_path / 'model.onnx')
    with pytest.raises(BackendError, match=r'no answer within 0\.2 s and was stopped'):
        Predictor.open(tmp_path / 'model.onnx', backend='onnxruntime').predict(_IMAGE)


def test_openvino_refuses_what_it_could_not_stop(tmp_path: Path) -> None:
    write_loop(tmp_path / 'model.onnx', trips=1)
    with pytest.raises(BackendError, match='holds a Loop'):
        Predictor.open(tmp_path / 'model.onnx', backend='openvino', strict=True)


def test_openvino_takes_a_node_that_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    write_loop(path, trips=1)
    graph = onnx.load(path)
    mean, loop = graph.graph.node
    mean.name, mean.output[0] = 'Loop', 'depth'
    graph.graph.node.remove(loop)
    onnx.save(graph, path)
    predictor = Predictor.open(path, backend='openvino', strict=True)
    np.testing.assert_allclose(predictor.predict(_IMAGE).depth_m, 51 / 255, rtol=1e-5)
