# SPDX-License-Identifier: Apache-2.0
"""Say on the console how wrong the depth of a replayed recording is, while it plays.

The truth is read from the recording itself, so that nothing but the answers of `mono_depth` has to
come over ROS: `ros2 run depth_ros running_error BAG`, beside `play_bag`.
"""

from __future__ import annotations

import contextlib
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import rclpy
from sensor_msgs.msg import Image

from depth_core.data.bag.dataset import BagDataset
from depth_core.errors import DataError, run_command
from depth_core.metrics import PROTOCOLS, find_protocol
from depth_ros.arguments import CommandParser
from depth_ros.evaluate_bag.running import RunningError
from depth_ros.frames.outputs import DEPTH
from depth_ros.middleware.process import SIGNAL_CHECK_S
from depth_ros.middleware.qos import input_qos
from depth_ros.middleware.session import leave_at_once, ros_node, signals_held

_QUEUE: Final = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command until Ctrl-C."""
    options = _parser().parse_command(arguments)
    with contextlib.suppress(KeyboardInterrupt):  # its usual end
        _compare(options, arguments)


def _compare(options: Namespace, arguments: Sequence[str] | None) -> NoReturn:
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

        with signals_held():
            node.create_subscription(Image, DEPTH, compare, input_qos('reliable', _QUEUE))
        try:
            while True:  # a signal does not end a wait for messages
                with signals_held():
                    rclpy.spin_once(node, timeout_sec=SIGNAL_CHECK_S)
        finally:
            sys.stdout.write(f'{error.total()}\n')


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


def run() -> None:
    """Run the command as the process that it then ends."""
    main()
    leave_at_once()


if __name__ == '__main__':
    run_command(run)
