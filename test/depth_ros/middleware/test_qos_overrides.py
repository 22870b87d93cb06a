# SPDX-License-Identifier: Apache-2.0
"""The QoS of each topic as the user wants it, and a calibration that is published only once."""

from __future__ import annotations

from pathlib import Path

import pytest
from rcl_interfaces.srv import ListParameters
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from depth_core.errors import ConfigError
from depth_ros.middleware.qos import input_qos
from depth_ros.middleware.qos_overrides import QosOverrides
from test.depth_ros.ros_processes import ros_session
from test.depth_ros.sample_messages import camera_info, image
from test.standin import write_standin_onnx

CAMERA = 'qos_overrides./camera/image_raw.subscription'
DEPTH = 'qos_overrides./depth/image_raw.publisher'


@pytest.mark.ros
def test_overrides_hold_and_a_latched_calibration_arrives(tmp_path: Path) -> None:
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    with ros_session(tmp_path) as ros:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        infos = ros.node.create_publisher(CameraInfo, '/camera/camera_info', latched)
        infos.publish(camera_info(1))  # once, before the node is there
        node = ros.start_node(
            'depth_ros.mono_depth_node',
            parameters={
                'model': str(model),
                'backend': 'onnxruntime',
                'diagnostics_period_s': 0.2,
                f'{CAMERA}.reliability': 'reliable',
                f'{CAMERA}.depth': 7,
                f'{DEPTH}.reliability': 'best_effort',
            },
            remappings={'image': '/camera/image_raw', 'camera_info': '/camera/camera_info'},
        )
        images = ros.publisher(Image, '/camera/image_raw')
        fitted = ros.outputs({'depth/camera_info': CameraInfo})['depth/camera_info']
        ros.feed(lambda number: images.publish(image(number)), fitted)
        assert fitted[0].k[0] == 160.0
        (taken,) = ros.node.get_subscriptions_info_by_topic('/camera/image_raw')
        assert taken.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        (given,) = ros.node.get_publishers_info_by_topic('/depth/image_raw')
        assert given.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        request = ListParameters.Request(prefixes=[], depth=0)
        listed = ros.call(ListParameters, '/mono_depth/list_parameters', request).result.names
        for policy in ('history', 'depth', 'reliability', 'durability'):
            assert f'{CAMERA}.{policy}' in listed
            assert f'{DEPTH}.{policy}' in listed
            assert f'qos_overrides./camera/camera_info.subscription.{policy}' in listed
            assert f'qos_overrides./diagnostics.publisher.{policy}' in listed
        assert 'incompatible' not in node.output


def test_only_what_is_wanted_differs_from_the_usual() -> None:
    given = {f'{CAMERA}.depth': 9, f'{CAMERA}.durability': 'transient_local', 'model': 'x'}
    usual = input_qos('best_effort', 5)
    profile = QosOverrides(given).profile('/camera/image_raw', 'subscription', usual)
    assert (profile.depth, profile.reliability) == (9, ReliabilityPolicy.BEST_EFFORT)
    assert profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert (usual.depth, usual.durability) == (5, DurabilityPolicy.VOLATILE)


@pytest.mark.parametrize(
    'given',
    [
        {'qos_overrides./camera/image_raw.publisher.depth': 3},
        {'qos_overrides./camera/image.subscription.depth': 3},
        {f'{CAMERA}.liveliness': 'automatic'},
        {f'{CAMERA}.depth': True},
        {f'{CAMERA}.depth': -1},
        {f'{CAMERA}.reliability': 'RELIABLE'},
        {f'{CAMERA}.history': 4},
        {'qos_overrides.nonsense': 1},
    ],
)
def test_overrides_that_would_do_nothing_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given))):
        QosOverrides(given).check([('/camera/image_raw', 'subscription')])
    QosOverrides({'qos_overrides./clock.subscription.depth': 1}).check([])
