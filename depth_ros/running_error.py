# SPDX-License-Identifier: Apache-2.0
"""Say on the console how wrong the depth of a replayed recording is, while it plays.

The truth is read from the recording itself, so that nothing but the answers of `mono_depth` has to
come over ROS: `ros2 run depth_ros running_error BAG`, beside `play_bag`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Final

import rclpy
from sensor_msgs.msg import Image

from depth_core.data.bag.dataset import BagDataset
from depth_core.errors import DataError, run_command
from depth_core.metrics import PROTOCOLS, ErrorSums, MetricAccumulator, Protocol, find_protocol
from depth_ros.arguments import CommandParser
from depth_ros.frames.outputs import DEPTH
from depth_ros.messages.conversions import depth_from_image, nanoseconds
from depth_ros.middleware.qos import input_qos
from depth_ros.middleware.session import ros_node

_QUEUE: Final = 5


class RunningError:
    """Compares depth with the truth of a recording, by stamp."""

    def __init__(self, dataset: BagDataset, protocol: Protocol) -> None:
        self._dataset = dataset
        self._protocol = protocol
        self._places = {dataset.stamp_ns(index): index for index in range(len(dataset))}
        self._sums: list[ErrorSums] = []

    def __call__(self, message: Image) -> str | None:
        """Say how wrong a depth image is, and all so far; None where no truth is known.

        Args:
            message: Depth as the node publishes it.

        Raises:
            DataError: Its size is not that of the recorded image.
        """
        place = self._places.get(nanoseconds(message.header.stamp))
        if place is None or not self._dataset.has_depth(place):
            return None
        sample = self._dataset[place]
        score = MetricAccumulator(self._protocol).update(
            depth_from_image(message), sample.depth_m.numpy(), sample.valid.numpy()
        )
        if score.sums is None:
            return None
        self._sums.append(score.sums)
        now, mean = score.sums.metrics(), reduce(add, self._sums).metrics()
        return (
            f'image {place + 1} of {len(self._dataset)}: AbsRel {now.abs_rel:.3f}, '
            f'delta1 {now.a1:.3f}; {len(self._sums)} images so far: AbsRel {mean.abs_rel:.3f}, '
            f'RMSE {mean.rmse:.2f} m, delta1 {mean.a1:.3f}'
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command until Ctrl-C."""
    options = _parser().parse_command(arguments)
    error = RunningError(_dataset(options), find_protocol(options.protocol))
    with ros_node('running_error', arguments=arguments) as node:
        log = node.get_logger()

        def compare(message: Image) -> None:
            try:
                line = error(message)
            except DataError as problem:
                log.warning(str(problem))
            else:
                if line is not None:
                    log.info(line)

        node.create_subscription(Image, DEPTH, compare, input_qos('reliable', _QUEUE))
        rclpy.spin(node)


def _dataset(options: Namespace) -> BagDataset:
    rectified = None if options.rectified == 'auto' else options.rectified == 'yes'
    return BagDataset(
        options.bag,
        image_topic=options.image_topic,
        cloud_topic=options.cloud_topic,
        depth_topic=options.depth_topic,
        rectified=rectified,
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='depth_ros.running_error',
        description='Say how wrong the depth of a replayed recording is, while it plays.',
    )
    add = parser.add_argument
    add('bag', type=Path, help='the recording that is played')
    add('--image_topic', help='its images; the only camera when left out')
    add('--cloud_topic', help='its lidar')
    add('--depth_topic', help='its true depth, in place of lidar')
    add('--rectified', default='auto', choices=('auto', 'yes', 'no'), help='whether images are')
    add('--protocol', default='none', choices=sorted(PROTOCOLS), help='which pixels are scored')
    return parser


if __name__ == '__main__':
    run_command(main)
