# SPDX-License-Identifier: Apache-2.0
"""Which graph a processor computes in int8, and which graphs a GPU takes as they are."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import onnx
import pytest

from depth_core.errors import BackendError
from depth_core.manifest import METADATA_KEY, GraphSection, read_manifest
from depth_core.runtime import Predictor
from depth_core.runtime.backends.cpu_graphs import cpu_graph
from test.standin import write_sibling, write_standin_onnx


def write_int8(model: Path) -> Path:
    """An int8 graph for processors that says it was made from `model`."""
    return write_sibling(model, 'net.int8_cpu.onnx', precision='int8', precision_target='cpu')


def test_int8_is_the_graph_beside_the_model_as_long_as_it_was_made_from_it(
    tmp_path: Path,
) -> None:
    model = write_standin_onnx(tmp_path / 'net.onnx')
    with pytest.raises(BackendError, match=r'no net\.int8_cpu\.onnx beside .* --target cpu'):
        cpu_graph(model, 'int8')
    int8 = write_int8(model)
    assert cpu_graph(model, 'int8') == int8
    assert cpu_graph(int8, 'int8') == int8
    assert cpu_graph(model, 'fp32') == model
    trained_again = onnx.load(model)
    trained_again.producer_name = 'trained again'
    onnx.save(trained_again, model)
    with pytest.raises(BackendError, match=r'int8_cpu\.onnx was made from another net\.onnx than'):
        cpu_graph(model, 'int8')


def test_a_graph_in_int8_is_none_in_fp32(tmp_path: Path) -> None:
    int8 = write_int8(write_standin_onnx(tmp_path / 'net.onnx'))
    with pytest.raises(BackendError, match='computes in int8, and fp32 was asked for'):
        cpu_graph(int8, 'fp32')


def test_a_graph_in_fp16_is_said_to_be_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_standin_onnx(tmp_path / 'net.onnx')
    proto = onnx.load(path)
    manifest = dataclasses.replace(read_manifest(path), precision='fp16')
    onnx.helper.set_model_props(proto, {METADATA_KEY: manifest.to_json()})
    onnx.save(proto, path)
    with caplog.at_level(logging.INFO, 'depth_core'):
        predictor = Predictor.open(path, backend='onnxruntime', threads=1)
    assert predictor.precision == 'fp16'
    assert f'{path} runs on backend onnxruntime, fp16' in caplog.text


def test_a_precision_that_the_manifest_does_not_allow_is_refused(tmp_path: Path) -> None:
    path = write_standin_onnx(tmp_path / 'net.onnx')
    graph = GraphSection(precision=('fp16', 'int8'))
    manifest = dataclasses.replace(read_manifest(path), graph=graph)
    with pytest.raises(
        BackendError, match=r'graph\.precision of .* allows fp16 or int8, not fp32'
    ):
        Predictor.open(path, manifest=manifest, backend='onnxruntime', threads=1)
    manifest = dataclasses.replace(manifest, graph=GraphSection(precision=('fp32',)))
    Predictor.open(path, manifest=manifest, backend='onnxruntime', threads=1)
