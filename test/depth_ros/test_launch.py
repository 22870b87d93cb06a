# SPDX-License-Identifier: Apache-2.0
"""The launch files, where a ROS installation brings launch."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ament_index_python.packages import get_package_share_directory
from sensor_msgs.msg import Image

from depth_core.errors import FAILED
from depth_ros.settings import BY_NAME
from test.depth_ros.ros_processes import REPOSITORY, ros_session
from test.standin import write_standin_onnx

FILES = (
    'mono_depth.launch.py',
    'demo.launch.py',
    'kitti_replay.launch.py',
    'multi_camera.launch.py',
)
UNITS = {'_s': 'seconds', '_hz': 'Hz', 'height': 'pixels', 'width': 'pixels', '_ms': 'ms'}


def is_installed() -> bool:
    """Whether the launch files can be loaded: they ask ament for the installed package."""
    if not all(importlib.util.find_spec(name) for name in ('launch', 'launch_ros')):
        return False
    try:
        get_package_share_directory('depth_ros')
    except (LookupError, OSError):
        return False
    return True


needs_launch = pytest.mark.skipif(
    not is_installed(),
    reason='needs an installed ROS (launch, launch_ros) in whose environment depth_ros is built',
)


def load(name: str) -> Any:
    """The launch file as a module."""
    spec = importlib.util.spec_from_file_location(
        name.partition('.')[0], REPOSITORY / 'launch' / name
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(name: str) -> dict[str, str]:
    """The description of each argument of a launch file."""
    found = load(name).generate_launch_description().get_launch_arguments()
    return {item.name: item.description for item in found}


@needs_launch
@pytest.mark.parametrize('name', FILES)
def test_every_argument_is_described_with_its_unit(name: str) -> None:
    described = arguments(name)
    assert {'model', 'backend', 'rviz'} <= set(described)
    for argument, description in described.items():
        assert len(description) > 10, argument
        for suffix, unit in UNITS.items():
            assert not argument.endswith(suffix) or unit in description, argument


def test_arguments_that_set_parameters_are_named_as_they_are() -> None:
    """Without launch: the file is parsed, its functions are not run."""
    tree = ast.parse((REPOSITORY / 'launch' / 'mono_depth.launch.py').read_text(encoding='utf-8'))
    assigned = {
        ast.unparse(item.targets[0]): item.value
        for item in tree.body
        if isinstance(item, ast.Assign)
    }
    names = set(ast.literal_eval(assigned['PARAMETERS']))
    assert {'model', 'backend'} <= names <= set(BY_NAME)


@needs_launch
def test_arguments_that_set_parameters_have_their_text() -> None:
    described = arguments('mono_depth.launch.py')
    names = load('mono_depth.launch.py').PARAMETERS
    for name in names:
        assert described[name].startswith(BY_NAME[name].sentence)


@needs_launch
@pytest.mark.parametrize(
    ('status', 'respawn', 'required', 'followed'),
    [
        (0, False, True, ['LogInfo', 'Shutdown']),
        (2, False, True, ['Shutdown']),
        (2, True, True, ['Shutdown']),
        (2, True, False, ['LogInfo', 'EmitEvent']),
        (2, False, False, []),
        (-9, True, True, []),
        (-9, False, True, ['Shutdown']),
    ],
)
def test_a_node_that_refused_to_start_is_not_started_again_and_launch_fails(
    status: int, respawn: bool, required: bool, followed: list[str]
) -> None:
    event = SimpleNamespace(returncode=status, process_name='mono_depth-1', action=None)
    heard: list[dict[str, str]] = []  # by what has launch end with status 1
    loop = SimpleNamespace(call_exception_handler=heard.append)
    context = SimpleNamespace(is_shutdown=False, asyncio_loop=loop)
    found = load('mono_depth.launch.py')._ended(event, context, respawn=respawn, required=required)
    assert [type(item).__name__ for item in found] == followed
    silent = status == 0 or (respawn and status != FAILED)
    said = [] if silent else [{'message': f'mono_depth-1 has ended with status {status}'}]
    assert heard == said


@needs_launch
def test_a_replay_fails_with_its_player_and_waits_for_the_last_answers() -> None:
    heard: list[dict[str, str]] = []
    loop = SimpleNamespace(call_exception_handler=heard.append)
    context = SimpleNamespace(is_shutdown=False, asyncio_loop=loop)
    ended = load('kitti_replay.launch.py')._ended
    found = {
        status: [
            type(item).__name__
            for item in ended(SimpleNamespace(returncode=status, process_name='play_bag'), context)
        ]
        for status in (0, 2)
    }
    assert found == {0: ['TimerAction'], 2: ['Shutdown']}
    assert heard == [{'message': 'play_bag has ended with status 2'}]


@needs_launch
@pytest.mark.ros
def test_the_demo_ends_with_a_node_that_refused_to_start(tmp_path: Path) -> None:
    if (ros2 := shutil.which('ros2')) is None:
        pytest.skip('the ros2 command comes with a ROS installation')
    with ros_session(tmp_path) as session:
        launched = session.start(
            *(ros2, 'launch', 'depth_ros', 'demo.launch.py', 'backend:=nonsense'),
            *('height:=60', 'width:=80', 'frames:=2', 'scene:=office', 'respawn:=true'),
            environment={'PYTHONPATH': os.environ.get('PYTHONPATH', '')},
        )
        assert launched.wait() == 1
        assert 'has ended with status 2' in launched.output


@needs_launch
@pytest.mark.ros
def test_the_demo_really_starts(tmp_path: Path) -> None:
    if (ros2 := shutil.which('ros2')) is None:
        pytest.skip('the ros2 command comes with a ROS installation')
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    paths = {'PYTHONPATH': os.environ.get('PYTHONPATH', '')}  # where that ROS is
    with ros_session(tmp_path) as session:
        launched = session.start(
            *(ros2, 'launch', 'depth_ros', 'demo.launch.py', f'model:={model}', 'rate_hz:=5.0'),
            *('height:=60', 'width:=80', 'frames:=2', 'scene:=office'),
            environment=paths,
        )
        depth = session.collect(Image, '/depth/image_raw')
        session.until(lambda: len(depth) >= 3, 'depth')
        launched.signal(signal.SIGINT)
        assert launched.wait() == 0, launched.output
        assert 'process has died' not in launched.output
    assert (depth[0].height, depth[0].width) == (60, 80)
    assert 'fastdds.xml' in launched.output
