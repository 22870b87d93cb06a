# SPDX-License-Identifier: Apache-2.0
"""The visible surface points of a frame: normals, labels and places on their faces.

Everything is a column over the N = H W pixels, in the camera frame unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.contracts import Intrinsics
from depth_core.data.synthetic.rendering.raster import NOTHING, LocalRays, Visibility
from depth_core.data.synthetic.scene import Label, PrimitiveArrays, Scene, Shape

_SMALLEST_FACING = 0.08


@dataclass(frozen=True, kw_only=True)
class View:
    """A camera at one moment."""

    pose: NDArray[np.float64]
    """[4, 4] camera-to-world."""
    intrinsics: Intrinsics
    device: torch.device

    def world(self, axis: int, vectors: Tensor) -> Tensor:
        """[N] world component `axis` of [3, N] camera vectors, turned but not moved."""
        a, b, c = (float(value) for value in self.pose[axis, :3])
        return a * vectors[0] + b * vectors[1] + c * vectors[2]

    def directions(self) -> Tensor:
        """[3, N] rays (x, y, 1) of the pixels."""
        camera = self.intrinsics
        u = torch.arange(camera.width, dtype=torch.float32, device=self.device)
        v = torch.arange(camera.height, dtype=torch.float32, device=self.device)
        x = (u - camera.cx_px) / camera.fx_px
        y = (v - camera.cy_px) / camera.fy_px
        size = (camera.height, camera.width)
        rays = (x.expand(size), y[:, None].expand(size), torch.ones(size, device=self.device))
        return torch.stack(rays).view(3, -1)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The pixels that see the painted ground; M of them."""

    index: Tensor
    """[M] which of the N pixels."""
    arc: Tensor
    """[M] metres along the path."""
    lateral: Tensor
    """[M] metres to the right of the path."""
    zone: Tensor
    """[M] index of the ground zone."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What the pixels see; at the sky the numbers are finite and mean nothing."""

    sky: Tensor
    """[N] bool."""
    owner: Tensor
    """[N] int32 index of the primitive."""
    depth: Tensor
    """[N] z-depth, 1 at the sky."""
    rays: Tensor
    """[3, N] as `View.directions`."""
    point: Tensor
    """[3, N] metres."""
    normal: Tensor
    """[3, N] unit vectors towards the camera."""
    facing: Tensor
    """[N] cosine between normal and ray, not below 0.08."""
    footprint: Tensor
    """[N] size of the pixel on the surface, metres."""
    foliage: Tensor
    """[N] bool."""
    u: Tensor
    """[N] metres along the face."""
    v: Tensor
    """[N] metres across the face."""
    material: Tensor
    """[N] index of the material; that of ground zone k is the number of materials plus k."""
    label: Tensor
    """[N] int64 semantic id."""
    ground: Ground | None


def visible_surface(
    scene: Scene, arrays: PrimitiveArrays, rays: LocalRays, seen: Visibility, view: View
) -> Surface:
    """Work out what is known about the surface point of every pixel."""
    sky = (seen.primitive == NOTHING).view(-1)
    owner = seen.primitive.view(-1).clamp(min=0)
    depth = seen.depth_m.view(-1).masked_fill(sky, 1.0)
    direction = view.directions()
    point = direction * depth
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
    table = torch.from_numpy(np.ascontiguousarray(columns, np.float32)).to(view.device)
    values = table.index_select(1, owner)  # [17, N]
    axes, origin, half, shape = values[:9].view(3, 3, -1), values[9:12], values[12:15], values[15]

    local = origin.clone()
    for axis in range(3):
        local.addcmul_(axes[:, axis], point[axis])
    size = local.abs()
    ball = (shape == int(Shape.ELLIPSOID)) | (shape == int(Shape.FOLIAGE))
    tube = (shape == int(Shape.CYLINDER)) | (shape == int(Shape.RING))
    side = tube & ((local[0].square() + local[2].square()).sqrt_() > size[1])
    on_y = torch.where(tube, ~side, (size[1] >= size[0]) & (size[1] >= size[2]))
    on_x = ~on_y & (size[0] >= size[2])
    smooth = ball | side
    keep = torch.stack((on_x | smooth, (on_y & ~side) | ball, (~on_x & ~on_y) | smooth))
    gradient = local * keep
    normal = axes[0] * gradient[0]
    normal.addcmul_(axes[1], gradient[1]).addcmul_(axes[2], gradient[2])
    normal.div_(normal.square().sum(0).sqrt_().add_(1e-12))
    along_ray = (normal * point).sum(0)
    # From the inside of a room a wall is seen from behind.
    normal = torch.where(along_ray > 0.0, -normal, normal)
    facing = along_ray.abs_().div_(point.square().sum(0).sqrt_()).clamp_(min=_SMALLEST_FACING)

    metres = local * half
    u = torch.where(on_x, metres[2], metres[0]).add_(metres[2] * smooth)
    v = torch.where(on_y, metres[2], metres[1])
    face = torch.where(on_y, torch.where(local[1] < 0.0, 1, 2), 0)
    faces = torch.from_numpy(arrays.faces.reshape(-1)).to(view.device)
    material = faces.index_select(0, face * arrays.faces.shape[1] + owner)
    nowhere = 255 if scene.lighting.lamp is not None else int(Label.SKY)
    label = values[16].to(torch.int64).masked_fill_(sky, nowhere)
    painted = torch.from_numpy(arrays.ground).to(view.device).index_select(0, owner)
    ground = _ground(scene, painted & ~sky, point, view) if scene.zones else None
    if ground is not None:
        labels = torch.tensor([int(zone.label) for zone in scene.zones], device=view.device)
        material[ground.index] = ground.zone + len(scene.materials)
        label[ground.index] = labels[ground.zone]
        u[ground.index] = ground.lateral
        v[ground.index] = ground.arc
    return Surface(
        sky=sky,
        owner=owner,
        depth=depth,
        rays=direction,
        point=point,
        normal=normal,
        facing=facing,
        footprint=depth / (facing.sqrt().mul_(view.intrinsics.fy_px)),
        foliage=shape == int(Shape.FOLIAGE),
        u=u,
        v=v,
        material=material,
        label=label,
        ground=ground,
    )


def _ground(scene: Scene, painted: Tensor, point: Tensor, view: View) -> Ground:
    """Find the pixels of the ground and where on the path they lie."""
    index = painted.nonzero()[:, 0]
    seen = point.index_select(1, index)
    x = view.world(0, seen) + float(view.pose[0, 3])
    z = view.world(2, seen) + float(view.pose[2, 3])
    if scene.curvature_1_m == 0.0:
        lateral, arc = x, z
    else:
        radius = 1.0 / scene.curvature_1_m
        sign = 1.0 if radius > 0.0 else -1.0
        across = radius - x
        lateral = radius - sign * torch.hypot(across, z)
        arc = torch.atan2(sign * z, sign * across) * radius
    edges = torch.tensor([zone.right_m for zone in scene.zones[:-1]], device=view.device)
    return Ground(index=index, arc=arc, lateral=lateral, zone=torch.bucketize(lateral, edges))
