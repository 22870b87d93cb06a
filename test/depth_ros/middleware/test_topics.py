# SPDX-License-Identifier: Apache-2.0
"""Names of transports beside the topic of an image, with and without remapping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from rclpy.context import Context
from rclpy.node import Node

from depth_ros.middleware.topics import transport_topic
from test.depth_ros.ros_processes import domain_id_of_this_worker

pytestmark = pytest.mark.ros


@contextmanager
def a_node(*remappings: str) -> Iterator[Node]:
    """A node in the namespace /front that is never spun."""
    context = Context()
    context.init(domain_id=domain_id_of_this_worker())
    rules: Sequence[str] = [part for rule in remappings for part in ('-r', rule)]
    node = Node(
        'names',
        namespace='/front',
        context=context,
        cli_args=['--ros-args', *rules] if rules else None,
        use_global_arguments=False,
        enable_rosout=False,
    )
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_a_transport_lies_beside_its_image_wherever_that_is() -> None:
    with a_node() as node:
        assert transport_topic(node, 'depth/image_raw', 'raw') == '/front/depth/image_raw'
        assert (
            transport_topic(node, 'depth/color', 'compressed') == '/front/depth/color/compressed'
        )
    with a_node('depth/image_raw:=/robot/depth') as node:
        found = transport_topic(node, 'depth/image_raw', 'compressedDepth')
        assert found == '/robot/depth/compressedDepth'


def test_a_transport_that_is_remapped_itself_stays_there() -> None:
    with a_node('image:=/camera/image', 'image/compressed:=/elsewhere') as node:
        assert transport_topic(node, 'image', 'raw') == '/camera/image'
        assert transport_topic(node, 'image', 'compressed') == '/elsewhere'
