# SPDX-License-Identifier: Apache-2.0
"""Scale from the ground: a camera of known height sees it at a known distance.

Everything is measured by the height of the camera above the fitted plane, because the prediction
has no unit: the tolerance of an inlier, the residual, what counts as below. That also fits how
depth errs: on the ground, a depth wrong by a share s is a height wrong by s times that of the
camera, near and far alike.

Limits, measured on drawn ground at 96x160 under a camera at 1.65 m. Independent noise on the depth
of 1, 2, 5 and 10 % puts the height wrong by 0.1, 0.4, 2.4 and 1.1 %; with 15 % no plane is found.
Pitch of 5 degrees, roll of 8, a car, or a slope that changes at 12 m do not move it; one that
changes at 6 m, by 6 %. Walls, ceilings and random depth are refused. Ground that bends is not: a
smooth rise stays within the tolerance of some plane, and a hill of 0.3 m in 5 m was answered with
2.35 m, valid. On hills, take the median of many images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, Float32Array, Intrinsics
from depth_core.errors import ConfigError
from depth_core.geometry import check_camera_size, lift
from depth_core.scale.estimate import ScaleEstimate, ScaleState, refused

_BATCH: Final = 50
"""Planes tried at once."""
_REFINEMENTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class GroundSettings:
    """How the ground is looked for."""

    from_row: float = 0.6
    """Where the lower part of the image begins, as a share of its rows; only it is looked at."""
    max_tilt_rad: float = math.radians(15.0)
    """Largest angle between the plane's normal and the down axis of the camera."""
    down: tuple[float, float, float] = (0.0, 1.0, 0.0)
    """Down in the camera frame: (0, 1, 0) for a level camera."""
    tolerance: float = 0.05
    """Distance from the plane within which a point belongs to it, by the camera height."""
    min_points: int = 100
    """Points with depth the lower image must have."""
    min_share: float = 0.3
    """Share of these points the plane must hold."""
    max_share_below: float = 0.2
    """Share of these points that may lie below it by more than three tolerances: under the ground
    there is nothing to see, so that many are no ground, or a prediction full of holes."""
    max_points: int = 4000
    """Points the planes are tried on, drawn from all."""
    planes: int = 300
    """Planes tried."""
    seed: int = 0
    """Of the draws: the same points give the same answer."""

    def __post_init__(self) -> None:
        shares = {
            'from_row': self.from_row,
            'min_share': self.min_share,
            'max_share_below': self.max_share_below,
        }
        problems = [
            f'{key} is {value}; give a share in [0, 1)'
            for key, value in shares.items()
            if not 0.0 <= value < 1.0
        ]
        if not 0.0 < self.tolerance < 1.0:
            problems.append(f'tolerance is {self.tolerance}; give a share of the height in (0, 1)')
        if not 0.0 < self.max_tilt_rad < math.pi / 2:
            problems.append(f'max_tilt_rad is {self.max_tilt_rad}; give radians in (0, pi / 2)')
        if min(self.min_points, self.max_points, self.planes) < 3:  # noqa: PLR2004  a plane
            problems.append('min_points, max_points and planes must each be at least 3')
        if not np.linalg.norm(self.down) > 0.0:
            problems.append(f'down is {self.down}; give a direction')
        if problems:
            raise ConfigError('the ground cannot be looked for: ' + '; '.join(problems) + '.')


@dataclass(frozen=True, kw_only=True)
class GroundPlane:
    """The plane normal . p = height, seen from the camera."""

    normal: tuple[float, float, float]
    """Unit vector down to the ground, camera frame."""
    height: float
    """Distance of the camera from the plane, in the unit of the points; positive."""

    def height_above(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Height of [..., 3] points above the plane, in their unit; NaN where they are NaN."""
        above: NDArray[np.float64] = self.height - np.asarray(points, np.float64) @ self.normal
        return above

    def height_of_pixels(
        self, depth: Float32Array, camera: Intrinsics, rows: slice = slice(None)
    ) -> Float32Array:
        """Height above the plane of what pixels see; NaN where depth is.

        Args:
            depth: [H, W] z-depth.
            camera: Of the same size.
            rows: Which rows are asked for.

        Returns:
            [rows, W] in the unit of depth.
        """
        x, y, z = self.normal
        columns = x * (np.arange(camera.width) - camera.cx_px) / camera.fx_px
        lines = y * (np.arange(camera.height)[rows] - camera.cy_px) / camera.fy_px
        below = np.add.outer(lines.astype(np.float32), (columns + z).astype(np.float32))
        with np.errstate(invalid='ignore'):
            below *= depth[rows]  # how far down from the camera
        above: Float32Array = np.subtract(np.float32(self.height), below, out=below)
        return above


@dataclass(frozen=True, kw_only=True)
class GroundFit:
    """The plane that was found, if one was."""

    state: ScaleState
    plane: GroundPlane | None
    """None without a plane; also given where the state is inconsistent."""
    residual: float
    """Root mean square distance of its points, by the camera height."""
    points: int
    """How many these are; without a plane, how many points there were."""


def fit_ground_plane(
    depth: Float32Array, intrinsics: Intrinsics, settings: GroundSettings | None = None
) -> GroundFit:
    """Fit the ground to the lower part of a depth map: RANSAC, then least squares.

    Three points make a plane; of all planes tilted no more than allowed and below the camera, the
    one that holds most points wins and is then fitted to them.

    Args:
        depth: [H, W] z-depth in any unit; what is not finite and positive takes no part.
        intrinsics: The camera, of the same size.
        settings: How it is looked for; None for the defaults.

    Raises:
        DataError: The sizes of depth and intrinsics differ.
    """
    settings = settings or GroundSettings()
    check_camera_size(intrinsics, height=depth.shape[0], width=depth.shape[1])
    first = round(settings.from_row * depth.shape[0])
    lower = depth[first:]
    with np.errstate(invalid='ignore'):
        places = np.flatnonzero(np.isfinite(lower) & (lower > 0.0))
    if places.size < settings.min_points:
        return GroundFit(
            state=ScaleState.TOO_FEW_POINTS, plane=None, residual=math.nan, points=places.size
        )
    source = np.random.default_rng(settings.seed)
    if places.size > settings.max_points:
        places = places[source.choice(places.size, settings.max_points, replace=False)]
    cloud = lift(depth, intrinsics, places + first * depth.shape[1]).astype(np.float64)
    plane = _ransac(cloud, settings, source)
    for _ in range(_REFINEMENTS):
        if plane is not None:
            plane = _refitted(cloud[_members(cloud, plane, settings)], settings)
    members = None if plane is None else _members(cloud, plane, settings)
    if plane is None or members is None or members.mean() < settings.min_share:
        return GroundFit(
            state=ScaleState.NO_PLANE, plane=None, residual=math.nan, points=len(cloud)
        )
    above = plane.height_above(cloud) / plane.height
    below = float((above < -3.0 * settings.tolerance).mean())
    return GroundFit(
        state=ScaleState.INCONSISTENT if below > settings.max_share_below else ScaleState.VALID,
        plane=plane,
        residual=float(np.sqrt(np.mean(above[members] ** 2))),
        points=int(members.sum()),
    )


def ground_plane_scale(
    depth: Float32Array,
    intrinsics: Intrinsics,
    *,
    camera_height_m: float,
    settings: GroundSettings | None = None,
) -> ScaleEstimate:
    """Find the factor that puts the ground at the known height of the camera.

    Args:
        depth: [H, W] z-depth in any unit.
        intrinsics: The camera, of the same size.
        camera_height_m: Height of the camera above the ground, metres: 1.65 for KITTI.
        settings: How the ground is looked for; None for the defaults.

    Raises:
        ConfigError: The height is not positive.
        DataError: The sizes of depth and intrinsics differ.
    """
    if not 0.0 < camera_height_m < math.inf:
        message = (
            f'a camera height of {camera_height_m} m gives no scale; give the height of the '
            'camera above the ground, more than 0.'
        )
        raise ConfigError(message)
    found = fit_ground_plane(depth, intrinsics, settings)
    if found.plane is None or found.state is not ScaleState.VALID:
        return refused(found.state, points=found.points, residual=found.residual)
    return ScaleEstimate(
        state=ScaleState.VALID,
        scale=camera_height_m / found.plane.height,
        residual=found.residual,
        points=found.points,
    )


def _ransac(
    cloud: NDArray[np.float64], settings: GroundSettings, source: np.random.Generator
) -> GroundPlane | None:
    """The plane through three points that holds most of all."""
    down = _unit(np.asarray(settings.down))
    best, most = None, 0
    for first in range(0, settings.planes, _BATCH):
        corners = cloud[
            source.integers(len(cloud), size=(min(_BATCH, settings.planes - first), 3))
        ]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1)
        normals, corners = normals[lengths > 0.0], corners[lengths > 0.0, 0]
        normals /= lengths[lengths > 0.0, None]
        normals *= np.where(normals @ down < 0.0, -1.0, 1.0)[:, None]
        heights = np.einsum('ij,ij->i', normals, corners)
        possible = (normals @ down >= math.cos(settings.max_tilt_rad)) & (heights > 0.0)
        normals, heights = normals[possible], heights[possible]
        if not len(normals):
            continue
        off = normals @ cloud.T
        off -= heights[:, None]
        np.abs(off, out=off)
        counts = np.count_nonzero(off <= settings.tolerance * heights[:, None], axis=1)
        if counts.max() > most:
            winner, most = int(counts.argmax()), int(counts.max())
            best = _plane(normals[winner], float(heights[winner]))
    return best


def _refitted(members: NDArray[np.float64], settings: GroundSettings) -> GroundPlane | None:
    """The plane of least squared distance; None when it is no ground."""
    if len(members) < 3:  # noqa: PLR2004  a plane
        return None
    centre = members.mean(axis=0)
    normal = np.linalg.svd(members - centre, full_matrices=False)[2][2]
    down = _unit(np.asarray(settings.down))
    normal = normal if normal @ down > 0.0 else -normal
    height = float(normal @ centre)
    if normal @ down < math.cos(settings.max_tilt_rad) or height <= 0.0:
        return None
    return _plane(normal, height)


def _members(
    cloud: NDArray[np.float64], plane: GroundPlane, settings: GroundSettings
) -> BoolArray:
    inside: BoolArray = np.abs(plane.height_above(cloud)) <= settings.tolerance * plane.height
    return inside


def _plane(normal: NDArray[np.float64], height: float) -> GroundPlane:
    x, y, z = normal.tolist()
    return GroundPlane(normal=(x, y, z), height=height)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(vector, np.float64) / np.linalg.norm(vector)
