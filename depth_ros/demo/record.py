# SPDX-License-Identifier: Apache-2.0
"""Record the synthetic camera into a bag: the recording that the demo plays is made by this.

The bag holds what the live camera publishes, and is small enough for a repository: images as JPEG,
true depth rounded to nine significant bits, everything compressed with zstd.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_core.contracts import Float32Array
from depth_core.errors import run_command
from depth_core.files import check_absent, unfinished_folder
from depth_ros.arguments import CommandParser, count, positive
from depth_ros.demo.camera import CAMERA, CAMERA_TOPICS, IMAGE, INFO, RECORDED_HZ, TRUTH
from depth_ros.synthetic_camera import (
    DEFAULT_SCENE,
    DEFAULT_SEED,
    SCENE_HELP,
    FrameMessages,
    frame_messages,
    render,
)

FRAME_ID: Final = 'camera_optical_frame'
START_NS: Final = 1_767_225_600_000_000_000
"""Stamp of the first image: the first second of 2026."""

DEPTH_BITS: Final = 9
"""Significant bits of the true depth: it is rounded by at most 0.2 %."""

_BAG_VERSION: Final = 9


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _parser().parse_command(arguments)
    check_absent(options.output)
    frames = render(
        seed=options.seed,
        scene=options.scene,
        height=options.height,
        width=options.width,
        rate_hz=options.rate_hz,
        frames=options.frames,
    )
    messages = (
        frame_messages(
            dataclasses.replace(frame, depth_m=rounded(frame.depth_m)),
            frame_id=FRAME_ID,
            transport='compressed',
        )
        for frame in frames
    )
    write_bag(options.output, messages, rate_hz=options.rate_hz)


def rounded(depth_m: Float32Array) -> Float32Array:
    """Round depth to `DEPTH_BITS` significant bits, which compress well; infinities stay."""
    mantissa, exponent = np.frexp(depth_m)
    steps = np.float32(2**DEPTH_BITS)
    return np.ldexp(np.rint(mantissa * steps) / steps, exponent).astype(np.float32)


def write_bag(path: Path, frames: Iterable[FrameMessages], *, rate_hz: float) -> None:
    """Write frames into a new bag.

    Args:
        path: Folder to make; it appears when the bag is complete.
        frames: Messages whose stamps are set here.
        rate_hz: Images a second.
    """
    with unfinished_folder(path.absolute().parent, path.name) as parent:
        unfinished = parent / path.name
        writer = Writer(unfinished, version=_BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            topics = {topic: _connect(writer, topic) for topic in CAMERA_TOPICS}
            for index, frame in enumerate(frames):
                stamp_ns = START_NS + round(index * 1e9 / rate_hz)
                seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
                frame.stamp(Time(sec=seconds, nanosec=nanoseconds))
                for topic, message in (
                    (INFO, frame.info),
                    (IMAGE, frame.compressed),
                    (TRUTH, frame.depth),
                ):
                    writer.write(topics[topic], stamp_ns, serialize_message(message))
        unfinished.rename(path)


def _connect(writer: Writer, topic: str) -> Connection:
    kind = CAMERA_TOPICS[topic]
    msgtype = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
    typestore = get_typestore(Stores.ROS2_KILTED)
    return writer.add_connection(f'{CAMERA}/{topic}', msgtype, typestore=typestore)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='depth_ros.demo.record', description=__doc__.split('\n', maxsplit=1)[0]
    )
    add = parser.add_argument
    add('--output', type=Path, required=True, help='folder of the bag, a new one')
    add('--frames', type=count, default=40, help='how many images')
    add('--rate_hz', type=positive, default=RECORDED_HZ, help='images a second')
    add('--height', type=count, default=480, help='rows of the image, pixels')
    add('--width', type=count, default=640, help='columns of the image, pixels')
    add('--scene', default=DEFAULT_SCENE, help=SCENE_HELP)
    add('--seed', type=int, default=DEFAULT_SEED, help='of the scene: other seeds, other places')
    return parser


if __name__ == '__main__':
    run_command(main)
