# SPDX-License-Identifier: Apache-2.0
"""The radiance of every pixel, computed once after its surface is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.contracts import Intrinsics
from depth_core.data.synthetic.raster import (
    NOTHING,
    LocalRays,
    Visibility,
    local_rays,
    rasterise,
)
from depth_core.data.synthetic.scene import (
    Label,
    PrimitiveArrays,
    Scene,
    Shape,
    body_poses,
    camera_pose,
    path_pose,
)
from depth_core.data.synthetic.texture import (
    albedo,
    lookup,
    material_table,
    noise_table,
    paint,
)

_SUN_M = 400.0
_SUN_TEXEL_M = 0.15
_LAMP_SIZE = 256
_LAMP_TAN = 3.0
"""The lamp's shadow map spans this tangent to either side of straight down."""


@dataclass(frozen=True, kw_only=True)
class Render:
    """One rendered frame, before the camera's electronics."""

    radiance: Tensor
    """[3, H, W] linear RGB; 1 is a white surface under unit light."""
    depth_m: Tensor
    """[H, W] z-depth in metres, +inf for the sky."""
    label: Tensor
    """[H, W] int64 Cityscapes train ids, 255 = none."""
    pose: NDArray[np.float64]
    """[4, 4] camera-to-world."""


@dataclass(frozen=True, kw_only=True)
class _Shadow:
    depth_m: Tensor
    to_light: NDArray[np.float64]
    """[4, 4] world to the light's camera."""
    intrinsics: Intrinsics


def render(scene: Scene, intrinsics: Intrinsics, time_s: float, device: torch.device) -> Render:
    """Render a scene at one moment.

    Args:
        scene: The scene, with its camera's motion.
        intrinsics: The camera, at the size wanted.
        time_s: Seconds after the scene's own beginning; may be negative.
        device: Where to compute.

    Returns:
        Linear radiance with exact depth and labels at the pixel centres.
    """
    arrays = scene.arrays()
    bodies = body_poses(scene, time_s)
    pose = camera_pose(scene, time_s)
    rays = local_rays(arrays, bodies, pose, intrinsics)
    seen = rasterise(arrays, rays, intrinsics, device)
    shadow = _shadow_map(scene, arrays, bodies, time_s, device)
    frame = _Frame(scene, arrays, rays, seen, pose, intrinsics, device)
    colour = frame.colour()
    light = frame.light(shadow)
    radiance = frame.air(colour.mul_(light))
    return Render(
        radiance=radiance.view(3, intrinsics.height, intrinsics.width),
        depth_m=seen.depth_m,
        label=frame.label.view(intrinsics.height, intrinsics.width),
        pose=pose,
    )


def _look(forward: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] camera-to-world rotation that looks along `forward` with x near `right`."""
    forward = forward / np.linalg.norm(forward)
    right = right - forward * (right @ forward)
    right = right / np.linalg.norm(right)
    return np.stack((right, np.cross(forward, right), forward), axis=1)


def _shadow_map(
    scene: Scene,
    arrays: PrimitiveArrays,
    bodies: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    time_s: float,
    device: torch.device,
) -> _Shadow:
    """Depth seen from the light; a sun is a lamp far away."""
    light = scene.lighting
    pose = np.eye(4)
    if light.lamp is not None:
        pose[:3, :3] = _look(np.array((0.0, 1.0, 0.0)), np.array((1.0, 0.0, 0.0)))
        pose[:3, 3] = light.lamp
        focal = 0.5 * _LAMP_SIZE / _LAMP_TAN
        centre = 0.5 * (_LAMP_SIZE - 1)
        intrinsics = Intrinsics(
            fx_px=focal,
            fy_px=focal,
            cx_px=centre,
            cy_px=centre,
            height=_LAMP_SIZE,
            width=_LAMP_SIZE,
        )
    else:
        across, along = light.shadow_half_m
        arc = np.array([scene.motion.speed_m_s * time_s + along - 5.0])
        x, z, heading = path_pose(scene.curvature_1_m, arc, np.zeros(1))
        sun = np.array(light.direction) / np.linalg.norm(light.direction)
        right = np.array((np.cos(heading[0]), 0.0, -np.sin(heading[0])))
        ahead = np.array((np.sin(heading[0]), 0.0, np.cos(heading[0])))
        pose[:3, :3] = _look(-sun, right)
        pose[:3, 3] = np.array((x[0], 0.0, z[0])) + _SUN_M * sun
        axes = np.abs(np.stack((across * right, along * ahead)) @ pose[:3, :2])  # [2, 2]
        width, height = (max(round(2.0 * reach / _SUN_TEXEL_M), 1) for reach in axes.sum(0))
        focal = _SUN_M / _SUN_TEXEL_M
        intrinsics = Intrinsics(
            fx_px=focal,
            fy_px=focal,
            cx_px=0.5 * width,
            cy_px=0.5 * height,
            height=height,
            width=width,
        )
    rays = local_rays(arrays, bodies, pose, intrinsics)
    seen = rasterise(arrays, rays, intrinsics, device, mask=arrays.casts)
    return _Shadow(depth_m=seen.depth_m, to_light=np.linalg.inv(pose), intrinsics=intrinsics)


class _Frame:
    """The visible surface points of one frame, N = H W of them, as columns."""

    def __init__(
        self,
        scene: Scene,
        arrays: PrimitiveArrays,
        rays: LocalRays,
        seen: Visibility,
        pose: NDArray[np.float64],
        intrinsics: Intrinsics,
        device: torch.device,
    ) -> None:
        self.scene = scene
        self.pose = pose
        self.intrinsics = intrinsics
        self.device = device
        self.sky = (seen.primitive == NOTHING).view(-1)
        self.owner = seen.primitive.view(-1).clamp(min=0)
        self.depth = seen.depth_m.view(-1).masked_fill(self.sky, 1.0)
        u = torch.arange(intrinsics.width, dtype=torch.float32, device=device)
        v = torch.arange(intrinsics.height, dtype=torch.float32, device=device)
        self.x = ((u - intrinsics.cx_px) / intrinsics.fx_px).repeat(intrinsics.height)
        self.y = ((v - intrinsics.cy_px) / intrinsics.fy_px).repeat_interleave(intrinsics.width)
        self.point = torch.stack((self.x * self.depth, self.y * self.depth, self.depth))
        self._surface(arrays, rays)
        self.material = material_table(scene.materials, device)
        self._ground(arrays)

    def _surface(self, arrays: PrimitiveArrays, rays: LocalRays) -> None:
        """Local position, normal in the camera frame, and position on the face."""
        columns = np.concatenate(
            (
                rays.axes.reshape(-1, 9),
                rays.origin,
                arrays.half,
                arrays.shape[:, None],
                arrays.label[:, None],
            ),
            axis=1,
        ).T
        table = torch.from_numpy(np.ascontiguousarray(columns, np.float32)).to(self.device)
        values = table.index_select(1, self.owner)  # [17, N]
        x, y, z = self.point
        local = [
            values[3 * i] * x + values[3 * i + 1] * y + values[3 * i + 2] * z + values[9 + i]
            for i in range(3)
        ]
        q = torch.stack(local)
        size = q.abs()
        shape = values[15]
        round_ = (shape == int(Shape.ELLIPSOID)) | (shape == int(Shape.FOLIAGE))
        tube = shape == int(Shape.CYLINDER)
        is_y = (size[1] >= size[0]) & (size[1] >= size[2])
        is_x = ~is_y & (size[0] >= size[2])
        tube_side = tube & ((q[0].square() + q[2].square()).sqrt_() > size[1])
        is_y = torch.where(tube, ~tube_side, is_y)
        smooth = round_ | tube_side
        keep = torch.stack((is_x, is_y & ~tube_side, ~is_x & ~is_y))
        keep[0] |= smooth
        keep[1] |= round_
        keep[2] |= smooth
        normal_local = q * keep
        normal = torch.stack(
            [
                values[i] * normal_local[0]
                + values[3 + i] * normal_local[1]
                + values[6 + i] * normal_local[2]
                for i in range(3)
            ]
        )
        normal.div_(normal.square().sum(0).sqrt_().add_(1e-12))
        # From the inside of a room the face is seen from behind.
        inward = (normal * self.point).sum(0) > 0.0
        self.normal = torch.where(inward, -normal, normal)
        self.face = torch.where(is_y, torch.where(q[1] < 0.0, 1, 2), 0)
        metres = q * values[12:15]
        self.u = torch.where(is_x, metres[2], metres[0])
        self.u += torch.where(smooth, metres[2], 0.0)
        self.v = torch.where(is_y, metres[2], metres[1])
        self.foliage = shape == int(Shape.FOLIAGE)
        self.label = values[16].to(torch.int64).masked_fill_(self.sky, int(Label.SKY))
        if self.scene.lighting.lamp is not None:
            self.label.masked_fill_(self.sky, 255)
        distance = self.point.square().sum(0).sqrt_()
        facing = (self.normal * self.point).sum(0).abs_().div_(distance).clamp_(min=0.08)
        self.facing = facing
        self.footprint = self.depth / (self.intrinsics.fy_px * facing.sqrt())
        faces = torch.from_numpy(arrays.faces.reshape(-1)).to(self.device)
        self.kind = faces.index_select(0, self.face * arrays.faces.shape[1] + self.owner)

    def _world(self, axis: int, points: Tensor) -> Tensor:
        rotation = self.pose[:3, :3]
        a, b, c = (float(value) for value in rotation[axis])
        return a * points[0] + b * points[1] + c * points[2]

    def _ground(self, arrays: PrimitiveArrays) -> None:
        """Give the pixels of the ground the zone and label of their lateral position."""
        self.painted: Tensor | None = None
        if not self.scene.zones:
            return
        is_ground = torch.from_numpy(arrays.ground).to(self.device).index_select(0, self.owner) & ~self.sky
        index = is_ground.nonzero()[:, 0]
        point = self.point.index_select(1, index)
        x = self._world(0, point) + float(self.pose[0, 3])
        z = self._world(2, point) + float(self.pose[2, 3])
        curvature = self.scene.curvature_1_m
        if curvature == 0.0:
            lateral, arc = x, z
        else:
            radius = 1.0 / curvature
            sign = 1.0 if radius > 0.0 else -1.0
            across = radius - x
            lateral = radius - sign * torch.hypot(across, z)
            arc = torch.atan2(sign * z, sign * across) * radius
        zones = self.scene.zones
        edges = torch.tensor([zone.right_m for zone in zones[:-1]], device=self.device)
        zone = torch.bucketize(lateral, edges)
        first = len(self.scene.materials)
        labels = torch.tensor([int(item.label) for item in zones], device=self.device)
        self.material = torch.cat(
            (self.material, material_table([item.material for item in zones], self.device)), dim=1
        )
        self.kind[index] = zone + first
        self.label[index] = labels[zone]
        self.u[index] = lateral
        self.v[index] = arc
        self.painted, self.arc, self.lateral = index, arc, lateral

    def colour(self) -> Tensor:
        """[3, N] albedo."""
        values = self.material.index_select(1, self.kind)
        self.gloss, self.emission = values[16], values[17]
        colour = albedo(values, self.u, self.v, self.owner, self.footprint)
        if self.painted is not None and self.scene.markings:
            index = self.painted
            colour[:, index] = paint(
                colour.index_select(1, index),
                self.arc,
                self.lateral,
                self.footprint[index],
                self.scene.markings,
            )
        return colour

    def light(self, shadow: _Shadow) -> Tensor:
        """[3, N] irradiance: direct light where no shadow falls, ambient, own emission."""
        light = self.scene.lighting
        up = -self._world(1, self.normal)
        if light.lamp is None:
            direction = self.pose[:3, :3].T @ (
                np.array(light.direction) / np.linalg.norm(light.direction)
            )
            cosine = sum(float(direction[i]) * self.normal[i] for i in range(3))
            direct = cosine.clamp(min=0.0)
            # Leaves face every way, let light through and shade each other.
            grain = lookup(noise_table(self.device)[0], self.u * 14.0, self.v * 14.0)
            leaves = (direct * 0.7 + 0.25).mul_(grain.mul_(0.75).add_(0.9).clamp_(0.0, 2.5))
            direct = torch.where(self.foliage, leaves, direct)
        else:
            lamp = self.pose[:3, :3].T @ (np.array(light.lamp) - self.pose[:3, 3])
            to_lamp = torch.stack([float(lamp[i]) - self.point[i] for i in range(3)])
            distance = to_lamp.square().sum(0)
            cosine = (to_lamp * self.normal).sum(0).div_(distance.sqrt()).clamp_(min=0.0)
            direct = cosine / (distance / light.reach_m**2 + 0.35)
        direct = direct * self._visible(shadow, cosine)
        ambient = up.mul_(0.3).add_(0.7)
        return torch.stack(
            [
                direct * light.direct[i] + ambient * light.ambient[i] + self.emission
                for i in range(3)
            ]
        )

    def _visible(self, shadow: _Shadow, cosine: Tensor) -> Tensor:
        """[N] share of the direct light that arrives, by looking up the light's depth map."""
        to_light = shadow.to_light @ self.pose
        points = [
            float(row[0]) * self.point[0]
            + float(row[1]) * self.point[1]
            + float(row[2]) * self.point[2]
            + float(row[3])
            for row in to_light[:3]
        ]
        camera = shadow.intrinsics
        ahead = points[2].clamp(min=0.05)
        u = (points[0] / ahead * camera.fx_px + camera.cx_px).clamp_(-1.0, camera.width)
        v = (points[1] / ahead * camera.fy_px + camera.cy_px).clamp_(-1.0, camera.height)
        # One texel of the map spans more depth the flatter the light falls.
        texel = 0.75 * _SUN_TEXEL_M if self.scene.lighting.lamp is None else 0.03
        bias = texel / cosine.clamp(0.08, 1.0) + texel
        depth = torch.nn.functional.pad(shadow.depth_m, (1, 1, 1, 1), value=torch.inf).view(-1)
        column = u.add_(1.5).to(torch.int32)
        row = v.add_(1.5).to(torch.int32)
        lit = depth.index_select(0, row * (camera.width + 2) + column) > ahead - bias
        return (lit | (points[2] < 0.05)).to(torch.float32)

    def air(self, radiance: Tensor) -> Tensor:
        """Add reflections, haze and the sky behind everything."""
        sky = self.scene.sky
        up = -self._world(1, torch.stack((self.x, self.y, torch.ones_like(self.x))))
        height = up / (self.x.square() + self.y.square() + 1.0).sqrt_()
        mirrored = self.gloss * (1.0 - self.facing).square_()
        haze = 1.0 - torch.exp(self.depth * (-1.0 / sky.haze_m))
        blend = height.clamp(0.0, 1.0).sqrt_()
        forward = self._world(2, torch.stack((self.x, self.y, torch.ones_like(self.x))))
        side = self._world(0, torch.stack((self.x, self.y, torch.ones_like(self.x))))
        plane = height.clamp(min=0.04) + 0.1
        table = noise_table(self.device)
        cloud = lookup(table[1], side / plane * 30.0, forward / plane * 30.0)
        cloud = cloud.mul_(0.8).add_(2.5 * sky.cover - 1.0).clamp_(0.0, 1.0)
        for channel in range(3):
            horizon, zenith = sky.horizon[channel], sky.zenith[channel]
            ground = radiance[channel]
            ground.add_(mirrored * (horizon - ground))
            ground.add_(haze * (horizon - ground))
            background = blend * (zenith - horizon) + horizon
            background.add_(cloud * (sky.cloud[channel] - background))
            radiance[channel] = torch.where(self.sky, background, ground)
        return radiance
