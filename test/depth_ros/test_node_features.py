# SPDX-License-Identifier: Apache-2.0
"""Rectified, scaled, filtered, sized and limited outputs of one live node, set up in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from nav_msgs.msg import Odometry
from numpy.testing import assert_allclose, assert_array_equal
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

from depth_core.data.bag.frame_tree import pose_matrix
from depth_core.geometry import transform, unproject
from depth_core.runtime import Predictor
from depth_ros.messages.camera_info import intrinsics_of
from depth_ros.messages.conversions import image_message
from test.depth_ros.robot import parameter_value
from test.depth_ros.ros_processes import RELIABLE, RosSession, ros_session
from test.depth_ros.sample_messages import camera_info, cloud, header, image, picture, pixels_of
from test.standin import write_standin_onnx

pytestmark = pytest.mark.ros

KINDS: dict[str, Any] = {
    'depth/image_raw': Image,
    'depth/camera_info': CameraInfo,
    'confidence/image_raw': Image,
    'points': PointCloud2,
}
DEFAULTS: dict[str, Any] = {
    'rectify': 'auto',
    'output_size': 'camera',
    'policy': 'newest',
    'scale_source': 'none',
    'scale.camera_height_m': 0.0,
    'scale.factor': 1.0,
    'scale.lidar_to_camera': '',
    'depth.min_m': 0.0,
    'depth.max_m': 0.0,
    'depth.min_confidence': 0.0,
    'depth.upsampling': 'bilinear',
    'cloud.organized': True,
    'rate.depth_hz': 0.0,
    'rate.points_hz': 0.0,
}


class Robot:
    """A node, its camera, what is measured beside it, and everything it publishes."""

    def __init__(self, ros: RosSession) -> None:
        self.ros = ros
        self.model = write_standin_onnx(ros.folder / 'standin.onnx')
        self.node = ros.start_node(
            'depth_ros.mono_depth_node',
            parameters={
                'model': str(self.model),
                'autostart': False,
                'backend': 'onnxruntime',
                'threads': 1,
                'diagnostics_period_s': 0.1,
                'input_reliability': 'reliable',
                'queue_depth': 4,
            },
        )
        self.predictor = Predictor.open(self.model, backend='onnxruntime', threads=1)
        self.number = 0

    def set(self, **values: Any) -> list[str]:
        """Set parameters; why each that was refused was."""
        request = SetParameters.Request(
            parameters=[
                Parameter(name=name.replace('__', '.'), value=parameter_value(value))
                for name, value in values.items()
            ]
        )
        answer = self.ros.call(SetParameters, '/mono_depth/set_parameters', request)
        return [result.reason for result in answer.results if not result.successful]

    @contextlib.contextmanager
    def serving(self, *topics: str, **values: Any) -> Iterator[dict[str, list[Any]]]:
        """Serve with these parameters; what is published on `topics`."""
        chosen = DEFAULTS | {name.replace('__', '.'): value for name, value in values.items()}
        assert self.set(**chosen) == []
        assert self.ros.change_state('mono_depth', 'configure'), self.node.output
        assert self.ros.change_state('mono_depth', 'activate'), self.node.output
        self.images = self.ros.publisher(Image, '/image')
        self.infos = self.ros.publisher(CameraInfo, '/camera_info')
        kinds = {topic: KINDS[topic] for topic in topics or tuple(KINDS)}
        try:
            yield self.ros.outputs(kinds)
        finally:
            self._leave()

    def _leave(self) -> None:
        node = self.ros.node
        for publisher in list(node.publishers):
            if publisher.topic_name in {'/image', '/camera_info'}:
                node.destroy_publisher(publisher)
        for subscription in list(node.subscriptions):
            if subscription.topic_name.lstrip('/') in KINDS:
                node.destroy_subscription(subscription)
        assert self.ros.change_state('mono_depth', 'deactivate')
        assert self.ros.change_state('mono_depth', 'cleanup')

    def ask(self, info: CameraInfo | None = None, *, pixels: Any = None) -> int:
        """Send a frame with its camera_info; its number."""
        self.number += 1
        info = info or camera_info(self.number)
        info.header = header(self.number)
        self.infos.publish(info)
        message = image(self.number, pixels)
        self.images.publish(message)
        return self.number

    def answer(self, found: dict[str, list[Any]], topic: str, number: int) -> Any:
        stamp = header(number).stamp

        def there() -> list[Any]:
            return [item for item in found[topic] if item.header.stamp == stamp]

        self.ros.until(lambda: bool(there()), f'{topic} of frame {number}')
        return there()[0]

    def said(self, **values: str) -> dict[str, str]:
        return self.ros.diagnostics(
            lambda said: all(said.get(key) == value for key, value in values.items()), str(values)
        )


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with ros_session(tmp_path_factory.mktemp('features')) as ros:
        yield Robot(ros)


def barrel() -> CameraInfo:
    """A lens that bends lines, of the camera of `camera_info`."""
    info = camera_info(0)
    info.d = [-0.2, 0.03, 0.001, -0.001, 0.0]
    return info


def test_a_raw_image_is_rectified_and_the_outputs_are_of_that_view(robot: Robot) -> None:
    with robot.serving('depth/image_raw', 'depth/camera_info') as found:
        number = robot.ask(barrel())
        info = robot.answer(found, 'depth/camera_info', number)
        depth = pixels_of(robot.answer(found, 'depth/image_raw', number))
        robot.said(rectification='rectified, plumb_bob', frames_out='1')
    assert_array_equal(info.d, np.zeros(5))
    assert_allclose(info.k, camera_info(0).k)
    raw = robot.predictor.predict(picture(number)).depth_m
    # The middle of a lens is not bent; a corner of the view lies further in on the sensor.
    assert_allclose(depth[60, 80], raw[60, 80], rtol=0.02)
    assert not np.allclose(depth, raw, rtol=0.02, equal_nan=True)
    with robot.serving('depth/image_raw', rectify='off') as found:
        number = robot.ask(barrel())
        depth = pixels_of(robot.answer(found, 'depth/image_raw', number))
        assert_array_equal(depth, robot.predictor.predict(picture(number)).depth_m)


def test_rectify_on_drops_what_cannot_be_rectified(robot: Robot) -> None:
    with robot.serving('depth/image_raw', rectify='on') as found:
        unknown = barrel()
        unknown.distortion_model = 'cylinder'
        robot.ask(unknown)
        said = robot.said(dropped_distortion_model='1')
        assert "'cylinder'" in said['problem_distortion_model']
        assert not found['depth/image_raw']


def test_size_filters_and_dense_cloud(robot: Robot) -> None:
    filtered = {'depth__max_m': 8.0, 'depth__min_m': 4.0}
    with robot.serving(output_size='80', cloud__organized=False, **filtered) as found:
        number = robot.ask()
        depth = pixels_of(robot.answer(found, 'depth/image_raw', number))
        info = robot.answer(found, 'depth/camera_info', number)
        cloud = robot.answer(found, 'points', number)
        assert robot.set(depth__min_confidence=1.0) == []
        assert 'depth.max_m' in robot.set(depth__max_m=3.0)[0]
        assert 'is active' in robot.set(output_size='network')[0]
        assert robot.set(depth__min_m=0.0, depth__max_m=0.0) == []
        number = robot.ask()
        none = pixels_of(robot.answer(found, 'depth/image_raw', number))
        said = robot.said(valid_fraction='0.000', level='2')
        assert 'depth.min_confidence' in said['message']
    assert depth.shape == (60, 80) == (info.height, info.width)
    assert_allclose(info.k[[0, 2]], [80.0, 39.5])
    inside = np.isfinite(depth)
    assert inside.any()
    assert np.isposinf(depth).any()
    assert np.isneginf(depth).any()
    assert depth[inside].min() >= 4.0
    assert depth[inside].max() <= 8.0
    assert (cloud.height, cloud.is_dense) == (1, True)
    points = np.frombuffer(cloud.data, np.float32).reshape(cloud.width, -1)
    assert 0 < cloud.width <= inside.sum()
    assert np.isfinite(points[:, :3]).all()
    assert np.isnan(none).all()
    with robot.serving('depth/image_raw', 'depth/camera_info', output_size='network') as found:
        number = robot.ask()
        assert pixels_of(robot.answer(found, 'depth/image_raw', number)).shape == (64, 96)
        info = robot.answer(found, 'depth/camera_info', number)
        assert_allclose(info.k[[0, 4]], [160.0 * 96 / 160, 160.0 * 64 / 120])


def test_limits_hold_by_the_stamps_of_images(robot: Robot) -> None:
    topics = 'depth/image_raw', 'points'
    with robot.serving(*topics, rate__depth_hz=0.5, rate__points_hz=0.2) as found:
        numbers = [robot.ask()]
        robot.answer(found, 'points', numbers[0])
        for _ in range(10):  # one a second
            numbers.append(robot.ask())
            robot.ros.diagnostics(
                lambda said: (
                    int(said['frames_out']) + int(said['dropped_rate_limited']) == len(numbers)
                ),
                'that each frame was answered or not due',
            )
        for topic in topics:
            robot.answer(found, topic, numbers[-1])
        depths = [item.header.stamp.sec - 1000 for item in found['depth/image_raw']]
        clouds = [item.header.stamp.sec - 1000 for item in found['points']]
    assert depths == numbers[::2]
    assert clouds == numbers[::5]


def test_every_frame_is_answered_in_turn(robot: Robot) -> None:
    with robot.serving('depth/image_raw', policy='every') as found:
        numbers = [robot.ask() for _ in range(40)]
        robot.answer(found, 'depth/image_raw', numbers[-1])
        stamps = [item.header.stamp.sec - 1000 for item in found['depth/image_raw']]
        assert robot.said(frames_out='40')['dropped_superseded'] == '0'
        done = robot.ros.call(Trigger, '/mono_depth/reset_statistics', Trigger.Request())
        assert done.success
        assert robot.said(frames_in='0')['frames_out'] == '0'
        done = robot.ros.call(Trigger, '/mono_depth/reset_scale', Trigger.Request())
        assert not done.success
        assert 'scale_source' in done.message
    assert stamps == numbers


def test_sparse_depth_corrects_a_metric_model_and_is_held(robot: Robot) -> None:
    sparse = robot.ros.node.create_publisher(Image, '/sparse_depth', 10)
    scales: list[Float64] = []  # asked for before the node is configured: it misses none
    robot.ros.node.create_subscription(Float64, '/scale', scales.append, RELIABLE)
    with robot.serving('depth/image_raw', scale_source='sparse_depth') as found:
        robot.ros.until(lambda: sparse.get_subscription_count() > 0, 'a subscriber of depth')
        robot.ask()
        said = robot.said(dropped_no_scale='1')
        assert (said['scale_tracking'], said['scale_factor']) == ('waiting', '')
        measured = np.full((120, 160), np.nan, np.float32)
        number = robot.number + 1
        measured[::6, ::8] = 1.5 * robot.predictor.predict(picture(number)).depth_m[::6, ::8]
        sparse.publish(image_message(measured, '32FC1', header(number)))
        robot.ask()
        depth = pixels_of(robot.answer(found, 'depth/image_raw', number))
        assert_allclose(depth, 1.5 * robot.predictor.predict(picture(number)).depth_m, rtol=1e-4)
        held = robot.ask()  # nothing measured at that time
        robot.answer(found, 'depth/image_raw', held)
        said = robot.said(scale_tracking='held')
        assert float(said['scale_factor']) == pytest.approx(1.5, rel=1e-4)
        assert float(said['scale_age_s']) >= 1.0
        robot.ros.until(lambda: len(scales) >= 3, 'three scales')
        assert robot.ros.call(Trigger, '/mono_depth/reset_scale', Trigger.Request()).success
        robot.ask()
        assert robot.said(dropped_no_scale='2')['scale_tracking'] == 'waiting'
    assert np.isnan(scales[0].data)
    assert_allclose([scales[1].data, scales[2].data], 1.5, rtol=1e-4)


def test_the_points_of_a_lidar_correct_a_metric_model(robot: Robot) -> None:
    points = robot.ros.node.create_publisher(PointCloud2, '/lidar_points', 10)
    place_m, turn = (0.1, -0.4, 0.2), (0.5, -0.5, 0.5, 0.5)  # x ahead, beside the camera
    pose = ' '.join(map(str, place_m + turn))
    given = {'scale_source': 'lidar', 'scale__lidar_to_camera': pose}
    with robot.serving('depth/image_raw', **given) as found:
        robot.ros.until(lambda: points.get_subscription_count() > 0, 'a subscriber of points')
        number = robot.number + 1
        depth_m = robot.predictor.predict(picture(number)).depth_m
        camera = intrinsics_of(camera_info(number), rectified=True)
        seen_m = unproject(1.5 * depth_m, camera)[::6, ::8].reshape(-1, 3)
        from_camera = np.linalg.inv(pose_matrix(place_m, turn))
        points.publish(cloud(number, transform(seen_m, from_camera).astype(np.float32)))
        robot.ask()
        answered = pixels_of(robot.answer(found, 'depth/image_raw', number))
        assert_allclose(answered, 1.5 * depth_m, rtol=1e-4)
        assert robot.said(scale_tracking='valid')['scale_state'] == 'metric, by lidar'


def test_fixed_factor_and_bad_values(robot: Robot) -> None:
    with robot.serving('depth/image_raw', scale_source='fixed', scale__factor=2.0) as found:
        number = robot.ask()
        depth = pixels_of(robot.answer(found, 'depth/image_raw', number))
    assert_allclose(depth, 2.0 * robot.predictor.predict(picture(number)).depth_m)
    for values, said in (
        ({'output_size': 'half'}, "output_size = 'half' is no size; give camera or network"),
        ({'output_size': '8'}, 'from 16 to 16384'),
        ({'rectify': 'maybe'}, 'Known: auto, off, on'),
        ({'policy': 'all'}, 'Known: every, newest'),
        ({'scale__factor': 0.0}, 'scale.factor out of range'),
        ({'scale_source': 'ground_plane'}, 'scale.camera_height_m is 0'),
        ({'scale__lidar_to_camera': '0 0 0', 'scale_source': 'lidar'}, 'seven finite numbers'),
        ({'rate__depth_hz': -1.0}, 'rate.depth_hz out of range'),
    ):
        (reason,) = robot.set(**values)
        assert said in reason, reason


def wall_seen_from(place: int) -> Any:
    """A wall 10 m away; at each place the camera is 0.5 m further to the right.

    Its red and green add up to one tone, which the stand-in puts at 7 m everywhere.
    """
    noise = np.random.default_rng(3).uniform(-1.0, 1.0, (20, 54)).astype(np.float32)
    wall = cv2.resize(noise, (324, 120), interpolation=cv2.INTER_CUBIC)
    moved_px = 8 * place  # 160 px of focal length times 0.5 m at 10 m
    seen = 100.0 * wall[:, moved_px : moved_px + 160].clip(-1.0, 1.0)
    planes = (127.5 + seen, 127.5 - seen, np.full_like(seen, 127.5))
    return np.stack(planes, axis=-1).astype(np.uint8)


def test_speed_gives_a_scale(robot: Robot) -> None:
    odometry = robot.ros.node.create_publisher(Odometry, '/odometry', 10)
    with robot.serving('depth/image_raw', scale_source='speed', policy='every') as found:
        robot.ros.until(lambda: odometry.get_subscription_count() > 0, 'a subscriber of odometry')
        for place in range(12):  # odometry may find the node later than images do
            for quarter in (0.25, 0.5, 0.75, 1.0):  # of the second up to the image
                message = Odometry(header=header(robot.number))
                nanoseconds = message.header.stamp.nanosec + round(1e9 * quarter)
                message.header.stamp.sec += nanoseconds // 1_000_000_000
                message.header.stamp.nanosec = nanoseconds % 1_000_000_000
                message.twist.twist.linear.x = 0.5
                odometry.publish(message)
            robot.ask(pixels=wall_seen_from(place))
            robot.said(frames_in=str(place + 1))
        robot.ros.until(lambda: bool(found['depth/image_raw']), 'depth')
        said = robot.said(scale_tracking='valid')
        assert int(said['scale_points']) >= 40
        assert float(said['scale_residual']) < 0.2
        assert float(said['scale_factor']) == pytest.approx(10.0 / 7.0, rel=0.1)
        assert said['scale_state'] == 'metric, by speed'


def ground_seen_from(height_units: float) -> Any:
    """Level ground up to 12 units away, seen from so far above it, in what the stand-in answers.

    A row v below the horizon sees it at 160 px times the height over (v - 59.5).
    """
    rows = np.maximum(np.arange(120) - 59.5, 1e-3)
    depth = np.minimum(160.0 * height_units / rows, 12.0)
    grey = np.round((depth - 2.0) * 25.5).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey[:, None, None], (120, 160, 3)))


def test_the_ground_gives_a_scale(robot: Robot) -> None:
    values = {'scale_source': 'ground_plane', 'scale__camera_height_m': 1.5, 'policy': 'every'}
    assert robot.set(scale__camera_height_m=1.5) == [], 'ground_plane is refused without it'
    with robot.serving('depth/image_raw', **values) as found:
        pixels = ground_seen_from(1.0)
        for place in range(6):
            number = robot.ask(pixels=pixels)
            robot.said(frames_in=str(place + 1))
        depth = pixels_of(robot.answer(found, 'depth/image_raw', number))
        said = robot.said(scale_tracking='valid', scale_state='metric, by ground_plane')
    assert float(said['scale_factor']) == pytest.approx(1.5, rel=0.05)
    alone = robot.predictor.predict(pixels).depth_m
    assert_allclose(depth, float(said['scale_factor']) * alone, rtol=0.02)


def test_without_a_clock_the_diagnostics_go_on_and_say_so(robot: Robot) -> None:
    with robot.serving('depth/image_raw') as found:
        assert robot.set(use_sim_time=True) == []
        try:
            number = robot.ask()
            robot.answer(found, 'depth/image_raw', number)

            def stands(said: dict[str, str]) -> bool:
                robot.ask()  # a camera that is silent is what would be said
                return 'no time came on /clock' in said['message']

            said = robot.ros.diagnostics(stands, 'that time stands still')
            assert said['level'] == '1'
            assert 'use_sim_time is true' in said['message']
        finally:
            assert robot.set(use_sim_time=False) == []
