# SPDX-License-Identifier: Apache-2.0
"""How the node starts, changes state and ends."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import rclpy
from sensor_msgs.msg import Image

from depth_core.manifest import METADATA_KEY
from depth_ros.stress.faulty_node import give_order
from test.depth_ros.ros_processes import RosSession, ros_session
from test.depth_ros.sample_messages import FRAME_ID, image
from test.standin import write_standin_onnx

pytestmark = pytest.mark.ros
DEPTH = {'depth/image_raw': Image}
SHARED_MEMORY = Path('/dev/shm')  # noqa: S108 where Fast DDS keeps it, not a file of ours
MODULE = 'depth_ros.mono_depth_node'
FAULTY = 'depth_ros.stress.faulty_node'


@pytest.fixture
def ros(tmp_path: Path) -> Iterator[RosSession]:
    with ros_session(tmp_path) as session:
        yield session


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_standin_onnx(tmp_path / 'standin.onnx')


def segments(process_id: int) -> set[str]:
    """Shared memory of Fast DDS that a process has open."""
    maps = Path(f'/proc/{process_id}/maps').read_text()
    return set(re.findall(r'/(fastdds_[0-9a-f]{16})\b', maps))


def shared_memory() -> set[str]:
    """Everything in the shared memory of this machine."""
    return {entry.name for entry in SHARED_MEMORY.iterdir()}


def test_transitions_are_mirrored_and_can_be_repeated(ros: RosSession, model: Path) -> None:
    node = ros.start_node(
        MODULE, parameters={'model': str(model), 'autostart': False, 'diagnostics_period_s': 0.2}
    )
    assert ros.state('mono_depth') == 'unconfigured'
    images = ros.node.create_publisher(Image, '/image', 10)
    for _ in range(2):
        assert ros.change_state('mono_depth', 'configure')
        assert ros.state('mono_depth') == 'inactive'
        ros.until(lambda: ros.node.count_publishers('/depth/image_raw') == 1, 'its output')
        assert images.get_subscription_count() == 0, 'an inactive node takes no images'
        for _ in range(2):
            assert ros.change_state('mono_depth', 'activate')
            depths = ros.outputs(DEPTH)['depth/image_raw']
            answer = ros.feed(lambda number: images.publish(image(number)), depths)
            assert answer.header.frame_id == FRAME_ID
            assert ros.change_state('mono_depth', 'deactivate')
            ros.until(lambda: images.get_subscription_count() == 0, 'the end of the subscription')
        assert ros.change_state('mono_depth', 'cleanup')
        assert ros.state('mono_depth') == 'unconfigured'
        ros.until(lambda: ros.node.count_publishers('/depth/image_raw') == 0, 'no output')
    assert not ros.change_state('mono_depth', 'activate'), 'activate without configure'
    assert 'Traceback' not in node.output


def test_a_model_that_appears_later_can_be_configured(ros: RosSession, tmp_path: Path) -> None:
    path = tmp_path / 'later.onnx'
    node = ros.start_node(MODULE, parameters={'model': str(path), 'autostart': False})
    assert not ros.change_state('mono_depth', 'configure')
    assert ros.state('mono_depth') == 'unconfigured'
    assert 'later.onnx' in node.output
    write_standin_onnx(path)
    assert ros.change_state('mono_depth', 'configure')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_without_a_trace(
    ros: RosSession, model: Path, number: signal.Signals
) -> None:
    existing = shared_memory()
    node = ros.start_node(MODULE, parameters={'model': str(model), 'diagnostics_period_s': 0.2})
    depths = ros.outputs(DEPTH)['depth/image_raw']
    images = ros.publisher(Image, '/image')
    ros.feed(lambda index: images.publish(image(index)), depths)
    own = segments(node.process.pid) - existing
    assert own, 'the node has no shared memory: the Fast DDS profile is not in use'
    node.signal(number)
    assert node.wait() == 0
    assert 'Traceback' not in node.output
    assert 'rror' not in node.output
    assert not own & shared_memory()


def test_a_signal_ends_a_node_that_was_never_configured(ros: RosSession) -> None:
    node = ros.start_node(MODULE, parameters={'autostart': False})
    assert ros.state('mono_depth') == 'unconfigured'
    assert 'as autostart is false: configure and activate' in node.output
    assert 'ros2 lifecycle set /mono_depth configure' in node.output
    for _ in range(2):  # from the terminal, and from launch
        node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert 'Traceback' not in node.output


def test_a_node_of_the_same_name_is_warned_of_as_long_as_it_is_there(ros: RosSession) -> None:
    node = ros.start_node(MODULE, parameters={'autostart': False, 'diagnostics_period_s': 0.1})
    said = ros.diagnostics(lambda said: said['namesakes'] == '0', 'no other node')
    assert said['level'] == '0'
    other = rclpy.create_node('mono_depth', context=ros.node.context)
    elsewhere = rclpy.create_node('mono_depth', namespace='rear', context=ros.node.context)
    said = ros.diagnostics(lambda said: said['namesakes'] != '0', 'another node')
    assert (said['namesakes'], said['level']) == ('1', '1')
    assert '1 other node has the name of this one' in said['message']
    other.destroy_node()
    ros.diagnostics(lambda said: said['namesakes'] == '0', 'that it is gone')
    elsewhere.destroy_node()
    assert node.output.count('-r __node:=NAME') == 1


def test_a_signal_ends_a_node_that_was_shut_down(ros: RosSession) -> None:
    node = ros.start_node(MODULE, parameters={'autostart': False})
    assert ros.change_state('mono_depth', 'shutdown_unconfigured')
    assert ros.state('mono_depth') == 'finalized'
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    assert 'Traceback' not in node.output


STUCK = """
import threading
import depth_ros.mono_depth_node as node

node.open_model = lambda path, settings, options: threading.Event().wait()
node.main()
"""


def test_a_runtime_that_cannot_be_interrupted_keeps_neither_services_nor_the_end_waiting(
    ros: RosSession, model: Path
) -> None:
    node = ros.start('-c', STUCK, '--ros-args', '-p', f'model:={model}')
    said = ros.diagnostics(lambda said: said['state'] == 'configuring', 'that it configures')
    assert said['build_phase'] == 'opening'
    assert ros.state('mono_depth') == 'configuring'
    assert not ros.change_state('mono_depth', 'configure'), 'one at a time'
    node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert 'configure given up after' in node.output
    assert 'Traceback' not in node.output


def test_images_that_wait_for_a_backend_that_hangs_keep_nothing_else_waiting(
    ros: RosSession, model: Path, tmp_path: Path
) -> None:
    orders = tmp_path / 'orders'
    give_order(orders, 'any hang_always')
    values = {'policy': 'every', 'queue_depth': 1, 'inference_limit_s': 2.0}
    node = ros.start_node(
        FAULTY,
        parameters={'model': str(model), 'diagnostics_period_s': 0.1, **values},
        arguments=(str(orders),),
    )
    ros.outputs(DEPTH)
    images = ros.publisher(Image, '/image')
    waiting = [image(number) for number in range(5)]

    def holds_two(said: dict[str, str]) -> bool:
        while waiting:  # only now: the diagnostics are heard from the first image on
            images.publish(waiting.pop())
        return said['frames_in'] == '2' and float(said['last_image_age_s']) > 0.4

    held = ros.diagnostics(holds_two, 'that one is in work and one waits')
    assert 'no image for' not in held['message'], 'the others are with the middleware'
    said = ros.diagnostics(lambda said: said['watchdog_reopened'] == '1', 'another backend')
    assert 'an inference runs for' in said['watchdog_problem']
    node.signal(signal.SIGINT)
    assert node.wait() == 0
    assert 'Traceback' not in node.output


def relative_model(folder: Path) -> Path:
    path = write_standin_onnx(folder / 'relative.onnx')
    graph = onnx.load(path)
    for entry in graph.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = entry.value.replace('"metric"', '"inverse"')
    onnx.save(graph, path)
    return path


def test_what_cannot_start_says_why_and_exits(ros: RosSession, tmp_path: Path) -> None:
    torn = tmp_path / 'torn.onnx'
    torn.write_bytes(write_standin_onnx(tmp_path / 'whole.onnx').read_bytes()[:100])
    cases: dict[str, tuple[dict[str, object], str]] = {
        'missing': (
            {'model': 'nowhere.onnx'},
            'model nowhere.onnx does not exist as a file',
        ),
        'torn': ({'model': str(torn)}, 'torn.onnx'),
        'relative': ({'model': str(relative_model(tmp_path))}, 'choose a metric model'),
        'backend': (
            {'model': str(tmp_path / 'whole.onnx'), 'backend': 'onnx'},
            'Known: onnxruntime',
        ),
        'unknown': ({'min_confidense': 0.5}, "did you mean 'min_confidence'"),
        'rclpy': ({'use_sim_time': 5}, "'use_sim_time' to '5' of type 'INTEGER'"),
        'qos policy': (
            {'qos_overrides./image.subscription.relability': 'reliable'},
            "did you mean 'qos_overrides./image.subscription.reliability'",
        ),
        'qos value': (
            {'qos_overrides./points.publisher.depth': 0},
            'qos_overrides./points.publisher.depth = 0 is none; give 1 to 1000 messages',
        ),
        'range': ({'queue_depth': 0}, 'queue_depth = 0 is out of range'),
    }
    nodes = {
        name: ros.start_node(MODULE, parameters=parameters)
        for name, (parameters, _) in cases.items()
    }
    for name, (_, said) in cases.items():
        assert nodes[name].wait() == 2, name
        assert said in nodes[name].output
        assert 'Traceback' not in nodes[name].output
