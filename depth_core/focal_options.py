# SPDX-License-Identifier: Apache-2.0
"""Options of commands that say which focal length an image was taken with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from depth_core.arguments import CommandParser, positive
from depth_core.contracts import Intrinsics
from depth_core.errors import DataError
from depth_core.geometry import focal_length_px, intrinsics_from_focal, intrinsics_from_hfov
from depth_core.images import IMAGE_SUFFIXES, read_stated_focal
from depth_core.manifest import Manifest

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


def add_assumed_option(add: Callable[..., object]) -> None:
    """Add what is assumed where nothing says the focal length.

    Args:
        add: `add_argument` of a parser or a group.
    """
    add(
        '--assumed_hfov_deg',
        type=angle,
        help='horizontal field of view, degrees, that is assumed of images whose camera is not '
        'known, where the model needs it; metres are as wrong as that is',
    )


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
    manifest: Manifest, options: argparse.Namespace, path: Path, size: tuple[int, ...]
) -> tuple[Intrinsics | None, str]:
    """The camera of an image file by the options, else by its own EXIF data.

    Args:
        manifest: Of the model that is to answer.
        options: Those of `add_focal_options`.
        path: Of the image, or of a video, which states nothing.
        size: (height, width) of the image turned upright.

    Returns:
        The camera, None where neither says, and what there is to say of it: nothing where the
        model does without.

    Raises:
        DataError: The file cannot be read, or neither says and nothing is assumed for a model that
            needs it.
    """
    height, width = size
    camera = camera_of(options, height=height, width=width)
    origin = '--focal_px' if options.focal_px is not None else '--hfov_deg'
    stated = None
    if camera is None and path.suffix.lower() in IMAGE_SUFFIXES:
        stated = read_stated_focal(path)
    if stated is not None and not stated.cropped:
        camera, origin = stated.camera(height=height, width=width), stated.source
    if not manifest.needs_intrinsics:
        return camera, ''
    if camera is not None:
        return camera, f', focal length {focal_length_px(camera):.1f} px ({origin})'
    cropped = '' if stated is None else f' ({stated.cropped})'
    assumed_deg = manifest.domain.assumed_hfov_deg
    if assumed_deg is None:
        message = (
            f'{path}: {manifest.name} needs the focal length of the camera, and the file states '
            f'none that holds{cropped}; give {FOCAL_OPTIONS}, or a guess as --assumed_hfov_deg.'
        )
        raise DataError(message)
    return None, f', a field of view of {assumed_deg:g} degrees is assumed{cropped}'
