# SPDX-License-Identifier: Apache-2.0
"""Answers of `mono_depth` as a file that the Rerun viewer opens; needs the package rerun-sdk.

The file holds, on the timeline `stamp` (that of the image): the camera `world/camera` with its
images `image`, `depth`, `sigma`, `confidence` and, where it is known, `truth` and the relative
`error`, and the cloud `world/points`. The world is the camera's optical frame: x right, y down, z
ahead. It says how it is to be shown, too: the space with the camera, beside it each image, depth
and truth in the same colours from the first image to the last. Truth and error are 0 where there
is none, in the sky for one: the viewer takes that for no depth, and draws NaN as if it were far.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from depth_core.contracts import Float32Array
from depth_core.errors import ConfigError, missing_package
from depth_core.files import replaced_atomically
from depth_core.preview import scale_of_scene
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
        answers = _Answers(rerun, recording)
        try:
            yield answers.add
            recording.send_blueprint(answers.views())
        finally:
            recording.flush()
            recording.disconnect()


class _Answers:
    """Logs whatever is known of images at their stamps."""

    def __init__(self, rerun: Any, recording: Any) -> None:  # noqa: ANN401 optional package
        self._rerun, self._recording = rerun, recording
        self._logged: dict[str, None] = {}
        self._far = 0.0
        """Depth of the last colour, metres; 0 = not chosen yet."""

    def add(self, answer: Answered) -> None:
        """Log one image."""
        rerun = self._rerun
        self._recording.set_time(TIMELINE, timestamp=np.datetime64(answer.stamp_ns, 'ns'))
        if answer.matrix is not None:
            height, width = answer.depth_m.shape
            pinhole = rerun.Pinhole(
                image_from_camera=answer.matrix,
                width=width,
                height=height,
                camera_xyz=rerun.ViewCoordinates.RDF,
            )
            self._log(CAMERA, pinhole)
        if answer.image is not None:
            self._log(f'{CAMERA}/image', rerun.Image(answer.image))
        for name, plane, far in self._planes(answer):
            self._log(f'{CAMERA}/{name}', rerun.DepthImage(plane, meter=1.0, depth_range=(0, far)))
        if answer.confidence is not None:
            self._log(f'{CAMERA}/confidence', rerun.Image(answer.confidence))
        if answer.points_m is not None:
            points = rerun.Points3D(
                answer.points_m,
                colors=answer.point_colours,
                radii=rerun.Radius.ui_points(POINT_RADIUS_PX),
            )
            self._log(CLOUD, points)

    def _planes(self, answer: Answered) -> Iterator[tuple[str, Float32Array, float]]:
        """Names and numbers of planes, and where their colours end; the viewer would guess."""
        depth_m, truth_m = answer.depth_m, answer.truth_m
        if not self._far:
            scale = scale_of_scene(depth_m if truth_m is None else truth_m)
            self._far = 0.0 if scale is None else scale.far
        far_m = self._far or 1.0
        yield 'depth', depth_m, far_m
        if truth_m is not None:
            with np.errstate(invalid='ignore', divide='ignore'):
                error = np.abs(depth_m - truth_m) / truth_m
            yield 'truth', np.where(np.isnan(truth_m), np.float32(0.0), truth_m), far_m
            yield 'error', np.where(np.isnan(error), np.float32(0.0), error), 1.0
        if answer.sigma_m is not None:
            yield 'sigma', answer.sigma_m, far_m / 4.0

    def views(self) -> Any:  # noqa: ANN401 optional package
        """The space beside the images, of what was logged."""
        blueprint = importlib.import_module('rerun.blueprint')
        planes = [path for path in self._logged if path not in {CAMERA, CLOUD}]
        flat = [
            blueprint.Spatial2DView(origin=path, name=path.rpartition('/')[2]) for path in planes
        ]
        if CAMERA not in self._logged:
            return blueprint.Blueprint(blueprint.Grid(*flat))
        seen = ('image', 'truth') if CLOUD in self._logged else ('image', 'truth', 'depth')
        contents = [WORLD, CAMERA, CLOUD, *(f'{CAMERA}/{name}' for name in seen)]
        space = blueprint.Spatial3DView(origin=WORLD, contents=contents, name='space')
        return blueprint.Blueprint(blueprint.Horizontal(space, blueprint.Grid(*flat)))

    def _log(self, path: str, shown: Any) -> None:  # noqa: ANN401 optional package
        self._logged[path] = None
        self._recording.log(path, shown)


def _rerun() -> Any:  # noqa: ANN401 optional package
    try:
        import rerun  # noqa: PLC0415 optional, and half a second of imports
    except ImportError as error:
        message = missing_package(
            '--rerun', 'rerun-sdk', extra='rerun', instead='leave --rerun out'
        )
        raise ConfigError(message) from error
    return rerun
