# SPDX-License-Identifier: Apache-2.0
"""Two cameras of different sizes and rates in one live node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from numpy.testing import assert_allclose
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from depth_core.errors import ConfigError
from depth_core.runtime import Predictor
from depth_ros.settings import settings_from
from test.depth_ros.ros_processes import RosSession, ros_session
from test.depth_ros.sample_messages import camera_info, header, image, picture, pixels_of
from test.standin import write_standin_onnx

SIZES = {'front': (120, 160), 'rear': (90, 200)}


class Camera:
    """A camera of the robot, and what the node says of it."""

    def __init__(self, ros: RosSession, name: str) -> None:
        self.ros, self.name = ros, name
        self.height, self.width = SIZES[name]
        self.number = 0
        self.depths: list[Image] = ros.collect(Image, f'/{name}/depth/image_raw')
        self.infos: list[CameraInfo] = ros.collect(CameraInfo, f'/{name}/depth/camera_info')
        self.images = ros.publisher(Image, f'/{name}/image')
        self.calibrations = ros.publisher(CameraInfo, f'/{name}/camera_info')

    def send(self) -> int:
        """Send a frame, rear ones with stamps of their own; its number."""
        self.number += 1
        number = self.number + (500 if self.name == 'rear' else 0)
        info = camera_info(number, height=self.height, width=self.width)
        self.calibrations.publish(info)
        message = image(number, picture(number, height=self.height, width=self.width))
        message.header.frame_id = info.header.frame_id = f'{self.name}_optical_frame'
        self.images.publish(message)
        return number

    def stamps(self) -> list[int]:
        return [depth.header.stamp.sec - 1000 for depth in self.depths]

    def answered(self, number: int) -> None:
        """Wait for the depth of a frame, and its camera_info, which may come after it."""
        self.ros.until(lambda: number in self.stamps(), f'depth of {self.name} {number}')
        stamp = header(number).stamp
        self.ros.until(
            lambda: any(info.header.stamp == stamp for info in self.infos), 'its camera_info'
        )

    def answers_again(self) -> None:
        """Send frames until one is answered, with its camera_info."""
        before = len(self.infos)
        self.ros.until(lambda: self.send() > 0 and len(self.infos) > before, 'depth again')

    def has_counted_all(self) -> None:
        """Wait until each frame that came is counted: one is after it was published."""

        def accept(said: dict[str, str]) -> bool:
            gone = int(said['frames_out']) + int(said['frames_dropped'])
            return said['name'] == f'mono_depth/{self.name}' and gone == int(said['frames_in'])

        self.ros.diagnostics(accept, f'that {self.name} has counted all')

    def says(self, **values: str) -> dict[str, str]:
        def accept(said: dict[str, str]) -> bool:
            mine = said['name'] == f'mono_depth/{self.name}'
            return mine and all(said.get(key) == value for key, value in values.items())

        return self.ros.diagnostics(accept, f'{values} of {self.name}')


class Robot:
    """A node with two cameras."""

    def __init__(self, ros: RosSession, *, batch: int) -> None:
        self.ros = ros
        model = write_standin_onnx(ros.folder / 'standin.onnx', batch=batch)
        self.node = ros.start(
            *('-m', 'depth_ros.mono_depth_node', '--ros-args'),
            *('-p', f'model:={model}', '-p', 'backend:=onnxruntime', '-p', 'threads:=1'),
            *('-p', "cameras:=['front', 'rear']", '-p', 'input_reliability:=reliable'),
            *('-p', 'diagnostics_period_s:=0.1', '-p', 'max_age_s:=0.0'),
            *('-r', 'front/sparse_depth:=/lidar/depth', '-r', 'rear/sparse_depth:=/lidar/depth'),
        )
        self.predictor = Predictor.open(model, backend='onnxruntime', threads=1)
        self.cameras = {name: Camera(ros, name) for name in SIZES}
        for camera in self.cameras.values():
            camera.says(outputs_wanted='depth/camera_info depth/image_raw')
            camera.answers_again()


@pytest.fixture(scope='module', params=[0, 1], ids=['batches', 'one_by_one'])
def robot(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with ros_session(tmp_path_factory.mktemp('cameras')) as ros:
        yield Robot(ros, batch=request.param)


@pytest.mark.ros
def test_each_camera_gets_its_own_depth(robot: Robot) -> None:
    front, rear = robot.cameras.values()
    last = {}
    for place in range(6):  # three of one while the other sends one
        last[front.name] = front.send()
        if place % 3 == 0:
            last[rear.name] = rear.send()
        front.answered(last[front.name])
    rear.answered(last[rear.name])
    for camera in (front, rear):
        number = last[camera.name]
        wanted = header_of(camera, number)
        depth = next(depth for depth in camera.depths if depth.header == wanted)
        seen = picture(number, height=camera.height, width=camera.width)
        assert_allclose(pixels_of(depth), robot.predictor.predict(seen).depth_m, rtol=1e-5)
        info = next(info for info in camera.infos if info.header == wanted)
        assert (info.height, info.width) == SIZES[camera.name]
        assert info.k[0] == camera.width
    assert len(front.depths) >= 6
    assert all(stamp > 500 for stamp in rear.stamps())
    assert all(stamp < 500 for stamp in front.stamps())


def header_of(camera: Camera, number: int) -> Any:
    expected = header(number)
    expected.frame_id = f'{camera.name}_optical_frame'
    return expected


@pytest.mark.ros
def test_a_bad_frame_and_silence_are_those_of_one_camera(robot: Robot) -> None:
    front, rear = robot.cameras.values()
    front.has_counted_all()
    before = int(front.says()['frames_out'])
    front.answered(front.send())
    bad = image(7)
    bad.encoding = 'nothing'
    already = int(rear.says()['dropped_encoding'])
    rear.images.publish(bad)
    said = rear.says(dropped_encoding=str(already + 1))
    assert "'nothing'" in said['problem_encoding']
    said = front.says(frames_out=str(before + 1))
    assert said['dropped_encoding'] == '0'
    # rear stops here, and front goes on
    for _ in range(3):
        front.answered(front.send())
    said = robot.ros.diagnostics(
        lambda said: said['name'] == 'mono_depth/rear' and 'no image for' in said['message'],
        'that rear is silent',
    )
    assert '/rear/image' in said['message']
    front.answered(front.send())
    assert front.says(frames_out=str(before + 5))['image_topic'] == '/front/image'
    rear.answered(rear.send())


@pytest.mark.ros
def test_lifecycle_statistics_and_parameters_are_those_of_the_node(robot: Robot) -> None:
    front, rear = robot.cameras.values()
    for camera in (front, rear):  # so that no frame sent earlier is counted after the reset
        camera.answered(camera.send())
        camera.has_counted_all()
    done = robot.ros.call(Trigger, '/mono_depth/reset_statistics', Trigger.Request())
    assert done.success
    for camera in (front, rear):
        camera.says(frames_out='0')
    asked = GetParameters.Request(names=['cameras'])
    answer = robot.ros.call(GetParameters, '/mono_depth/get_parameters', asked)
    assert answer.values[0].string_value == 'front,rear'
    assert robot.ros.change_state('mono_depth', 'deactivate')
    assert robot.ros.change_state('mono_depth', 'activate'), robot.node.output
    for camera in (front, rear):
        camera.answers_again()


def test_namespaces_are_checked() -> None:
    assert settings_from({'cameras': 'front, /robot/rear'}).cameras.names == (
        'front',
        '/robot/rear',
    )
    assert settings_from({'cameras': []}).cameras.names == ('',)
    for value, said in (
        ('front,2nd', "'2nd' is no namespace"),
        (['a', '/a'], 'names a more than once'),
        (' ,', "cameras = ' ,' names no camera; give namespaces"),
        ([1, 2], 'is of type list; give a string'),
        ('front camera', "'front camera' is no namespace"),
    ):
        with pytest.raises(ConfigError, match=said):
            settings_from({'cameras': value})
