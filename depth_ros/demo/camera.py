# SPDX-License-Identifier: Apache-2.0
"""The camera of the demo: a recording that comes with this package, or the synthetic camera."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_core.errors import ConfigError
from depth_core.shipped import shipped_file
from depth_ros.arguments import count
from depth_ros.synthetic_camera import (
    DEFAULT_SCENE,
    SCENE_HELP,
    check_renderer,
)

CAMERA: Final = '/camera'
"""Namespace of the camera; its topics follow."""
IMAGE: Final = 'image_raw/compressed'
TRUTH: Final = 'ground_truth/depth/image_raw'
INFO: Final = 'camera_info'
CAMERA_TOPICS: Final = {IMAGE: CompressedImage, TRUTH: Image, INFO: CameraInfo}

RECORDING: Final = 'recordings/street'
"""The recording, a folder of the repository; `depth_ros.demo.record` makes it."""
RECORDED_HZ: Final = 10.0

LIVE_OPTIONS: Final = ('height', 'width', 'scene', 'seed', 'frames')
"""Options of the synthetic camera, which has the defaults."""


def add_camera_options(parser: ArgumentParser) -> None:
    """Add `--live` and the options that go with it."""
    parser.add_argument(
        '--live', action='store_true', help='the synthetic camera (PyTorch), not the recording'
    )
    live = parser.add_argument_group('with --live')
    live.add_argument('--height', type=count, help='rows of the image, pixels (default: 480)')
    live.add_argument('--width', type=count, help='columns of the image, pixels (default: 640)')
    live.add_argument('--scene', help=f'{SCENE_HELP} (default: {DEFAULT_SCENE})')
    live.add_argument('--seed', type=int, help='other seeds, other places (default: 4)')
    live.add_argument('--frames', type=count, help='frames rendered in advance (default: 40)')


def check_camera(options: Namespace) -> None:
    """Check that the camera asked for can be had.

    Raises:
        ConfigError: An option of the synthetic camera was given without `--live`, or it cannot
            render here.
    """
    if options.live:
        check_renderer()
        return
    for name in LIVE_OPTIONS:
        if getattr(options, name) is not None:
            message = f'--{name} is an option of the live synthetic camera; add --live.'
            raise ConfigError(message)


def camera_command(options: Namespace) -> tuple[str, ...]:
    """The module that publishes images, camera_info and true depth, with its arguments."""
    if not options.live:
        recording = shipped_file(f'{RECORDING}/metadata.yaml').parent
        speed = options.rate_hz / RECORDED_HZ
        return 'depth_ros.play_bag', str(recording), '--loop', '--restamp', '--rate', str(speed)
    given = {name: getattr(options, name) for name in LIVE_OPTIONS}
    return (
        'depth_ros.synthetic_camera',
        *('--image_transport', 'compressed', '--rate_hz', str(options.rate_hz)),
        *(f'--{name}={value}' for name, value in given.items() if value is not None),
    )
