# SPDX-License-Identifier: Apache-2.0
"""What the opener says of a bag that it cannot read: what is wrong, and what helps."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from depth_core.errors import DataError
from test.depth_core.data.bag.recording import (
    Recording,
    compressed,
    record,
    ros1_bag,
    storage_of,
    topics,
)


def missing(folder: Path) -> Path:
    return folder / 'nothing'


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / 'bag.mcap')
    return folder / 'bag.mcap'


def empty(folder: Path) -> Path:
    return Recording().write(folder / 'bag')


def no_bag(folder: Path) -> Path:
    return folder


def two_files(folder: Path) -> Path:
    path = record().write(folder / 'bag')
    (path / 'metadata.yaml').unlink()
    shutil.copy(path / 'bag.mcap', path / 'other.mcap')
    return path


def other_file(folder: Path) -> Path:
    path = folder / 'drive.mp4'
    path.write_bytes(b'\0' * 100)
    return path


def unfinished_ros1(folder: Path) -> Path:
    path = folder / 'drive.bag.active'
    path.write_bytes(b'#ROSBAG V2.0\n')
    return path


def unfinished_ros1_in_a_folder(folder: Path) -> Path:
    return unfinished_ros1(folder).parent


def two_ros1(folder: Path) -> Path:
    for name in ('a.bag', 'b.bag'):
        ros1_bag(folder / name, '', '*')
    return folder


def cut_ros1(folder: Path) -> Path:
    return cut(ros1_bag(folder / 'a.bag', '', '*'))


def capitals(folder: Path) -> Path:
    return storage_of(record().write(folder / 'bag')).rename(folder / 'A.MCAP')


def compressed_file(folder: Path) -> Path:
    return compressed(folder) / 'bag.mcap.zstd'


def compressed_without_metadata(folder: Path) -> Path:
    path = compressed(folder)
    (path / 'metadata.yaml').unlink()
    return path


def compressed_messages(folder: Path) -> Path:
    return storage_of(compressed(folder, CompressionMode.MESSAGE))


def unknown_storage(folder: Path) -> Path:
    path = record().write(folder / 'bag')
    metadata = path / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace('identifier: mcap', 'identifier: lance'))
    return path


def lost_file(folder: Path) -> Path:
    path = record().write(folder / 'bag')
    (path / 'bag.mcap').unlink()
    return path


def power_cut(folder: Path) -> Path:
    path = record().write(folder / 'bag')
    (path / 'metadata.yaml').unlink()
    cut(path / 'bag.mcap')
    return path


def truncated_sqlite(folder: Path) -> Path:
    return cut(storage_of(record().write(folder / 'bag', StoragePlugin.SQLITE3)))


def garbage(folder: Path) -> Path:
    path = folder / 'bag.mcap'
    path.write_bytes(bytes(range(256)) * 20)
    return path


def nothing(folder: Path) -> Path:
    path = folder / 'bag.mcap'
    path.write_bytes(b'')
    return path


def part_cut(folder: Path) -> Path:
    return cut(storage_of(record().write(folder / 'bag'))).parent


def part_of_a_few_bytes(folder: Path) -> Path:
    path = record().write(folder / 'bag')
    storage_of(path).write_bytes(storage_of(path).read_bytes()[:5])
    return path


def part_malformed(folder: Path) -> Path:
    return truncated_sqlite(folder).parent


def foreign_schema(folder: Path) -> Path:
    path = storage_of(record().write(folder / 'bag'))
    path.write_bytes(path.read_bytes().replace(b'ros2msg', b'protobu'))
    return path


def broken_yaml(folder: Path) -> Path:
    path = record().write(folder / 'bag')
    (path / 'metadata.yaml').write_text('rosbag2_bagfile_information: [')
    return path


def unmerged(folder: Path) -> Path:
    path = storage_of(record().write(folder / 'bag', StoragePlugin.SQLITE3))
    connection = sqlite3.connect(path)
    connection.execute('PRAGMA journal_mode=WAL')
    connection.execute("UPDATE topics SET name = '/renamed'")
    connection.commit()
    shutil.copy(path, folder / 'copy.db3')
    shutil.copy(f'{path}-wal', folder / 'copy.db3-wal')
    connection.close()
    return folder / 'copy.db3'


def unmerged_part(folder: Path) -> Path:
    copy = unmerged(folder)
    path = record().write(folder / 'parts', StoragePlugin.SQLITE3)
    shutil.move(f'{copy}-wal', f'{storage_of(path)}-wal')
    return path


def cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


@pytest.mark.parametrize(
    ('make', 'complaint'),
    [
        (missing, 'there is no bag'),
        (pipe, 'there is no bag'),
        (empty, 'is empty: 0 messages'),
        (no_bag, r'neither metadata\.yaml nor a \.mcap'),
        (two_files, r'what belongs together of bag\.mcap, other\.mcap; give one'),
        (other_file, r'\.mp4 is not one of \.mcap, \.db3, \.bag'),
        (unfinished_ros1, r'unfinished recording of ROS 1; run rosbag reindex'),
        (unfinished_ros1_in_a_folder, r'unfinished recording of ROS 1; run rosbag reindex'),
        (two_ros1, r'of a\.bag, b\.bag; give one of these files\.$'),
        (cut_ros1, r'cannot be read: .*rosbag reindex'),
        (capitals, r'ends in \.MCAP; rename it to .*\.mcap'),
        (compressed_file, r'is compressed; give its folder .* or decompress it \(zstd -d'),
        (compressed_without_metadata, r'is compressed; decompress it \(zstd -d'),
        (compressed_messages, r'compressed one by one, .*metadata\.yaml says; give the folder'),
        (unknown_storage, "cannot be read: .*'lance'"),
        (lost_file, r'cannot be read: .*bag\.mcap'),
        (power_cut, r'is cut off: of its \d+ bytes .* no message among them, .*record it again'),
        (truncated_sqlite, r'cannot be read: .*\.recover'),
        (garbage, 'is no MCAP file by its content'),
        (nothing, r'is empty \(0 bytes\)'),
        (part_cut, r'the part bag\.mcap of bag .* is cut off: .* no message among them'),
        (part_of_a_few_bytes, r'the part bag\.mcap of bag .* of its 5 bytes the first 0 are'),
        (part_malformed, r'the part bag\.db3 of bag .*malformed.*\.recover'),
        (foreign_schema, r"a topic of encoding 'protobu'.*mcap filter"),
        (broken_yaml, r'cannot be read: .*metadata\.yaml is wrong'),
        (unmerged_part, r'still in parts\.db3-wal.*wal_checkpoint'),
        (unmerged, r'still in copy\.db3-wal.*wal_checkpoint'),
    ],
)
def test_what_is_no_good_bag_is_refused_by_name(
    make: Callable[[Path], Path], complaint: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(DataError, match=complaint) as raised:
        topics(path)
    assert str(path) in str(raised.value)
    assert 'copy it again' not in str(raised.value)
