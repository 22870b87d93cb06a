# SPDX-License-Identifier: Apache-2.0
"""Which graph an engine is built from, by its precision."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.errors import BackendError, ModelError
from depth_core.runtime.backends.base import Precision
from depth_core.runtime.engine.graph_hash import GraphHashes
from depth_core.runtime.engine.graphs import Graph, graph_for
from test.standin import write_sibling, write_standin_onnx


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_standin_onnx(tmp_path / 'net.onnx')


def choose(path: Path, precision: Precision) -> Graph:
    return graph_for(path, precision, GraphHashes())


def test_fp32_is_the_model_itself(model: Path) -> None:
    graph = choose(model, 'fp32')
    assert (graph.path, graph.reference) == (model, model)


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_another_precision_stands_beside_it(model: Path, precision: Precision) -> None:
    with pytest.raises(BackendError, match=rf'no net\.{precision}\.onnx.*--precision {precision}'):
        choose(model, precision)
    sibling = write_sibling(model, f'net.{precision}.onnx', precision=precision)
    graph = choose(model, precision)
    assert (graph.path, graph.reference) == (sibling, model)
    assert graph.manifest.precision == precision


def test_a_graph_of_that_precision_is_taken_itself_and_held_to_its_model(model: Path) -> None:
    sibling = write_sibling(model, 'net.fp16.onnx')
    graph = choose(sibling, 'fp16')
    assert (graph.path, graph.reference) == (sibling, model)
    model.unlink()
    assert choose(sibling, 'fp16').reference == sibling


def test_a_graph_made_from_another_model_is_refused(model: Path) -> None:
    write_sibling(model, 'net.fp16.onnx')
    write_standin_onnx(model, max_depth=10.0)
    with pytest.raises(BackendError, match=r'made from another net\.onnx than the one beside it'):
        choose(model, 'fp16')


def test_a_graph_that_says_another_precision_is_refused(model: Path) -> None:
    sibling = write_sibling(model, 'net.fp16.onnx', precision='int8')
    with pytest.raises(BackendError, match='computes in int8, not fp16'):
        choose(model, 'fp16')
    with pytest.raises(BackendError, match='ask for int8, or give the graph in fp32'):
        choose(sibling, 'fp32')


def test_a_graph_quantised_for_processors_is_refused(model: Path) -> None:
    write_sibling(model, 'net.int8.onnx', precision='int8', precision_target='cpu')
    with pytest.raises(BackendError, match='quantised for processors'):
        choose(model, 'int8')


def test_a_damaged_sibling_is_said_to_be(model: Path) -> None:
    model.with_name('net.fp16.onnx').write_bytes(model.read_bytes()[:100])
    with pytest.raises(ModelError, match='not a whole ONNX file'):
        choose(model, 'fp16')
