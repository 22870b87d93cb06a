# SPDX-License-Identifier: Apache-2.0
"""Where the answers come from that engines are compared with."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.errors import BackendError, ModelError
from depth_core.manifest import read_manifest
from depth_core.runtime import backends
from depth_core.runtime.backends import BackendRequest, open_named
from depth_core.runtime.engine.answers import (
    Answers,
    answer_all,
    answers_path,
    expected_answers,
    read_answers,
    write_answers,
)
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_standin_onnx(tmp_path / 'standin.onnx')


def answers_of(graph: Path) -> Answers:
    backend = open_named('onnxruntime', BackendRequest(path=graph))
    return answer_all(backend, reference='a test')


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Take runtimes away, as on a Jetson."""
    rows = {
        name: dataclasses.replace(row, implementation='absent:Nothing') if name in names else row
        for name, row in backends.BACKENDS.items()
    }
    monkeypatch.setattr(backends, 'BACKENDS', rows)


def test_the_graph_answers_where_onnx_runtime_is(graph: Path) -> None:
    answers = expected_answers(graph)
    assert answers.reference == 'the graph on onnxruntime'
    assert answers.sigma is not None
    np.testing.assert_allclose(answers.depth, answers_of_formula(answers), rtol=1e-6)
    np.testing.assert_allclose(answers.sigma, 0.1 * answers.depth, rtol=1e-6)
    assert answers.rows is None
    assert answers.sample(answers.depth) is answers.depth


def test_stored_answers_are_some_pixels_of_them_corners_included(graph: Path) -> None:
    full = answers_of(graph)
    path = write_answers(graph, full)
    assert path == graph.with_name('standin.answers.npz')
    assert path.stat().st_size < 100_000
    stored = read_answers(graph)
    assert stored.reference == 'a test, as stored in standin.answers.npz'
    assert stored.depth.shape == (5, 33, 33)
    np.testing.assert_array_equal(stored.images, full.images)
    np.testing.assert_array_equal(stored.depth, stored.sample(full.depth))
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        np.testing.assert_array_equal(stored.depth[:, row, column], full.depth[:, row, column])
    assert full.sigma is not None
    np.testing.assert_array_equal(stored.sigma, stored.sample(full.sigma))


def test_without_onnx_runtime_the_stored_ones_are_taken(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_answers(graph, answers_of(graph))
    without(monkeypatch, 'onnxruntime')
    assert 'as stored in' in expected_answers(graph).reference


def test_without_those_openvino_answers(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, 'onnxruntime')
    answers = expected_answers(graph)
    assert answers.reference == 'the graph on openvino'
    np.testing.assert_allclose(answers.depth, answers_of_formula(answers), rtol=1e-5)


def answers_of_formula(answers: Answers) -> NDArray[np.float64]:
    codes: NDArray[np.float64] = answers.images.mean(axis=-1, dtype=np.float64)
    return 2.0 + 10.0 * codes / 255.0


def test_without_any_the_engine_is_not_served(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, 'onnxruntime', 'openvino')
    with pytest.raises(BackendError, match=r'Install onnxruntime, or copy standin\.answers\.npz'):
        expected_answers(graph)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def no_zip(path: Path) -> None:
    path.write_bytes(b'no zip at all')


def pickled(path: Path) -> None:
    with np.load(path) as arrays:
        kept = dict(arrays)
    np.savez(path, **{**kept, 'depth': np.array([{'a': 1}], dtype=object)})


def not_finite(path: Path) -> None:
    with np.load(path) as arrays:
        kept = dict(arrays)
    kept['depth'][0, 0, 0] = np.nan
    np.savez(path, **kept)


def without_a_plane(path: Path) -> None:
    with np.load(path) as arrays:
        kept = dict(arrays)
    del kept['depth']
    np.savez(path, **kept)


def inflated(path: Path) -> None:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('depth.npy', bytes(9 << 20))


@pytest.mark.parametrize('damage', [cut, no_zip, pickled, not_finite, without_a_plane, inflated])
def test_a_damaged_file_is_refused_in_words(graph: Path, damage: Callable[[Path], None]) -> None:
    damage(write_answers(graph, answers_of(graph)))
    with pytest.raises(ModelError, match='is damaged'):
        read_answers(graph)
    assert expected_answers(graph).reference == 'the graph on onnxruntime'


def test_answers_of_another_graph_are_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='there is no'):
        read_answers(graph)
    other = write_standin_onnx(tmp_path / 'other.onnx', max_depth=10.0)
    write_answers(other, answers_of(other))
    answers_path(other).rename(answers_path(graph))
    with pytest.raises(ModelError, match='belongs to another graph'):
        read_answers(graph)


def test_a_fixed_batch_is_filled(tmp_path: Path) -> None:
    graph = write_standin_onnx(tmp_path / 'four.onnx', batch=4)
    assert read_manifest(graph).input.batch == 4
    answers = answers_of(graph)
    np.testing.assert_allclose(answers.depth, answers_of_formula(answers), rtol=1e-6)
