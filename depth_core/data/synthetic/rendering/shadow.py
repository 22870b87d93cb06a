# SPDX-License-Identifier: Apache-2.0
"""Cast shadows: a depth map seen from the light, and the question whether a point is lit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.contracts import Intrinsics
from depth_core.data.synthetic.motion import Placement, path_pose
from depth_core.data.synthetic.rendering.raster import local_rays, rasterise
from depth_core.data.synthetic.scene import PrimitiveArrays, Scene

_SUN_M = 400.0
_SUN_TEXEL_M = 0.15
_LAMP_SIZE = 256
_LAMP_TAN = 3.0
"""The lamp's shadow map spans this tangent to either side of straight down."""


@dataclass(frozen=True, kw_only=True)
class ShadowMap:
    """Depth seen from the light; a sun is a lamp far away."""

    depth_m: Tensor
    """[H, W] z-depth from the light, +inf where it meets nothing."""
    to_light: NDArray[np.float64]
    """[4, 4] world to the light's camera."""
    intrinsics: Intrinsics
    bias_m: float
    """How much nearer than a point a hit must be to shade it, under perpendicular light."""

    def lit(self, point: Tensor, cosine: Tensor, pose: NDArray[np.float64]) -> Tensor:
        """Say which points the light reaches; all that lie outside the map are lit.

        Args:
            point: [3, N] in the camera frame.
            cosine: [N] between normal and light, which says how steep the surface is.
            pose: [4, 4] of the camera.

        Returns:
            [N] float32, 1 where lit and 0 in shadow.
        """
        rows: list[list[float]] = (self.to_light @ pose)[:3].tolist()
        x, y, z = (a * point[0] + b * point[1] + c * point[2] + d for a, b, c, d in rows)
        camera = self.intrinsics
        ahead = z.clamp(min=0.05)
        u = (x / ahead).mul_(camera.fx_px).add_(camera.cx_px).clamp_(-1.0, camera.width)
        v = (y / ahead).mul_(camera.fy_px).add_(camera.cy_px).clamp_(-1.0, camera.height)
        # One texel of the map spans more depth the flatter the light falls.
        bias = cosine.clamp(0.08, 1.0).reciprocal_().add_(1.0).mul_(self.bias_m)
        framed = torch.nn.functional.pad(self.depth_m, (1, 1, 1, 1), value=torch.inf).view(-1)
        column, row = u.add_(1.5).to(torch.int32), v.add_(1.5).to(torch.int32)
        seen = framed.index_select(0, row.mul_(camera.width + 2).add_(column))
        return ((seen > ahead - bias) | (z < 0.05)).to(torch.float32)


def _look(forward: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] camera-to-world rotation that looks along `forward` with x near `right`."""
    forward = forward / np.linalg.norm(forward)
    right = right - forward * (right @ forward)
    right = right / np.linalg.norm(right)
    return np.stack((right, np.cross(forward, right), forward), axis=1)


def shadow_map(
    scene: Scene,
    arrays: PrimitiveArrays,
    placement: Placement,
    time_s: float,
    device: torch.device,
) -> ShadowMap:
    """Render the depth map of the scene's light at `time_s`."""
    pose, intrinsics = _sun(scene, time_s) if scene.lighting.lamp is None else _lamp(scene)
    rays = local_rays(placement, pose, intrinsics)
    casting = np.where(arrays.casts, arrays.shape, -1)
    return ShadowMap(
        depth_m=rasterise(casting, rays, intrinsics, device).depth_m,
        to_light=np.linalg.inv(pose).astype(np.float64),
        intrinsics=intrinsics,
        bias_m=0.75 * _SUN_TEXEL_M if scene.lighting.lamp is None else 0.03,
    )


def _square(focal_px: float, height: int, width: int) -> Intrinsics:
    return Intrinsics(
        fx_px=focal_px,
        fy_px=focal_px,
        cx_px=0.5 * (width - 1),
        cy_px=0.5 * (height - 1),
        height=height,
        width=width,
    )


def _lamp(scene: Scene) -> tuple[NDArray[np.float64], Intrinsics]:
    """The camera of a lamp, which looks straight down."""
    pose = np.eye(4)
    pose[:3, :3] = _look(np.array((0.0, 1.0, 0.0)), np.array((1.0, 0.0, 0.0)))
    pose[:3, 3] = scene.lighting.lamp
    return pose, _square(0.5 * _LAMP_SIZE / _LAMP_TAN, _LAMP_SIZE, _LAMP_SIZE)


def _sun(scene: Scene, time_s: float) -> tuple[NDArray[np.float64], Intrinsics]:
    """The camera of the sun, which sees the road from just behind the viewer."""
    across, along = scene.lighting.shadow_half_m
    arc = np.array([scene.motion.speed_m_s * time_s + along - 5.0])
    x, z, heading = path_pose(scene.curvature_1_m, arc, np.zeros(1))
    sun = np.array(scene.lighting.direction) / np.linalg.norm(scene.lighting.direction)
    right = np.array((np.cos(heading[0]), 0.0, -np.sin(heading[0])))
    ahead = np.array((np.sin(heading[0]), 0.0, np.cos(heading[0])))
    pose = np.eye(4)
    pose[:3, :3] = _look(-sun, right)
    pose[:3, 3] = np.array((x[0], 0.0, z[0])) + _SUN_M * sun
    reach = np.abs(np.stack((across * right, along * ahead)) @ pose[:3, :2]).sum(axis=0)
    width, height = (max(round(2.0 * half / _SUN_TEXEL_M), 1) for half in reach)
    return pose, _square(_SUN_M / _SUN_TEXEL_M, height, width)
