# SPDX-License-Identifier: Apache-2.0
"""Answers of `mono_depth` as a file that the Rerun viewer opens; needs the package rerun-sdk.

The file holds, on the timeline `stamp` (that of the image): the camera `world/camera` with its
images `image`, `depth`, `sigma`, `confidence` and, where it is known, `truth` and the relative
`error`, and the cloud `world/points`. The world is the
camera's optical frame: x right, y down, z ahead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from depth_core.errors import ConfigError, missing_package
from depth_core.files import replaced_atomically
from depth_ros.pictures.answered import Answered

APPLICATION: Final = 'depth_ros'
TIMELINE: Final = 'stamp'
WORLD: Final = 'world'
CAMERA: Final = f'{WORLD}/camera'
CLOUD: Final = f'{WORLD}/points'

SUFFIX: Final = '.rrd'
POINT_RADIUS_PX: Final = 1.5

HELP: Final = (
    f'also write a file for the Rerun viewer ({SUFFIX}): image, depth, sigma, confidence, cloud '
    'and camera; needs the package rerun-sdk'
)


def check_rerun(path: Path | None) -> None:
    """Check that a file can be written, before anything else is begun.

    Raises:
        ConfigError: The path has another suffix, or rerun-sdk is not installed.
    """
    if path is None:
        return
    if path.suffix != SUFFIX:
        message = f'--rerun {path}: the Rerun viewer opens files that end in {SUFFIX}; name one.'
        raise ConfigError(message)
    _rerun()


@contextlib.contextmanager
def rerun_file(path: Path | None) -> Iterator[Callable[[Answered], None] | None]:
    """Give what adds an answer to a new file; the file appears when the block ends well.

    Args:
        path: The file; None records nothing, and gives None.

    Raises:
        ConfigError: As `check_rerun`.
        DepthError: The file cannot be written.
    """
    if path is None:
        yield None
        return
    rerun = _rerun()
    with replaced_atomically(path) as temporary:
        recording = rerun.RecordingStream(APPLICATION)
        recording.save(str(temporary))
        recording.log(WORLD, rerun.ViewCoordinates.RDF, static=True)
        try:
            yield lambda answer: _add(rerun, recording, answer)
        finally:
            recording.flush()
            recording.disconnect()


def _add(rerun: Any, recording: Any, answer: Answered) -> None:  # noqa: ANN401 optional package
    """Log whatever is known of one image at its stamp."""
    recording.set_time(TIMELINE, timestamp=np.datetime64(answer.stamp_ns, 'ns'))
    height, width = answer.depth_m.shape
    if answer.matrix is not None:
        pinhole = rerun.Pinhole(
            image_from_camera=answer.matrix,
            width=width,
            height=height,
            camera_xyz=rerun.ViewCoordinates.RDF,
        )
        recording.log(CAMERA, pinhole)
    if answer.image is not None:
        recording.log(f'{CAMERA}/image', rerun.Image(answer.image))
    recording.log(f'{CAMERA}/depth', rerun.DepthImage(answer.depth_m, meter=1.0))
    if answer.truth_m is not None:
        recording.log(f'{CAMERA}/truth', rerun.DepthImage(answer.truth_m, meter=1.0))
        with np.errstate(invalid='ignore', divide='ignore'):
            error = np.abs(answer.depth_m - answer.truth_m) / answer.truth_m
        recording.log(f'{CAMERA}/error', rerun.Image(error))
    if answer.sigma_m is not None:
        recording.log(f'{CAMERA}/sigma', rerun.Image(answer.sigma_m))
    if answer.confidence is not None:
        recording.log(f'{CAMERA}/confidence', rerun.Image(answer.confidence))
    if answer.points_m is not None:
        points = rerun.Points3D(
            answer.points_m,
            colors=answer.point_colours,
            radii=rerun.Radius.ui_points(POINT_RADIUS_PX),
        )
        recording.log(CLOUD, points)


def _rerun() -> Any:  # noqa: ANN401 optional package
    try:
        import rerun  # noqa: PLC0415 optional, and half a second of imports
    except ImportError as error:
        message = missing_package(
            '--rerun', 'rerun-sdk', extra='rerun', instead='leave --rerun out'
        )
        raise ConfigError(message) from error
    return rerun
