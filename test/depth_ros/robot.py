# SPDX-License-Identifier: Apache-2.0
"""A camera, a node that serves one model after the other, and what lies between them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import CameraInfo, Image

from test.depth_ros.ros_processes import RELIABLE, RosSession
from test.depth_ros.sample_messages import pixels_of, stamp_ns
from test.foreign_rules import Camera, Scene

HEIGHT, WIDTH = 72, 96

Measured = Callable[[Image], None]


def hold_back(_info: CameraInfo) -> None:
    """Let no camera_info reach the node."""


def relay_all(info: CameraInfo) -> CameraInfo:
    """Let every camera_info reach it as it is."""
    return info


def measure_nothing(_image: Image) -> None:
    """Publish no depth of another sensor."""


def parameter_value(value: str | float | bool) -> ParameterValue:
    """A value of the type it has in Python."""
    if isinstance(value, bool):
        return ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    if isinstance(value, str):
        return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)


class Robot:
    """A camera, a node that serves one model after the other, and what lies between them."""

    def __init__(self, ros: RosSession) -> None:
        self.ros = ros
        ros.start_node(
            'depth_ros.synthetic_camera',
            arguments=(
                *('--height', str(HEIGHT), '--width', str(WIDTH), '--rate_hz', '8'),
                *('--frames', '2', '--scene', 'outdoor'),
            ),
        )
        self.node = ros.start_node(
            'depth_ros.mono_depth_node',
            parameters={
                'autostart': False,
                'backend': 'onnxruntime',
                'threads': 1,
                'diagnostics_period_s': 0.1,
                'input_reliability': 'reliable',
            },
            remappings={'image': '/camera/image_raw', 'camera_info': '/relayed/camera_info'},
        )
        self.images: dict[int, Image] = {}
        self.relay: Callable[[CameraInfo], CameraInfo | None] = hold_back
        self.measure: Measured = measure_nothing
        self.info = CameraInfo()
        self.relayed = ros.node.create_publisher(CameraInfo, '/relayed/camera_info', RELIABLE)
        self.sparse = ros.node.create_publisher(Image, '/sparse_depth', RELIABLE)
        ros.node.create_subscription(CameraInfo, '/camera/camera_info', self._on_info, RELIABLE)
        ros.node.create_subscription(Image, '/camera/image_raw', self._on_image, RELIABLE)
        ros.until(lambda: bool(self.images and self.info.width), 'pictures')

    def _on_info(self, info: CameraInfo) -> None:
        self.info = info
        relayed = self.relay(copy.deepcopy(info))
        if relayed is not None:
            self.relayed.publish(relayed)

    def _on_image(self, image: Image) -> None:
        self.images[stamp_ns(image)] = image
        self.measure(image)

    @property
    def camera(self) -> Camera:
        """The camera of the pictures."""
        fx, _, cx, _, fy, cy, *_ = self.info.k
        return Camera(height=HEIGHT, width=WIDTH, fx=fx, fy=fy, cx=cx, cy=cy)

    def set(self, **values: str | float | bool) -> None:
        """Set parameters of the unconfigured node."""
        parameters = [
            Parameter(name=name, value=parameter_value(value)) for name, value in values.items()
        ]
        request = SetParameters.Request(parameters=parameters)
        answer = self.ros.call(SetParameters, '/mono_depth/set_parameters', request)
        assert all(result.successful for result in answer.results), answer.results

    @contextlib.contextmanager
    def serving(
        self, topic: str = '/depth/image_raw', /, **values: str | float | bool
    ) -> Iterator[list[Image]]:
        """Serve a model; what it publishes as depth."""
        defaults: dict[str, str | float | bool] = {
            'assumed_hfov_deg': 0.0, 'scale_source': 'none', 'publish_relative': False,
        }  # fmt: skip
        self.set(**defaults | values)
        assert self.ros.change_state('mono_depth', 'configure'), self.node.output
        assert self.ros.change_state('mono_depth', 'activate'), self.node.output
        depths: list[Image] = []
        subscription = self.ros.node.create_subscription(Image, topic, depths.append, RELIABLE)
        try:
            yield depths
        finally:
            self.ros.node.destroy_subscription(subscription)
            assert self.ros.change_state('mono_depth', 'deactivate')
            assert self.ros.change_state('mono_depth', 'cleanup')

    def refused(self, **values: str | float | bool) -> str:
        """What the node says of a model that cannot be configured."""
        before = len(self.node.output)
        self.set(**values)
        assert not self.ros.change_state('mono_depth', 'configure')
        assert self.ros.state('mono_depth') == 'unconfigured'
        said = self.node.output[before:]
        assert 'Traceback' not in said
        return said

    def answer(
        self, depths: list[Image], *, after_ns: int = 0
    ) -> tuple[NDArray[np.float32], Scene]:
        """The latest depth, of a picture later than `after_ns`, and that picture."""
        self.ros.until(
            lambda: (
                bool(depths)
                and stamp_ns(depths[-1]) > after_ns
                and stamp_ns(depths[-1]) in self.images
            ),
            'depth of a picture',
        )
        picture = pixels_of(self.images[stamp_ns(depths[-1])])
        return pixels_of(depths[-1]), Scene(camera=self.camera, image=picture)
