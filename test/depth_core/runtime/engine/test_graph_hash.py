# SPDX-License-Identifier: Apache-2.0
"""Hashes of graphs, remembered only while that is safe."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from depth_core.errors import ModelError
from depth_core.files import sha256_of
from depth_core.runtime.engine import graph_hash
from depth_core.runtime.engine.graph_hash import GraphHashes
from test.standin import write_standin_onnx


def test_a_graph_of_one_file_has_the_hash_of_the_file(tmp_path: Path) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    assert GraphHashes().of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    changed = path.read_bytes().replace(b'metres_per_code', b'metres_per_kode')
    path.write_bytes(changed)
    assert GraphHashes().of(path) == hashlib.sha256(changed).hexdigest()


def write_external(folder: Path, location: str = 'weights.bin') -> Path:
    """A graph that keeps its only weight in another file."""
    weight = TensorProto(name='w', data_type=TensorProto.FLOAT, dims=[2])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key='location', value=location)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node('Add', ['x', 'w'], ['y'])],
        'external',
        [value('x', TensorProto.FLOAT, [2])],
        [value('y', TensorProto.FLOAT, [2])],
        [weight],
    )
    path = folder / 'external.onnx'
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_weights_in_another_file_count(tmp_path: Path) -> None:
    path = write_external(tmp_path)
    (tmp_path / 'weights.bin').write_bytes(bytes(8))
    before = GraphHashes().of(path)
    assert before != hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / 'weights.bin').write_bytes(bytes(7) + b'\x01')
    assert GraphHashes().of(path) != before


@pytest.mark.parametrize('location', ['../outside.bin', '/etc/hostname', 'absent.bin'])
def test_weights_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / 'model'
    folder.mkdir()
    (tmp_path / 'outside.bin').write_bytes(bytes(8))
    with pytest.raises(ModelError, match='no file in the folder of the graph'):
        GraphHashes().of(write_external(folder, location))


class Reads:
    """Counts how often a file is hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0

        def counted(path: Path) -> str:
            self.count += 1
            return sha256_of(path)

        monkeypatch.setattr(graph_hash, 'sha256_of', counted)
        monkeypatch.setattr(graph_hash, '_WORTH_REMEMBERING', 1)


def age(path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int = 10) -> None:
    """Let time pass after the file was written."""
    written = path.stat().st_ctime_ns
    monkeypatch.setattr('time.time_ns', lambda: written + seconds * 1_000_000_000)


def test_a_large_graph_that_is_as_it_was_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    reads = Reads(monkeypatch)
    age(path, monkeypatch)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    for _ in range(3):
        assert GraphHashes(tmp_path).of(path) == expected
    assert reads.count == 1
    assert (tmp_path / 'hashes.json').stat().st_mode & 0o777 == 0o600


def test_a_graph_that_was_just_written_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    reads = Reads(monkeypatch)
    age(path, monkeypatch, seconds=1)
    for _ in range(2):
        GraphHashes(tmp_path).of(path)
    assert reads.count == 2
    assert not (tmp_path / 'hashes.json').exists()


def test_another_content_of_the_same_size_and_time_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    reads = Reads(monkeypatch)
    age(path, monkeypatch)
    before, status = GraphHashes(tmp_path).of(path), path.stat()
    path.write_bytes(path.read_bytes().replace(b'metres_per_code', b'metres_per_kode'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert GraphHashes(tmp_path).of(path) != before
    assert reads.count == 2


@pytest.mark.parametrize('content', ['', '[]', '{"a": 1}', '{"a": [1, 2]}', '\udcff'])
def test_remembered_hashes_that_are_damaged_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    Reads(monkeypatch)
    age(path, monkeypatch)
    remembered = tmp_path / 'hashes.json'
    remembered.write_bytes(content.encode('utf-8', 'surrogateescape'))
    remembered.chmod(0o600)
    assert GraphHashes(tmp_path).of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_hashes_that_others_may_write_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    reads = Reads(monkeypatch)
    age(path, monkeypatch)
    GraphHashes(tmp_path).of(path)
    (tmp_path / 'hashes.json').chmod(0o666)
    GraphHashes(tmp_path).of(path)
    assert reads.count == 2


def test_no_graph_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='does not exist'):
        GraphHashes().of(tmp_path / 'absent.onnx')
