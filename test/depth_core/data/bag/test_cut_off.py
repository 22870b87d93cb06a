# SPDX-License-Identifier: Apache-2.0
"""Recordings that were cut off at any byte: what is complete before the cut is read, and said."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.storage_mcap import McapReader

from depth_core.data.__main__ import main as check
from depth_core.data.bag import BagDataset
from depth_core.data.bag.mcap_index import find_index
from depth_core.data.bag.opener import open_bag, select_connections
from depth_core.data.mix import MixPart
from depth_core.errors import DataError
from test.depth_core.data.bag.mcap_files import Layout, Message, write
from test.depth_core.data.bag.recording import IMAGE, Recording, record, storage_of, topics

LAYOUTS = {
    'zstd': Layout('zstd'),
    'lz4': Layout('lz4', per_chunk=3),
    'plain': Layout(''),
    'no chunks': Layout(None),
    'no index in the data': Layout('zstd', has_index=False),
}
KIND = 'std_msgs/msg/String'
MESSAGES = [
    Message(
        '/late' if number > 5 else '/a', KIND, 10**9 + number * 10**8, bytes([0, 1, number]) * 9
    )
    for number in range(11)
]
"""The second topic appears in a later chunk."""


def held(path: Path) -> list[Message]:
    """What is read of a file; nothing where it is refused for that."""
    try:
        with open_bag(path) as bag:
            found = [
                Message(item.connection.topic, item.connection.msgtype, item.stamp_ns, item.data)
                for item in bag.messages(select_connections(bag, ()))
            ]
            assert sum(item.msgcount for item in bag.connections) == len(found)
            stamps = [item.stamp_ns for item in found]
            assert (bag.start_ns, bag.duration_ns) == (stamps[0], stamps[-1] - stamps[0] + 1)
            if bag.lost is not None:
                size = path.stat().st_size
                assert f'Of its {size} bytes the first ' in bag.lost
                assert (
                    f'{len(found)} messages of {(stamps[-1] - stamps[0]) * 1e-9:.3f} s' in bag.lost
                )
                assert f'mcap recover {path} -o' in bag.lost
    except DataError as error:
        refusal = str(error)
    else:
        return found
    size = path.stat().st_size
    assert f'is cut off: of its {size} bytes' in refusal or (size == 0 and 'is empty' in refusal)
    return []


def cuts(size: int, ends: list[tuple[int, int]]) -> list[int]:
    """Offsets all over a file, and those around the end of every chunk and of the data."""
    around = [end + near for end, _ in ends for near in (-1, 0, 1, 9, 30)]
    return sorted({*range(0, size, max(1, size // 40)), *around, *range(12), size - 1} - {size})


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_what_is_complete_before_a_cut_is_read(layout: Layout, tmp_path: Path) -> None:
    ends = write(tmp_path / 'whole.mcap', MESSAGES, layout)
    data = (tmp_path / 'whole.mcap').read_bytes()
    path = tmp_path / 'cut.mcap'
    for cut in cuts(len(data), ends):
        path.write_bytes(data[:cut])
        assert held(path) == MESSAGES[: complete(cut, ends)], cut
        if cut < ends[0][0]:
            continue
        # Blocks of a file that were not written before the power went are zeros.
        path.write_bytes(data[:cut] + bytes(len(data) - cut))
        same = len(data) - len(data[cut:].lstrip(bytes(1)))
        found = held(path)
        assert found == MESSAGES[: len(found)]
        doubtful = {0, 1} if layout.compression is None else {0}  # a message without a checksum
        assert complete(same, ends) - len(found) in doubtful, cut


def complete(cut: int, ends: list[tuple[int, int]]) -> int:
    """How many messages are whole in so many bytes."""
    return max((count for end, count in ends if end <= cut), default=0)


class InMemory:
    """A path to bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)


@pytest.mark.parametrize('name', [*LAYOUTS, 'of rosbags'])
def test_the_index_that_is_found_is_that_of_the_recorder(name: str, tmp_path: Path) -> None:
    path = tmp_path / 'whole.mcap'
    if name in LAYOUTS:
        write(path, MESSAGES, LAYOUTS[name])
    else:
        path = storage_of(record().write(tmp_path / 'b'))
    data = path.read_bytes()
    found = find_index(io.BytesIO(data), len(data))
    assert found.has_all
    readers = []
    for content in (data, data[: found.complete] + found.ending):
        path_to: Any = InMemory(content)
        reader = McapReader(path_to)
        reader.open()
        readers.append(reader)
    theirs, ours = readers
    assert ours.schemas == theirs.schemas
    assert ours.channels == theirs.channels
    assert ours.statistics == theirs.statistics
    assert ours.metadata == theirs.metadata
    if name != 'no index in the data':  # of which their reader gives no message
        assert ours.chunks == theirs.chunks


def test_a_chunk_that_is_no_chunk_ends_what_is_read(tmp_path: Path) -> None:
    """A file both cut and damaged: nothing after the damage is known to be a message."""
    path = tmp_path / 'cut.mcap'
    ends = write(path, MESSAGES, LAYOUTS['zstd'])
    data = bytearray(path.read_bytes()[: ends[-1][0]])
    data[ends[3][0] + 200] ^= 0xFF  # the fourth chunk, where the second topic begins
    path.write_bytes(data)
    assert held(path) == MESSAGES[: ends[3][1]]


def split(folder: Path, cut: int) -> Path:
    """A bag of two files, the second cut off."""
    path = record().write(folder / 'b')
    first = storage_of(path)
    part = Path(shutil.copy(first, path / 'b_1.mcap'))
    part.write_bytes(part.read_bytes()[:cut])
    metadata = path / 'metadata.yaml'
    listed = f'  - {first.name}\n'
    metadata.write_text(metadata.read_text().replace(listed, f'{listed}  - {part.name}\n'))
    return path


@pytest.mark.parametrize(('cut', 'images'), [(0, 3), (5, 3), (700, 3), (-20, 6)])
def test_the_files_before_a_cut_one_are_read(cut: int, images: int, tmp_path: Path) -> None:
    path = split(tmp_path, cut)
    with open_bag(path) as bag:
        assert f'the part b_1.mcap of bag {path} is cut off' in str(bag.lost)
        assert 'metadata.yaml states 9 messages' in str(bag.lost)
        assert {item.topic: item.msgcount for item in bag.connections}[IMAGE] == images
    assert topics(path)[IMAGE] == images


def test_a_recorder_that_died_leaves_no_metadata(tmp_path: Path) -> None:
    path = record().write(tmp_path / 'b')
    (path / 'metadata.yaml').unlink()
    storage_of(path).write_bytes(storage_of(path).read_bytes()[:-8])
    dataset = BagDataset(path)
    assert len(dataset) == 3
    assert 'only its index is missing: all its 9 messages' in str(dataset.lost)


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_recorder_of_several_files_that_died(
    plugin: StoragePlugin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / 'b'
    path.mkdir()
    for number in (0, 1, 10, *range(2, 10)):
        later = Recording()
        for topic, recorded_ns, message in record().messages:
            later.add(topic, recorded_ns + number * 10**9, message)
        file = storage_of(later.write(tmp_path / f'{number}', plugin))
        file.rename(path / f'drive_{number}{file.suffix}')
    last = path / f'drive_10{file.suffix}'
    if plugin is StoragePlugin.MCAP:
        last.write_bytes(last.read_bytes()[:700])
    with open_bag(path) as bag:
        images = [item.stamp_ns for item in bag.messages(select_connections(bag, [IMAGE]))]
        assert images == sorted(images)
        counts = {item.topic: item.msgcount for item in bag.connections}
        assert counts[IMAGE] == len(images)
        assert (bag.lost is None) is (plugin is StoragePlugin.SQLITE3)
        if bag.lost is not None:
            assert f'the part {last.name} of bag' in bag.lost
            assert 'how many were recorded after them is not known' in bag.lost
    assert len(images) == 3 * (10 if plugin is StoragePlugin.MCAP else 11)
    assert 'its 11 files are read as one recording' in caplog.text
    last.rename(path / f'drive_12{last.suffix}')
    with pytest.raises(DataError, match=r'has no metadata\.yaml to say what belongs together'):
        topics(path)


def test_commands_say_what_was_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'cut.mcap'
    path.write_bytes(storage_of(record().write(tmp_path / 'b')).read_bytes()[:-8])
    with pytest.raises(DataError, match=f'only a part of {path} is there: .* is cut off'):
        check(['check', str(path), '--sheet', str(tmp_path / 'sheet.png')])
    assert f'remark         the bag {path} is cut off' in capsys.readouterr().out
    assert (tmp_path / 'sheet.png').is_file()
    caplog.clear()
    assert len(MixPart(name='bag', root=path).open()) == 3
    assert f'the bag {path} is cut off' in caplog.text
