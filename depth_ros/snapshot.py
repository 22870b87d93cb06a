# SPDX-License-Identifier: Apache-2.0
"""Save one picture of all that `mono_depth` publishes about one image, and say what it holds.

    ros2 run depth_ros snapshot --output snapshot.png --ros-args -r image:=/camera/image_raw
    ros2 run depth_ros snapshot --rerun snapshot.rrd --ros-args -r __ns:=/front

Names are relative, as those of the node: run it in the node's namespace. It waits for an image of
which everything has arrived; what has not when the time is over is left out, and named.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from depth_core.errors import DataError, run_command
from depth_core.names import printable
from depth_ros.arguments import CommandParser, positive
from depth_ros.frames.drops import FrameError
from depth_ros.frames.outputs import (
    CAMERA_INFO,
    CONFIDENCE,
    DEPTH,
    OUTPUTS,
    POINTS,
    PREVIEW,
    SIGMA,
)
from depth_ros.messages.conversions import nanoseconds, rgb_from_compressed, rgb_from_image
from depth_ros.middleware.qos import input_qos
from depth_ros.middleware.session import ros_node, signals_held
from depth_ros.middleware.topics import transport_topic
from depth_ros.pictures.answered import Answered, answered
from depth_ros.pictures.rerun_file import HELP, check_rerun, rerun_file

IMAGE: Final = 'image'
TOPICS: Final = {
    output.topic: output.kind
    for output in OUTPUTS
    if output.topic in (DEPTH, CAMERA_INFO, SIGMA, CONFIDENCE, PREVIEW, POINTS)
}
"""What is collected of one image, beside the image itself."""

_QUEUE_DEPTH: Final = 5
_STAMPS_KEPT: Final = 30


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _parser().parse_command(arguments)
    check_rerun(options.rerun)
    ros_arguments = None if arguments is None else ['snapshot', *arguments]
    with ros_node('snapshot', arguments=ros_arguments) as node:
        with signals_held():
            collector = Collector(node, options.image_transport)
            executor = SingleThreadedExecutor()
            executor.add_node(node)
        end_s = time.monotonic() + options.timeout_s
        while collector.complete is None and time.monotonic() < end_s:
            with signals_held():
                executor.spin_once(timeout_sec=0.05)
        executor.shutdown()
        messages = collector.best()
        answer = read(messages)
        for line in described(messages, collector.names):
            sys.stdout.write(f'{printable(line)}\n')
    write(options, answer)


class Collector:
    """Subscribes to the outputs and the image, and brings their messages together by stamp."""

    def __init__(self, node: Node, image_transport: str) -> None:
        self.complete: dict[str, Any] | None = None
        """The messages of the first image of which everything has arrived."""
        self.names = {topic: str(node.resolve_topic_name(topic)) for topic in TOPICS}
        """Resolved name of each topic."""
        self.names[IMAGE] = transport_topic(node, IMAGE, image_transport)
        self._node = node
        self._by_stamp: OrderedDict[int, dict[str, Any]] = OrderedDict()
        image = CompressedImage if image_transport == 'compressed' else Image
        qos = input_qos('best_effort', _QUEUE_DEPTH)
        for topic, kind in {IMAGE: image, **TOPICS}.items():
            node.create_subscription(kind, self.names[topic], self._keeper(topic), qos)

    def best(self) -> dict[str, Any]:
        """The messages of the image of which most has arrived, depth among it.

        Raises:
            DataError: No depth has arrived at all.
        """
        if self.complete is not None:
            return self.complete
        with_depth = [found for found in self._by_stamp.values() if DEPTH in found]
        if not with_depth:
            raise DataError(self._nothing_came())
        return max(with_depth, key=len)

    def _keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:  # noqa: ANN401 each topic has its own class
            found = self._by_stamp.setdefault(nanoseconds(message.header.stamp), {})
            found[topic] = message
            if len(found) == len(self.names) and self.complete is None:
                self.complete = found
            while len(self._by_stamp) > _STAMPS_KEPT:
                self._by_stamp.popitem(last=False)

        return keep

    def _nothing_came(self) -> str:
        counts = ', '.join(
            f'{name} has {self._node.count_publishers(name)}' for name in self.names.values()
        )
        return (
            f'no depth came on {self.names[DEPTH]}. Publishers: {counts}. Compare names and '
            'ROS_DOMAIN_ID, give the namespace of the node with --ros-args -r __ns:=/name, and '
            'look at /diagnostics, or wait longer with --timeout_s.'
        )


def read(messages: dict[str, Any]) -> Answered:
    """Read the messages of one image.

    Raises:
        DataError: One contradicts itself.
    """
    image = messages.get(IMAGE)
    decode = rgb_from_compressed if isinstance(image, CompressedImage) else rgb_from_image
    try:
        return answered(messages, image=None if image is None else decode(image))
    except FrameError as error:
        message = f'a message cannot be read: {error}'
        raise DataError(message) from error


def described(messages: dict[str, Any], names: dict[str, str]) -> list[str]:
    """Say of each topic what its message holds, or that there was none."""
    answer = read(messages)
    depth_m = answer.depth_m[np.isfinite(answer.depth_m)]
    facts = {
        DEPTH: f'{_part(answer.depth_m)} known, {_span(depth_m)} m',
        SIGMA: '' if answer.sigma_m is None else f'{_span(answer.sigma_m)} m',
        CONFIDENCE: '' if answer.confidence is None else _span(answer.confidence),
        POINTS: '' if answer.points_m is None else f'{len(answer.points_m)} finite points',
    }
    lines = []
    for topic, name in names.items():
        message = messages.get(topic)
        if message is None:
            hint = ' (--image_transport says how the camera sends it)' if topic == IMAGE else ''
            lines.append(f'{name}: nothing came{hint}')
            continue
        size = f'{message.width}x{message.height}' if hasattr(message, 'width') else ''
        form = getattr(message, 'encoding', '') or getattr(message, 'format', '')
        told = ' '.join(filter(None, (size, form)))
        lines.append(f'{name}: {", ".join(filter(None, (told, facts.get(topic))))}')
    return lines


def write(options: Namespace, answer: Answered) -> None:
    """Write the picture, and the file for Rerun when it was asked for.

    Raises:
        DepthError: One cannot be written.
    """
    from depth_ros.pictures.picture import draw_answer  # noqa: PLC0415 a second of imports, not before

    stamp_s = answer.stamp_ns * 1e-9
    draw_answer(answer, title=f'mono_depth, stamp {stamp_s:.3f} s', path=options.output)
    sys.stdout.write(f'picture: {printable(options.output)}\n')
    with rerun_file(options.rerun) as add:
        if add is not None:
            add(answer)
    if options.rerun is not None:
        sys.stdout.write(f'rerun: {printable(options.rerun)}\n')


def _part(values: Any) -> str:  # noqa: ANN401 array
    return f'{100.0 * float(np.isfinite(values).mean()):.0f} %'


def _span(values: Any) -> str:  # noqa: ANN401 array
    known = values[np.isfinite(values)]
    if not known.size:
        return 'none'
    low, middle, high = np.percentile(known, (1, 50, 99))
    return f'{low:.3g} to {high:.3g}, median {middle:.3g}'


def _parser() -> CommandParser:
    parser = CommandParser(prog='depth_ros.snapshot', description=__doc__.split('\n', 1)[0])
    add = parser.add_argument
    add('--output', type=Path, default=Path('snapshot.png'), help='the picture, a PNG')
    add('--rerun', type=Path, metavar='FILE', help=HELP)
    add('--timeout_s', type=positive, default=10.0, help='longest wait for all of an image, s')
    add(
        '--image_transport',
        choices=('raw', 'compressed'),
        default='raw',
        help='how the camera sends the image',
    )
    return parser


if __name__ == '__main__':
    run_command(main)
