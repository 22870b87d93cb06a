# SPDX-License-Identifier: Apache-2.0
"""One opener for all bags: which file it reads, and which definitions of messages."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer

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
    compressed,
    odd_topic,
    pixels_of,
    raw_image,
    record,
    ros1_bag,
    storage_of,
    topics,
)

PLUGINS = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]

QOS_OF_HUMBLE = """
- history: 3
  depth: 0
  reliability: 1
  durability: 2
  deadline: {sec: 9223372036, nsec: 854775807}
  lifespan: {sec: 9223372036, nsec: 854775807}
  liveliness: 1
  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}
  avoid_ros_namespace_conventions: false
"""
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


def test_a_file_that_the_metadata_does_not_list_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = record().write(tmp_path / 'b')
    topics(folder)
    assert not caplog.records
    shutil.copy(storage_of(folder), folder / 'b_1.db3')
    assert topics(folder)[IMAGE] == 3
    assert 'metadata.yaml does not list b_1.db3, which is not read' in caplog.text


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
def test_topics_that_metadata_describes_otherwise_are_read(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    folder = record().write(tmp_path / 'b', plugin)
    metadata = folder / 'metadata.yaml'
    content = yaml.safe_load(metadata.read_text())
    information = content['rosbag2_bagfile_information']
    for item in information['topics_with_message_count']:
        item['topic_metadata']['offered_qos_profiles'] = QOS_OF_HUMBLE
        item['topic_metadata']['type_description_hash'] = 'RIHS01_' + '0' * 64
    metadata.write_text(yaml.safe_dump(content))
    assert topics(folder)[IMAGE] == 3
    assert len(BagDataset(folder)) == 3


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


def bag_with_odd_topic(
    folder: Path, text: str, plugin: StoragePlugin, *, serialization: str = 'cdr'
) -> Path:
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        image, info = raw_image(START_NS, pixels_of(0)), camera_info(START_NS)
        for topic, message in ((IMAGE, image), (INFO, info)):
            connection = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connection, START_NS, STORE.serialize_cdr(message, message.__msgtype__))
        odd_topic(writer, text, digest=ODD_DIGEST, ros1=False, serialization=serialization)
    return folder


@pytest.mark.parametrize('plugin', PLUGINS)
@pytest.mark.parametrize('name', ODD_DEFINITIONS)
def test_the_definition_of_another_topic_does_not_matter(
    tmp_path: Path, name: str, plugin: StoragePlugin
) -> None:
    path = bag_with_odd_topic(tmp_path / 'b', ODD_DEFINITIONS[name], plugin)
    assert BagDataset(path)[0].image.shape == (3, 12, 20)
    assert topics(path)['/odd'] == 1


@pytest.mark.parametrize('plugin', PLUGINS)
def test_the_serialization_of_another_topic_does_not_matter(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    path = bag_with_odd_topic(tmp_path / 'b', 'float64 x\n', plugin, serialization='json')
    assert BagDataset(path)[0].image.shape == (3, 12, 20)
    with open_bag(path) as bag:
        message = next(bag.messages(select_connections(bag, ['/odd'])))
        with pytest.raises(DataError, match=r'message on /odd of bag .* is no my_msgs/msg/Odd'):
            bag.decode(message)


@pytest.mark.parametrize('name', ['wstring', 'missing dependency', 'no grammar'])
def test_a_definition_that_is_asked_for_is_named_with_its_topic(tmp_path: Path, name: str) -> None:
    path = bag_with_odd_topic(tmp_path / 'b', ODD_DEFINITIONS[name], StoragePlugin.MCAP)
    with open_bag(path) as bag:
        message = next(bag.messages(select_connections(bag, ['/odd'])))
        with pytest.raises(DataError, match=r'my_msgs/msg/Odd, .*on topic /odd, cannot be used'):
            bag.decode(message)


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


def test_time_is_that_of_the_recording(tmp_path: Path) -> None:
    path = storage_of(record().write(tmp_path / 'b', StoragePlugin.SQLITE3))
    with open_bag(path) as bag:
        assert bag.start_ns == START_NS
        assert bag.duration_ns == 210_000_000 + 1
        assert len(list(bag.messages(bag.connections, stop_ns=START_NS + 1))) == 1
        assert list(bag.messages([])) == []
