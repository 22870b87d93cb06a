# SPDX-License-Identifier: Apache-2.0
"""Compressed input, millimetre output, a camera without calibration, and live parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_core.runtime import Predictor
from depth_ros.messages.conversions import millimetres
from depth_ros.parameters import descriptor
from depth_ros.settings import PARAMETERS
from test.depth_ros.ros_processes import BEST_EFFORT, RosSession, ros_session
from test.depth_ros.sample_messages import (
    camera_info,
    compressed_image,
    header,
    picture,
    pixels_of,
)
from test.standin import write_standin_onnx

pytestmark = pytest.mark.ros


class Compressed:
    """A node on compressed images, with its listeners of depth."""

    def __init__(self, ros: RosSession, model: Path) -> None:
        self.ros = ros
        self.node = ros.start_node(
            'depth_ros.mono_depth_node',
            parameters={
                'model': str(model),
                'backend': 'onnxruntime',
                'image_transport': 'compressed',
                'depth_encoding': '16UC1',
                'diagnostics_period_s': 0.2,
                'cloud.color': False,
            },
            remappings={'image': '/camera/image_raw'},
        )
        self.predictor = Predictor.open(model, backend='onnxruntime', threads=1)
        self.images = ros.publisher(CompressedImage, '/camera/image_raw/compressed', BEST_EFFORT)
        self.depths = ros.outputs({'depth/image_raw': Image}, BEST_EFFORT)['depth/image_raw']
        ros.feed(lambda _: self.images.publish(compressed_image(0)), self.depths)

    def depth(self, number: int) -> np.ndarray[Any, Any]:
        """Send a picture and wait for its depth."""
        self.images.publish(compressed_image(number))
        self.ros.until(lambda: self._found(number) is not None, f'depth of picture {number}')
        return pixels_of(self._found(number))

    def _found(self, number: int) -> Any:
        return next((d for d in self.depths if d.header == header(number)), None)

    def set(self, name: str, value: ParameterValue) -> Any:
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        return self.ros.call(SetParameters, '/mono_depth/set_parameters', request).results[0]


@contextlib.contextmanager
def open_compressed(folder: Path) -> Iterator[Compressed]:
    with ros_session(folder) as ros:
        yield Compressed(ros, write_standin_onnx(folder / 'standin.onnx', max_depth=9.0))


@pytest.fixture(scope='module')
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compressed]:
    with open_compressed(tmp_path_factory.mktemp('compressed')) as compressed:
        yield compressed


def test_compressed_images_give_millimetres(compressed: Compressed) -> None:
    found = compressed.depth(1)
    expected = compressed.predictor.predict(picture(1)).depth_m
    assert found.dtype == np.uint16
    assert_array_equal(found, millimetres(expected))
    assert np.isposinf(expected).any(), 'the picture has nothing beyond the range of the model'
    assert (found[np.isposinf(expected)] == 0).all()


def test_without_camera_info_there_is_depth_and_a_reason(tmp_path: Path) -> None:
    with open_compressed(tmp_path) as compressed:  # others were given one
        clouds = compressed.ros.outputs({'points': PointCloud2})['points']
        compressed.depth(2)
        said = compressed.ros.diagnostics(lambda v: int(v['dropped_no_camera_info']) > 0, 'why')
    assert '/camera_info' in said['problem_no_camera_info']
    assert not clouds


DAMAGES = ('cut', 'noise', 'empty', 'zeros', 'depth', 'huge')


@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged_images_are_counted_and_the_node_lives_on(
    compressed: Compressed, damage: str
) -> None:
    key = {'depth': 'dropped_encoding', 'huge': 'dropped_size'}.get(damage, 'dropped_corrupt')
    before = int(compressed.ros.diagnostics(lambda _: True, 'anything')[key])
    message = compressed_image(0)
    if damage == 'cut':
        del message.data[len(message.data) // 2 :]
    elif damage == 'noise':
        message.data[: len(message.data)] = type(message.data)('B', b'\x55' * len(message.data))
    elif damage == 'empty':
        del message.data[:]
    elif damage == 'zeros':
        middle = len(message.data) // 2
        message.data[middle : middle + 800] = type(message.data)('B', bytes(800))
    elif damage == 'huge':  # 25 megapixels of one grey, in 25 kilobytes
        grey = cv2.imencode('.png', np.full((5000, 5000), 90, np.uint8))[1]
        message.data = type(message.data)('B', grey.tobytes())
    else:
        message.format = '32FC1; compressedDepth png'
    compressed.images.publish(message)
    compressed.ros.diagnostics(lambda v: int(v[key]) == before + 1, f'{key} + 1')
    compressed.depth(100 + DAMAGES.index(damage))


def test_bytes_after_the_end_of_an_image_cost_nothing(compressed: Compressed) -> None:
    message = compressed_image(50)
    message.data.frombytes(bytes(5000) + b'\r\n--frame\r\n')
    compressed.images.publish(message)
    compressed.ros.until(lambda: compressed._found(50) is not None, 'depth of a padded image')


def test_a_calibration_that_is_no_number_is_named(compressed: Compressed) -> None:
    infos = compressed.ros.publisher(CameraInfo, '/camera_info')
    clouds = compressed.ros.outputs({'points': PointCloud2})['points']
    info = camera_info(60)
    info.d = [float('nan')] * 5

    def named(values: dict[str, str]) -> bool:
        infos.publish(info)  # not once: the node takes it at best effort
        compressed.images.publish(compressed_image(60))
        return 'D holds nan' in values.get('problem_uncalibrated', '')

    compressed.ros.diagnostics(named, 'the number that is none')
    compressed.depth(61)
    compressed.depth(62)  # a cloud of the one before would have come by now
    assert not any(cloud.header == header(61) for cloud in clouds)


def test_filters_can_be_changed_while_the_node_runs(compressed: Compressed) -> None:
    infos = compressed.ros.publisher(CameraInfo, '/camera_info')
    clouds = compressed.ros.outputs({'points': PointCloud2})['points']

    def send(number: int) -> None:
        infos.publish(camera_info(number))
        compressed.images.publish(compressed_image(number))

    def points(number: int) -> PointCloud2:
        compressed.depth(number)
        compressed.ros.until(
            lambda: any(cloud.header == header(number) for cloud in clouds), 'its cloud'
        )
        return clouds[-1]

    assert compressed.ros.feed(send, clouds).width == 160
    value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=4)
    assert compressed.set('cloud.stride', value).successful
    thinned = points(1011)
    assert (thinned.height, thinned.width, thinned.point_step) == (30, 40, 12)
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=1.0)
    assert compressed.set('min_confidence', value).successful
    filtered = np.frombuffer(points(1012).data, np.float32)
    assert np.isnan(filtered).all()


def test_parameters_that_cannot_change_now_are_refused_with_the_reason(
    compressed: Compressed,
) -> None:
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value='32FC1')
    answer = compressed.set('depth_encoding', text)
    assert not answer.successful
    assert 'clean it up first' in answer.reason
    number = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=2.0)
    assert not compressed.set('min_confidence', number).successful
    flag = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=False)
    assert not compressed.set('autostart', flag).successful


def test_a_contradiction_is_refused_and_changes_nothing(compressed: Compressed) -> None:
    near = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=5.0)
    far = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=4.0)
    assert compressed.set('preview_near_m', near).successful
    answer = compressed.set('preview_far_m', far)
    assert not answer.successful
    assert 'preview_far_m = 4 is not above preview_near_m = 5' in answer.reason
    request = GetParameters.Request(names=['preview_far_m'])
    kept = compressed.ros.call(GetParameters, '/mono_depth/get_parameters', request)
    assert kept.values[0].double_value == 0.0
    nearer = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=3.0)
    assert compressed.set('preview_near_m', nearer).successful
    assert compressed.set('preview_far_m', far).successful


def test_every_parameter_describes_itself(compressed: Compressed) -> None:
    names = [entry.name for entry in PARAMETERS]
    request = DescribeParameters.Request(names=names)
    answer = compressed.ros.call(DescribeParameters, '/mono_depth/describe_parameters', request)
    for entry, described in zip(PARAMETERS, answer.descriptors, strict=True):
        declared = descriptor(entry)
        assert described.name == entry.name
        for item in (
            'description',
            'additional_constraints',
            'read_only',
            'integer_range',
            'floating_point_range',
        ):
            assert getattr(described, item) == getattr(declared, item), (entry.name, item)
