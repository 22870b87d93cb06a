# SPDX-License-Identifier: Apache-2.0
"""One opener for all bags: what it reads, and what it says of a bag that it cannot read."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_core.data import detect_dataset
from depth_core.data.bag import BagDataset
from depth_core.data.bag.opener import open_bag, select_connections
from depth_core.errors import DataError
from test.depth_core.data.bag.recording import (
    IMAGE,
    INFO,
    START_NS,
    STORE,
    Recording,
    camera_info,
    pixels_of,
    raw_image,
    record,
)

PLUGINS = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]
STORE1 = get_typestore(Stores.ROS1_NOETIC)
IDL = '=' * 80 + '\nIDL: my_msgs/msg/Odd\n'
ODD_DEFINITIONS = {
    'wstring': 'wstring name\n',
    'missing dependency': 'other_msgs/Thing t\n',
    'union': IDL + 'module my_msgs { module msg { union U switch (long) { case 1: long a; };'
    ' struct Odd { double x; }; }; };',
    'no grammar': 'Definition of my_msgs/Odd',
    'another version': 'float64 x\n',
    'large': ''.join(f'float64 a{number}\n' for number in range(20_000)),
}
ODD_DIGEST = 'RIHS01_' + '0' * 64


def topics(path: Path) -> dict[str, int]:
    """How many messages of each topic are read."""
    found: dict[str, int] = {}
    with open_bag(path) as bag:
        for message in bag.messages(select_connections(bag, ())):
            found[message.connection.topic] = found.get(message.connection.topic, 0) + 1
    return found


def storage_of(folder: Path) -> Path:
    return next(item for item in folder.iterdir() if item.suffix in {'.mcap', '.db3'})


@pytest.mark.parametrize('plugin', PLUGINS)
def test_a_file_by_name_is_read_and_not_the_bag_of_its_folder(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    day = record().write(tmp_path / 'day', plugin)
    evening = Recording()
    evening.add(IMAGE, START_NS, raw_image(START_NS, pixels_of(1)[:6]))
    evening.add(INFO, START_NS, camera_info(START_NS, height=6))
    other = storage_of(evening.write(tmp_path / 'evening', plugin))
    copied = Path(shutil.copy(other, day / f'evening{other.suffix}'))
    assert [len(BagDataset(copied)), len(BagDataset(day))] == [1, 3]
    assert BagDataset(copied)[0].image.shape == (3, 6, 20)


@pytest.mark.parametrize('plugin', PLUGINS)
def test_a_part_of_a_split_bag_is_that_part(tmp_path: Path, plugin: StoragePlugin) -> None:
    folder = record().write(tmp_path / 'b', plugin)
    first = storage_of(folder)
    part = Path(shutil.copy(first, folder / f'b_1{first.suffix}'))
    metadata = folder / 'metadata.yaml'
    text = metadata.read_text()
    metadata.write_text(
        text.replace(f'  - {first.name}\n', f'  - {first.name}\n  - {part.name}\n')
    )
    assert part.name in metadata.read_text()
    assert (topics(part)[IMAGE], topics(folder)[IMAGE]) == (3, 6)


def no_storage_identifier(folder: Path) -> None:
    path = folder / 'metadata.yaml'
    path.write_text(path.read_text().replace('identifier: mcap', "identifier: ''"))


def renamed(folder: Path) -> None:
    storage_of(folder).rename(folder / 'run_0.mcap')


def empty_metadata(folder: Path) -> None:
    (folder / 'metadata.yaml').write_text('')


@pytest.mark.parametrize('damage', [no_storage_identifier, renamed, empty_metadata])
def test_metadata_that_is_wrong_harms_the_folder_and_not_the_file(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = record().write(tmp_path / 'b')
    damage(folder)
    assert len(BagDataset(storage_of(folder))) == 3
    with pytest.raises(DataError, match=r'b cannot be read: .*reindex .*give .*\.mcap'):
        BagDataset(folder)


@pytest.mark.parametrize('plugin', PLUGINS)
def test_a_folder_without_metadata_is_its_only_file(tmp_path: Path, plugin: StoragePlugin) -> None:
    folder = record().write(tmp_path / 'b', plugin)
    (folder / 'metadata.yaml').unlink()
    (folder / f'._b{storage_of(folder).suffix}').write_bytes(b'\0\5\x16\7')
    assert detect_dataset(folder) == 'bag'
    assert topics(folder)[IMAGE] == 3


def test_a_folder_of_one_bag_of_ros_1_is_that_bag(tmp_path: Path) -> None:
    ros1_bag(tmp_path / 'a.bag', '', '*')
    assert topics(tmp_path)[IMAGE] == 1


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_compressed_bag_is_read_by_its_metadata(tmp_path: Path, mode: CompressionMode) -> None:
    folder = compressed(tmp_path, mode)
    assert topics(folder) == {IMAGE: 1}


def compressed(folder: Path, mode: CompressionMode = CompressionMode.FILE) -> Path:
    path = folder / 'bag'
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        image = raw_image(START_NS, pixels_of(0))
        connection = writer.add_connection(IMAGE, image.__msgtype__, typestore=STORE)
        writer.write(connection, START_NS, STORE.serialize_cdr(image, image.__msgtype__))
    return path


def odd_topic(writer: Writer | Writer1, text: str, *, digest: str, ros1: bool) -> None:
    kind = 'my_msgs/msg/Odd'
    if isinstance(writer, Writer1):
        connection = writer.add_connection('/odd', kind, msgdef=text, md5sum=digest)
    else:
        connection = writer.add_connection('/odd', kind, msgdef=text, rihs01=digest)
    writer.write(connection, START_NS, bytes(12 if ros1 else 16))


def bag_with_odd_topic(folder: Path, text: str, plugin: StoragePlugin) -> Path:
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        image, info = raw_image(START_NS, pixels_of(0)), camera_info(START_NS)
        for topic, message in ((IMAGE, image), (INFO, info)):
            connection = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connection, START_NS, STORE.serialize_cdr(message, message.__msgtype__))
        odd_topic(writer, text, digest=ODD_DIGEST, ros1=False)
    return folder


@pytest.mark.parametrize('plugin', PLUGINS)
@pytest.mark.parametrize('name', ODD_DEFINITIONS)
def test_the_definition_of_another_topic_does_not_matter(
    tmp_path: Path, name: str, plugin: StoragePlugin
) -> None:
    path = bag_with_odd_topic(tmp_path / 'b', ODD_DEFINITIONS[name], plugin)
    assert BagDataset(path)[0].image.shape == (3, 12, 20)
    assert topics(path)['/odd'] == 1


@pytest.mark.parametrize('name', ['wstring', 'missing dependency', 'no grammar'])
def test_a_definition_that_is_asked_for_is_named_with_its_topic(tmp_path: Path, name: str) -> None:
    path = bag_with_odd_topic(tmp_path / 'b', ODD_DEFINITIONS[name], StoragePlugin.MCAP)
    with open_bag(path) as bag:
        message = next(bag.messages(select_connections(bag, ['/odd'])))
        with pytest.raises(DataError, match=r'my_msgs/msg/Odd, .*on topic /odd, cannot be used'):
            bag.decode(message)


def ros1_bag(path: Path, definition: str, digest: str, *, camera_digest: str = '') -> Path:
    types = STORE1.types
    header = types['std_msgs/msg/Header'](
        seq=0, stamp=types['builtin_interfaces/msg/Time'](sec=1, nanosec=0), frame_id='optical'
    )
    image = types['sensor_msgs/msg/Image'](
        header, 12, 20, 'rgb8', 0, 60, np.ascontiguousarray(pixels_of(0)).ravel()
    )
    info = types['sensor_msgs/msg/CameraInfo'](
        header, 12, 20, 'plumb_bob', np.zeros(5), np.array([25.0, 0, 9, 0, 25, 5, 0, 0, 1]),
        np.eye(3).ravel(), np.array([25.0, 0, 9, 0, 0, 25, 5, 0, 0, 0, 1, 0]), 0, 0,
        types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, do_rectify=False),
    )  # fmt: skip
    with Writer1(path) as writer:
        for topic, message in ((IMAGE, image), (INFO, info)):
            kind = message.__msgtype__
            connection = writer.add_connection(
                topic,
                kind,
                typestore=STORE1,
                msgdef='' if camera_digest else None,
                md5sum=camera_digest or None,
            )
            writer.write(connection, START_NS, STORE1.serialize_ros1(message, kind))
        odd_topic(writer, definition, digest=digest, ros1=True)
    return path


@pytest.mark.parametrize(
    ('definition', 'digest'),
    [
        ('', 'd41d8cd98f00b204e9800998ecf8427e'),
        ('', '27ffa0c9c4b8fb8492252bcad9e5c57b'),
        ('Definition of my_msgs/Odd', '27ffa0c9c4b8fb8492252bcad9e5c57b'),
        ('other_msgs/Thing t\n', '27ffa0c9c4b8fb8492252bcad9e5c57b'),
        ('float64 x\n', '27ffa0c9c4b8fb8492252bcad9e5c57b'),
        ('float64 x\n', '*'),
    ],
)
@pytest.mark.parametrize('name', ['a.bag', 'A.BAG'])
def test_bags_of_ros_1_are_read_beside_odd_topics(
    tmp_path: Path, name: str, definition: str, digest: str
) -> None:
    sample = BagDataset(ros1_bag(tmp_path / name, definition, digest))[0]
    np.testing.assert_array_equal(
        np.round(sample.image.permute(1, 2, 0).numpy() * 255.0), pixels_of(0)
    )


def test_a_camera_of_any_digest_without_definition_has_the_standard_one(tmp_path: Path) -> None:
    path = ros1_bag(tmp_path / 'a.bag', '', '*', camera_digest='*')
    assert BagDataset(path)[0].image.shape == (3, 12, 20)


@pytest.mark.parametrize('plugin', PLUGINS)
def test_bytes_that_are_no_message_are_named_with_their_topic(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    path = tmp_path / 'b'
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection(IMAGE, 'sensor_msgs/msg/Image', typestore=STORE)
        writer.write(connection, START_NS, b'\0\1\0\0abc')
    with (
        open_bag(path) as bag,
        pytest.raises(DataError, match=rf'{IMAGE} of bag .* at {START_NS} ns, is no sensor_msgs'),
    ):
        bag.decode(next(bag.messages(bag.connections)))


def missing(folder: Path) -> Path:
    return folder / 'nothing'


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


def cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


@pytest.mark.parametrize(
    ('make', 'complaint'),
    [
        (missing, 'there is no bag'),
        (empty, 'is empty: 0 messages'),
        (no_bag, r'neither metadata\.yaml nor a \.mcap'),
        (two_files, r'what belongs together of bag\.mcap, other\.mcap; give one'),
        (other_file, r'\.mp4 is not one of \.mcap, \.db3, \.bag'),
        (unfinished_ros1, r'unfinished recording of ROS 1; run rosbag reindex'),
        (cut_ros1, r'cannot be read: .*rosbag reindex'),
        (capitals, r'ends in \.MCAP; rename it to .*\.mcap'),
        (compressed_file, r'is compressed; give its folder .* or decompress it \(zstd -d'),
        (compressed_without_metadata, r'is compressed; decompress it \(zstd -d'),
        (compressed_messages, r'compressed one by one, .*metadata\.yaml says; give the folder'),
        (unknown_storage, "cannot be read: .*'lance'"),
        (lost_file, r'cannot be read: .*bag\.mcap'),
        (power_cut, r'is not finished: .*mcap recover .*bag\.mcap -o'),
        (truncated_sqlite, r'cannot be read: .*\.recover'),
        (garbage, 'is no MCAP file by its content'),
        (nothing, r'is empty \(0 bytes\)'),
        (part_cut, r'the part bag\.mcap of bag .* is not finished: .*mcap recover .*bag\.mcap -o'),
        (part_malformed, r'the part bag\.db3 of bag .*malformed.*\.recover'),
        (foreign_schema, r"a topic of encoding 'protobu'.*mcap filter"),
        (broken_yaml, r'cannot be read: .*metadata\.yaml is wrong'),
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


def test_time_is_that_of_the_recording(tmp_path: Path) -> None:
    path = storage_of(record().write(tmp_path / 'b', StoragePlugin.SQLITE3))
    with open_bag(path) as bag:
        assert bag.start_ns == START_NS
        assert bag.duration_ns == 210_000_000 + 1
        assert len(list(bag.messages(bag.connections, stop_ns=START_NS + 1))) == 1
        assert list(bag.messages([])) == []
