# SPDX-License-Identifier: Apache-2.0
"""The node in its own process, spoken to with real messages over real Fast DDS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rclpy.event_handler import PublisherEventCallbacks
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_core.preview import colour_depth, scale_for
from depth_core.runtime import Predictor
from depth_ros.frames.outputs import OUTPUTS
from test.depth_ros.ros_processes import BEST_EFFORT, RosSession, ros_session
from test.depth_ros.sample_messages import FRAME_ID, camera_info, header, image, picture, pixels_of
from test.standin import write_standin_onnx

pytestmark = pytest.mark.ros

KINDS: dict[str, Any] = {output.topic: output.kind for output in OUTPUTS}


class Bench:
    """A running node, everything it publishes, and the publishers of its camera."""

    def __init__(self, ros: RosSession, model: Path) -> None:
        self.ros = ros
        self.node = ros.start_node(
            'depth_ros.mono_depth_node',
            parameters={
                'model': str(model),
                'backend': 'onnxruntime',
                'input_reliability': 'reliable',
                'queue_depth': 50,
                'diagnostics_period_s': 0.2,
                'cloud.confidence': True,
                'max_age_s': 0.0,  # the stamps are old
            },
            remappings={'image': '/camera/image_raw', 'camera_info': '/camera/camera_info'},
        )
        self.predictor = Predictor.open(model, backend='onnxruntime', threads=1)
        self.images = ros.publisher(Image, '/camera/image_raw')
        self.infos = ros.publisher(CameraInfo, '/camera/camera_info')
        self.number = 0
        self.received: dict[str, list[Any]] = {}

    def listen(self) -> None:
        """Subscribe to every output, once."""
        if not self.received:
            self.received = self.ros.outputs(KINDS)

    def ask(self, info: CameraInfo | None = None, message: Image | None = None) -> int:
        """Send a frame and its camera_info; its number."""
        self.number += 1
        info = info or camera_info(self.number)
        info.header = header(self.number)
        self.infos.publish(info)
        message = message or image(self.number)
        message.header = header(self.number)
        self.images.publish(message)
        return self.number

    def answers(self, number: int, topic: str) -> list[Any]:
        stamp = header(number).stamp
        return [item for item in self.received[topic] if item.header.stamp == stamp]

    def answer(self, number: int, topic: str) -> Any:
        """Wait for what `topic` says about a frame."""
        self.ros.until(lambda: bool(self.answers(number, topic)), f'{topic} of frame {number}')
        return self.answers(number, topic)[0]

    def settled(self) -> dict[str, int]:
        """The counts once they hold every answer that came: each is counted after it was sent."""
        depths = self.received['depth/image_raw']
        said = self.ros.diagnostics(
            lambda said: int(said['frames_out']) == len(depths), 'how many were answered'
        )
        return {key: int(said[key]) for key in ('frames_in', 'frames_out', 'dropped_superseded')}

    def count(self, key: str) -> int:
        return int(self.ros.diagnostics(lambda _: True, 'anything')[key])

    def counted(self, key: str, value: int) -> dict[str, str]:
        """Wait until the diagnostics count `value`."""
        return self.ros.diagnostics(lambda said: int(said[key]) == value, f'{key} = {value}')


@contextlib.contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    with ros_session(folder) as ros:
        yield Bench(ros, write_standin_onnx(folder / 'standin.onnx'))


@pytest.fixture(scope='module')
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp('mono_depth')) as bench:
        yield bench


def test_nothing_is_computed_while_nobody_listens(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:

        def at_ease(said: dict[str, str]) -> bool:
            bench.ask()  # a camera that is silent would be reported
            return said['level'] == '0' and int(said['dropped_no_subscriber']) > 0

        said = bench.ros.diagnostics(at_ease, 'frames that nobody wants, and nothing wrong')
    assert said['frames_out'] == '0'


def test_every_input_stamp_gets_one_answer_with_the_predictors_values(bench: Bench) -> None:
    bench.listen()
    scale = scale_for(bench.predictor.manifest.output)
    numbers = []
    for _ in range(8):
        numbers.append(bench.ask())
        for topic in KINDS:
            bench.answer(numbers[-1], topic)
    for number in numbers:
        expected = bench.predictor.predict(picture(number))
        found = {topic: bench.answers(number, topic) for topic in KINDS}
        assert {topic: len(messages) for topic, messages in found.items()} == dict.fromkeys(
            KINDS, 1
        )
        for messages in found.values():
            assert messages[0].header == header(number)
            if not isinstance(messages[0], CompressedImage):
                assert (messages[0].height, messages[0].width) == (120, 160)
        assert_array_equal(pixels_of(found['depth/image_raw'][0]), expected.depth_m)
        assert_array_equal(pixels_of(found['sigma/image_raw'][0]), expected.sigma_m)
        assert_array_equal(pixels_of(found['confidence/image_raw'][0]), expected.confidence)
        assert found['depth/image_raw'][0].encoding == '32FC1'
        colours = found['depth/color'][0]
        assert colours.encoding == 'rgb8'
        assert_array_equal(pixels_of(colours), colour_depth(expected.depth_m, scale))
    assert pixels_of(bench.answers(numbers[0], 'depth/image_raw')[0]).std() > 0.5


def test_points_are_the_depth_seen_through_the_camera(bench: Bench) -> None:
    bench.listen()
    number = bench.ask()
    cloud = bench.answer(number, 'points')
    assert [item.name for item in cloud.fields] == ['x', 'y', 'z', 'rgb', 'confidence']
    values = np.frombuffer(cloud.data, np.float32).reshape(120, 160, 5)
    expected = bench.predictor.predict(picture(number))
    rows, columns = np.mgrid[:120, :160]
    kept = np.isfinite(values[..., 2])
    assert kept.mean() > 0.9
    assert_array_equal(values[kept][:, 2], expected.depth_m[kept])
    x = (columns - 79.5) / 160.0 * expected.depth_m
    y = (rows - 59.5) / 160.0 * expected.depth_m
    assert_allclose(values[kept][:, :2], np.stack((x, y), -1)[kept], rtol=1e-4, atol=1e-5)
    bits = np.ascontiguousarray(values[..., 3]).view(np.uint32)
    rgb = np.stack(((bits >> 16) & 255, (bits >> 8) & 255, bits & 255), axis=-1)
    assert_array_equal(rgb, picture(number))
    assert_array_equal(values[..., 4], expected.confidence)


def test_camera_info_follows_the_size_of_the_image(bench: Bench) -> None:
    bench.listen()
    number = bench.ask(camera_info(0, height=240, width=320))
    info = bench.answer(number, 'depth/camera_info')
    assert (info.height, info.width) == (120, 160)
    assert_allclose(info.k, camera_info(0).k)
    assert_allclose(info.p, camera_info(0).p)
    assert info.header.frame_id == FRAME_ID


def burst_is_answered(bench: Bench, frames: int) -> int:
    """Send frames as fast as it goes; how many of them were answered, the others superseded."""
    before = bench.settled()
    pictures = [image(bench.number + 1 + place) for place in range(frames)]  # ahead: it takes time
    burst = [bench.ask(message=picture) for picture in pictures]
    for topic in KINDS:
        bench.answer(burst[-1], topic)

    def all_counted(said: dict[str, str]) -> bool:  # the last one after it was published
        gone = sum(int(said[key]) - before[key] for key in ('frames_out', 'dropped_superseded'))
        return gone == int(said['frames_in']) - before['frames_in'] == frames

    said = bench.ros.diagnostics(all_counted, 'that each frame was answered or superseded')
    answered = int(said['frames_out']) - before['frames_out']
    answers = bench.received['depth/image_raw'][before['frames_out'] :]
    stamps = [item.header.stamp.sec for item in answers]
    assert stamps == sorted(set(stamps)), 'answers came twice or out of order'
    assert len(stamps) == answered
    assert stamps[-1] == header(burst[-1]).stamp.sec
    return answered


def test_in_a_burst_the_newest_wins_and_the_others_are_counted(bench: Bench) -> None:
    bench.listen()
    bench.answer(bench.ask(), 'points')
    # A node that is faster than this process sends supersedes nothing; soon one burst is faster.
    assert any(burst_is_answered(bench, 25) < 25 for _ in range(20))


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'encoding': 'rbg8'}, 'encoding'),
        ({'encoding': '32FC1'}, 'encoding'),
        ({'step': 10}, 'size'),
        ({'height': 121}, 'size'),
        ({'height': 0, 'width': 0}, 'size'),
        ({'width': 4_000_000_000}, 'size'),
    ],
)
def test_wrong_images_are_counted_and_the_node_lives_on(
    bench: Bench, change: dict[str, Any], reason: str
) -> None:
    bench.listen()
    before = bench.count(f'dropped_{reason}')
    message = image(0)
    for name, value in change.items():
        setattr(message, name, value)
    number = bench.ask(message=message)
    said = bench.counted(f'dropped_{reason}', before + 1)
    assert said[f'problem_{reason}']
    after = bench.ask()
    assert_array_equal(
        pixels_of(bench.answer(after, 'depth/image_raw')),
        bench.predictor.predict(picture(after)).depth_m,
    )
    assert not bench.answers(number, 'depth/image_raw')
    assert f'frame dropped ({reason})' in bench.node.output


def test_an_uncalibrated_camera_gets_depth_but_no_cloud(bench: Bench) -> None:
    bench.listen()
    before = bench.count('dropped_uncalibrated')
    number = bench.ask(CameraInfo())
    depth = bench.answer(number, 'depth/image_raw')
    assert_array_equal(pixels_of(depth), bench.predictor.predict(picture(number)).depth_m)
    said = bench.counted('dropped_uncalibrated', before + 1)
    assert 'all-zero' in said['problem_uncalibrated']
    bench.answer(bench.ask(), 'points')
    assert not bench.answers(number, 'points')


def test_a_frame_with_an_impossible_stamp_is_answered(bench: Bench) -> None:
    bench.listen()
    message = image(0)
    message.header.stamp.sec = -5
    bench.infos.publish(camera_info(0))
    bench.images.publish(message)
    depths = bench.received['depth/image_raw']
    bench.ros.until(lambda: any(depth.header == message.header for depth in depths), 'its depth')


def test_a_camera_with_incompatible_qos_is_named(bench: Bench) -> None:
    silent = PublisherEventCallbacks(use_default_callbacks=False)
    camera = bench.ros.node.create_publisher(
        Image, '/camera/image_raw', BEST_EFFORT, event_callbacks=silent
    )
    said = 'a publisher of /camera/image_raw offers an incompatible RELIABILITY'
    bench.ros.until(lambda: said in bench.node.output, 'a warning about the QoS')
    bench.ros.node.destroy_publisher(camera)


def test_the_diagnostics_say_what_runs(bench: Bench) -> None:
    bench.listen()
    bench.answer(bench.ask(), 'points')
    said = bench.ros.diagnostics(lambda values: bool(values['latency_p50_ms']), 'a latency')
    assert said['state'] == 'active'
    assert said['backend'] == 'onnxruntime'
    assert said['model'] == 'standin'
    assert said['scale_state'] == 'metric'
    assert said['image_topic'] == '/camera/image_raw'
    assert float(said['latency_p95_ms']) >= float(said['latency_p50_ms']) > 0.0
    assert float(said['queue_age_p50_ms']) >= 0.0
