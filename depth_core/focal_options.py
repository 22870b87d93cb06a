# SPDX-License-Identifier: Apache-2.0
"""Options of commands that say which focal length an image was taken with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from depth_core.arguments import CommandParser, positive
from depth_core.contracts import Intrinsics
from depth_core.errors import DataError
from depth_core.geometry import intrinsics_from_focal, intrinsics_from_hfov
from depth_core.images import IMAGE_SUFFIXES, read_stated_focal

FOCAL_OPTIONS: Final = '--focal_px or --hfov_deg'
"""Names of the options, for messages."""


def add_focal_options(parser: CommandParser, *, default: str = '') -> None:
    """Add the options of `camera_of`, one of which may be given.

    Args:
        parser: The command.
        default: What counts without them, for the help.
    """
    add = parser.add_mutually_exclusive_group().add_argument
    what = f'of the camera{default}; models of canonical depth need it'
    add('--focal_px', type=positive, help=f'focal length {what}, pixels of the image given')
    add('--hfov_deg', type=angle, help=f'horizontal field of view {what}, degrees')


def angle(text: str) -> float:
    """Read a field of view; an argparse type."""
    value = positive(text)
    try:
        intrinsics_from_hfov(value, height=1, width=1)
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip('.')) from None
    return value


def camera_of(options: argparse.Namespace, *, height: int, width: int) -> Intrinsics | None:
    """The camera of an image of `height` x `width` by the options, None where none is given.

    The axis goes through the middle of the image, and pixels are square.
    """
    if options.focal_px is not None:
        return intrinsics_from_focal(options.focal_px, height=height, width=width)
    if options.hfov_deg is not None:
        return intrinsics_from_hfov(options.hfov_deg, height=height, width=width)
    return None


def camera_of_file(
    options: argparse.Namespace, path: Path, size: tuple[int, ...]
) -> tuple[Intrinsics | None, str]:
    """The camera of an image file by the options, else by its own EXIF data.

    Args:
        options: Those of `add_focal_options`.
        path: Of the image, or of a video, which states nothing.
        size: (height, width) of the image turned upright.

    Returns:
        The camera, None where neither says, and what says it.

    Raises:
        DataError: The file cannot be read.
    """
    height, width = size
    camera = camera_of(options, height=height, width=width)
    if camera is not None:
        return camera, '--focal_px' if options.focal_px is not None else '--hfov_deg'
    stated = read_stated_focal(path) if path.suffix.lower() in IMAGE_SUFFIXES else None
    if stated is None:
        return None, ''
    return stated.camera(height=height, width=width), stated.source
