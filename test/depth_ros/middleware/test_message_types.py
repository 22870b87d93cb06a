# SPDX-License-Identifier: Apache-2.0
"""A type that a recording names is imported from ROS, or nothing is imported at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo, Image

from depth_core.errors import DataError
from depth_ros.middleware.message_types import find_message_class
from test.depth_ros.bags import INFO, START_NS, TYPES
from test.depth_ros.ros_processes import REPOSITORY, ros_session

HOSTILE = (
    'antigravity/msg/Foo',
    'evil/msg/Foo',
    'os/msg/path',
    'this/msg/s',
    '../x/msg/Y',
    '.evil/msg/Foo',
    'evil.deep/msg/Foo',
    'sensor_msgs/srv/SetCameraInfo',
    'sensor_msgs/msg/Image; import os',
    'sensor_msgs/msg/Image\n',
    'sensor_msgs/msg/NoSuchMessage',
    'sensor_msgs/msg/__loader__',
    '',
)

MARKER = "import pathlib; pathlib.Path(__file__).with_name('imported').touch()\n"


def evil_package(folder: Path, name: str) -> Path:
    """A package that leaves a file beside its own when it is imported; that file."""
    for module in ('__init__.py', 'msg.py'):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / module).write_text(MARKER)
    return folder / name / 'imported'


def ask(folder: Path, msgtype: str, **environment: str) -> dict[str, object]:
    """Look a type up in a new process in `folder`: the answer and the modules it imported."""
    code = (
        'import json, sys\n'
        'from depth_ros.middleware.message_types import find_message_class\n'
        'from depth_core.errors import DataError\n'
        'before = set(sys.modules)\n'
        'try: answer = find_message_class(sys.argv[1]).__module__\n'
        'except DataError as error: answer = f"refused: {error}"\n'
        'print(json.dumps([answer, sorted(set(sys.modules) - before)]))\n'
    )
    found = subprocess.run(
        [sys.executable, '-c', code, msgtype],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    answer, imported = json.loads(found.stdout)
    return {'answer': answer, 'imported': imported}


def test_installed_types_are_found() -> None:
    assert find_message_class('sensor_msgs/msg/Image') is Image
    assert find_message_class('sensor_msgs/msg/CameraInfo') is CameraInfo


@pytest.mark.parametrize('msgtype', HOSTILE)
def test_other_names_import_nothing(msgtype: str, tmp_path: Path) -> None:
    marker = evil_package(tmp_path, 'evil')
    found = ask(tmp_path, msgtype)
    assert str(found['answer']).startswith('refused: ')
    assert found['imported'] == []
    assert not marker.exists()


def test_a_folder_named_as_a_ros_package_is_not_taken_for_it(tmp_path: Path) -> None:
    marker = evil_package(tmp_path, 'geometry_msgs')
    found = ask(tmp_path, 'geometry_msgs/msg/Pose')
    assert 'start from a folder without a geometry_msgs' in str(found['answer'])
    assert found['imported'] == []
    assert not marker.exists()


def test_a_package_of_a_sourced_workspace_is_found(tmp_path: Path) -> None:
    python = tmp_path / 'install' / 'lib' / 'python3.11' / 'site-packages'
    (python / 'my_msgs').mkdir(parents=True)
    (python / 'my_msgs' / '__init__.py').touch()
    (python / 'my_msgs' / 'msg.py').write_text('class Foo: pass\n')
    index = tmp_path / 'install' / 'share' / 'ament_index' / 'resource_index'
    (index / 'rosidl_interfaces').mkdir(parents=True)
    (index / 'rosidl_interfaces' / 'my_msgs').write_text('msg/Foo.idl\nmsg/Foo.msg')
    sourced = {
        'AMENT_PREFIX_PATH': str(tmp_path / 'install'),
        'PYTHONPATH': f'{python}{os.pathsep}{REPOSITORY}',
    }
    assert ask(tmp_path, 'my_msgs/msg/Foo', **sourced)['answer'] == 'my_msgs.msg'
    assert 'not installed' in str(ask(tmp_path, 'my_msgs/msg/Bar', **sourced)['answer'])
    shutil.rmtree(index)
    assert 'not installed' in str(ask(tmp_path, 'my_msgs/msg/Foo', **sourced)['answer'])


def test_a_malformed_name_is_answered_with_the_form() -> None:
    with pytest.raises(DataError, match=r"'\.\./x/msg/Y' is not the name of a message type"):
        find_message_class('../x/msg/Y')


@pytest.mark.ros
def test_of_a_bag_with_hostile_types_the_others_are_played(tmp_path: Path) -> None:
    bag = tmp_path / 'bag'
    with Writer(bag, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for number, msgtype in enumerate(filter(None, HOSTILE)):
            hostile = writer.add_connection(
                f'/x{number}', msgtype, msgdef='int8 a', rihs01=f'RIHS01_{"0" * 64}'
            )
            writer.write(hostile, START_NS, b'\0\1\0\0\0')
        for topic in (INFO, 'no topic'):
            good = writer.add_connection(topic, 'sensor_msgs/msg/CameraInfo', typestore=TYPES)
            writer.write(good, START_NS, serialize_message(CameraInfo(height=3)))
    with ros_session(tmp_path) as session:
        marker = evil_package(session.folder, 'evil')
        played = session.start('-m', 'depth_ros.play_bag', str(bag), '--loop')
        infos = session.collect(CameraInfo, INFO)
        session.until(lambda: len(infos) > 0, 'camera_info')
    assert infos[0].height == 3
    assert played.output.count(' is not played: ') == len(HOSTILE)  # 'no topic' for the empty one
    assert 'Traceback' not in played.output
    assert not marker.exists()
