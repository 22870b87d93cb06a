# SPDX-License-Identifier: Apache-2.0
"""Publish rendered images of a moving camera, with camera_info and exact depth.

The frames are rendered before the first is published and then shown forth and back, so that the
rate is steady on a small machine and rendering takes no time from the subscribers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import ConfigError, run_command
from depth_core.processes import keep_freed_memory
from depth_ros.arguments import CommandParser, count, positive
from depth_ros.messages.conversions import image_message
from depth_ros.middleware.qos import RELIABILITIES, output_qos
from depth_ros.middleware.session import leave_at_once, ros_node, signals_held

DEFAULT_SCENE: Final = 'street_residential'
DEFAULT_SEED: Final = 4
SCENE_HELP: Final = 'indoor, outdoor, or one of their classes such as office or street_city'
TRANSPORTS: Final = ('raw', 'compressed', 'both')
JPEG_QUALITY: Final = 90
REPORT_PERIOD_S: Final = 10.0
PROGRESS_PERIOD_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One rendered picture and what is known about it."""

    image: Uint8Array
    """[H, W, 3] RGB."""
    depth_m: Float32Array
    """[H, W] z-depth; +inf is sky."""
    matrix: NDArray[np.float64]
    """[3, 3] camera matrix, pixels."""


@dataclass(frozen=True, kw_only=True)
class FrameMessages:
    """The messages of one frame; only their stamps change from one showing to the next."""

    info: CameraInfo
    depth: Image
    raw: Image | None
    compressed: CompressedImage | None

    def stamp(self, stamp: Time) -> None:
        """Give all of them the same stamp."""
        for message in (self.info, self.depth, self.raw, self.compressed):
            if message is not None:
                message.header.stamp = stamp


class CameraPublishers:
    """The topics of the camera."""

    def __init__(self, node: Node, *, transport: str, reliability: str) -> None:
        qos = output_qos(reliability)
        self._info = node.create_publisher(CameraInfo, 'camera_info', qos)
        self._depth = node.create_publisher(Image, 'ground_truth/depth/image_raw', qos)
        self._raw: Publisher[Any] | None = None
        self._compressed: Publisher[Any] | None = None
        if transport in ('raw', 'both'):
            self._raw = node.create_publisher(Image, 'image_raw', qos)
        if transport in ('compressed', 'both'):
            self._compressed = node.create_publisher(CompressedImage, 'image_raw/compressed', qos)

    def publish(self, messages: FrameMessages) -> None:
        """Publish one frame: camera_info first, so that it is there when the image arrives."""
        self._info.publish(messages.info)
        if self._raw is not None and messages.raw is not None:
            self._raw.publish(messages.raw)
        if self._compressed is not None and messages.compressed is not None:
            self._compressed.publish(messages.compressed)
        self._depth.publish(messages.depth)


class SteadyRate:
    """Ticks at a fixed rate; a tick that was missed is left out, never made up for."""

    def __init__(self, hz: float) -> None:
        self._period_s = 1.0 / hz
        self._next_s = time.monotonic()
        self.missed = 0

    def wait(self) -> None:
        """Sleep until the next tick."""
        self._next_s += self._period_s
        late_s = time.monotonic() - self._next_s
        if late_s > self._period_s:
            lost = int(late_s / self._period_s)
            self.missed += lost
            self._next_s += lost * self._period_s
        elif late_s < 0.0:
            time.sleep(-late_s)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    keep_freed_memory()
    options = _parser().parse_command(arguments)
    ros_arguments = None if arguments is None else ['synthetic_camera', *arguments]
    with (
        contextlib.suppress(KeyboardInterrupt),  # its usual end: it goes on until Ctrl-C
        ros_node('synthetic_camera', namespace='camera', arguments=ros_arguments) as node,
    ):
        begun_s = time.monotonic()
        rendered = render(
            seed=options.seed,
            scene=options.scene,
            height=options.height,
            width=options.width,
            rate_hz=options.rate_hz,
            frames=options.frames,
        )
        frames: list[Frame] = []
        logged_s = -math.inf
        for frame in rendered:
            frames.append(frame)
            if time.monotonic() - logged_s > PROGRESS_PERIOD_S:
                node.get_logger().info(f'rendered {len(frames)} of {options.frames} frames')
                logged_s = time.monotonic()
        messages = [
            frame_messages(frame, frame_id=options.frame_id, transport=options.image_transport)
            for frame in frames
        ]
        node.get_logger().info(
            f'rendered {len(messages)} frames of {options.width}x{options.height} in '
            f'{time.monotonic() - begun_s:.1f} s; publishing at {options.rate_hz:g} Hz'
        )
        with signals_held():
            publishers = CameraPublishers(
                node, transport=options.image_transport, reliability=options.reliability
            )
        _show(node, publishers, messages, rate_hz=options.rate_hz)


def check_renderer() -> None:
    """Check that frames can be rendered here.

    Raises:
        ConfigError: PyTorch is not installed.
    """
    if importlib.util.find_spec('torch') is None:
        message = (
            'the synthetic camera renders with PyTorch, which is not installed; run make setup, '
            "or pip install 'depth_ros[train]'."
        )
        raise ConfigError(message)


def render(
    *, seed: int, scene: str, height: int, width: int, rate_hz: float, frames: int
) -> Iterator[Frame]:
    """Render the first `frames` frames of a drive or a walk, one after the other.

    Raises:
        ConfigError: PyTorch is not installed, or the scene is unknown.
    """
    check_renderer()
    # Threads that wait for one another take minutes where other processes use the same cores; one
    # thread renders ten frames a second. It has to be set before torch is loaded.
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    # torch takes seconds to import: --help and wrong options are answered without it.
    from depth_core.data.synthetic import SyntheticSequence  # noqa: PLC0415 see above

    sequence = SyntheticSequence(
        seed=seed, scene=scene, camera='vga', height=height, width=width, rate_hz=rate_hz
    )
    for index in range(frames):
        sample = sequence.frame(index)
        image = (sample.image.permute(1, 2, 0) * 255.0).round().clamp(0.0, 255.0)
        yield Frame(
            image=np.ascontiguousarray(image.numpy().astype(np.uint8)),
            depth_m=np.ascontiguousarray(sample.depth_m.numpy()),
            matrix=sample.intrinsics.numpy().astype(np.float64),
        )


def frame_messages(frame: Frame, *, frame_id: str, transport: str) -> FrameMessages:
    """Make the messages of a frame, all but the stamp."""
    header = Header(frame_id=frame_id)
    raw = compressed = None
    if transport in ('raw', 'both'):
        raw = image_message(frame.image, 'rgb8', header)
    if transport in ('compressed', 'both'):
        compressed = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        compressed.data.frombytes(encoded.tobytes())
    return FrameMessages(
        info=camera_info(frame, header),
        depth=image_message(frame.depth_m, '32FC1', header),
        raw=raw,
        compressed=compressed,
    )


def camera_info(frame: Frame, header: Header) -> CameraInfo:
    """Describe the distortion-free camera of a frame: K = P, D = 0."""
    height, width = frame.depth_m.shape
    projection = np.hstack((frame.matrix, np.zeros((3, 1))))
    return CameraInfo(
        header=header,
        height=height,
        width=width,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=frame.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def forth_and_back(index: int, length: int) -> int:
    """Index of the frame to show at tick `index`: 0, 1, ..., length - 1, ..., 1, 0, 1, ..."""
    if length == 1:
        return 0
    folded = index % (2 * length - 2)
    return folded if folded < length else 2 * length - 2 - folded


def _show(
    node: Node, publishers: CameraPublishers, messages: Sequence[FrameMessages], *, rate_hz: float
) -> None:
    rate = SteadyRate(rate_hz)
    reported_s, reported_missed = time.monotonic(), 0
    index = 0
    while True:
        rate.wait()
        shown = messages[forth_and_back(index, len(messages))]
        shown.stamp(node.get_clock().now().to_msg())
        with signals_held():
            publishers.publish(shown)
        index += 1
        if rate.missed > reported_missed and time.monotonic() - reported_s > REPORT_PERIOD_S:
            node.get_logger().warning(
                f'{rate.missed} of {index + rate.missed} frames could not be published in time; '
                'the machine is too busy for this rate, lower --rate_hz.'
            )
            reported_s, reported_missed = time.monotonic(), rate.missed


def _parser() -> CommandParser:
    summary = sys.modules[__name__].__doc__ or ''
    parser = CommandParser(
        prog='depth_ros.synthetic_camera', description=summary.split('\n', 1)[0]
    )
    add = parser.add_argument
    add('--height', type=count, default=480, help='rows of the image, pixels')
    add('--width', type=count, default=640, help='columns of the image, pixels')
    add('--rate_hz', type=positive, default=10.0, help='images a second')
    add('--scene', default=DEFAULT_SCENE, help=SCENE_HELP)
    add('--seed', type=int, default=DEFAULT_SEED, help='of the scene: other seeds, other places')
    add('--frames', type=count, default=40, help='frames rendered, then shown forth and back')
    add(
        '--image_transport',
        choices=TRANSPORTS,
        default='raw',
        help='image_raw, image_raw/compressed (JPEG) or both',
    )
    add('--reliability', choices=RELIABILITIES, default='reliable', help='what is offered')
    add('--frame_id', default='camera_optical_frame', help='optical frame: x right, z forward')
    return parser


def run() -> None:
    """Run the command as the process that it then ends."""
    main()
    leave_at_once()


if __name__ == '__main__':
    run_command(run)
