# SPDX-License-Identifier: Apache-2.0
"""The radiance of every pixel, computed once after its surface is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.contracts import Intrinsics
from depth_core.data.synthetic.motion import camera_pose, place
from depth_core.data.synthetic.rendering.raster import local_rays, rasterise
from depth_core.data.synthetic.rendering.shadow import ShadowMap, shadow_map
from depth_core.data.synthetic.rendering.surface import Surface, View, visible_surface
from depth_core.data.synthetic.rendering.texture import (
    albedo,
    lookup,
    material_table,
    noise_table,
    paint,
    print_pictures,
)
from depth_core.data.synthetic.scene import Scene, Sky
from depth_core.data.synthetic.things.panes import add_panes
from depth_core.data.synthetic.things.pictures import picture_table
from depth_core.geometry import resize_intrinsics


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
    primitive: Tensor
    """[H, W] int32 index of the primitive that is seen, -1 for the sky."""
    behind_glass: Tensor | None = None
    """[H, W] bool, where a pane or a mirror is in front of it; None = nowhere."""


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
    placement = place(scene, arrays, time_s)
    view = View(pose=camera_pose(scene, time_s), intrinsics=intrinsics, device=device)
    rays = local_rays(placement, view.pose, intrinsics)
    seen = rasterise(arrays.shape, rays, intrinsics, device)
    surface = visible_surface(scene, arrays, rays, seen, view)
    shadow = shadow_map(scene, arrays, placement, time_s, device)
    values = _material_values(scene, surface)
    colour = _colour(scene, surface, values)
    light = _light(scene, surface, view, shadow, emission=values[17])
    radiance = _air(scene.sky, surface, view, colour.mul_(light), gloss=values[16])
    radiance = radiance.view(3, intrinsics.height, intrinsics.width)
    hidden = add_panes(scene, radiance, seen.depth_m, view)
    return Render(
        radiance=radiance,
        depth_m=seen.depth_m,
        label=surface.label.view(intrinsics.height, intrinsics.width),
        pose=view.pose,
        primitive=seen.primitive,
        behind_glass=hidden,
    )


def render_averaged(
    scene: Scene, intrinsics: Intrinsics, time_s: float, device: torch.device, rays: int
) -> Render:
    """Render with the light of `rays` x `rays` rays averaged over each pixel.

    Depth, label and primitive are those of the ray in the middle, so that `rays` is odd and the
    same pixel has the same depth for any number of them. Arguments and result as of `render`.
    """
    if rays == 1:
        return render(scene, intrinsics, time_s, device)
    size = {'height': intrinsics.height * rays, 'width': intrinsics.width * rays}
    fine = render(scene, resize_intrinsics(intrinsics, **size), time_s, device)
    middle = slice(rays // 2, None, rays)
    return Render(
        radiance=F.avg_pool2d(fine.radiance, rays),
        depth_m=fine.depth_m[middle, middle].contiguous(),
        label=fine.label[middle, middle].contiguous(),
        pose=fine.pose,
        primitive=fine.primitive[middle, middle].contiguous(),
        behind_glass=None
        if fine.behind_glass is None
        else fine.behind_glass[middle, middle].contiguous(),
    )


def _material_values(scene: Scene, surface: Surface) -> Tensor:
    """[19, N] numbers of the material of every pixel."""
    materials = [*scene.materials, *(zone.material for zone in scene.zones)]
    table = material_table(materials, surface.depth.device)
    return table.index_select(1, surface.material)


def _colour(scene: Scene, surface: Surface, values: Tensor) -> Tensor:
    """[3, N] albedo."""
    colour = albedo(values, surface.u, surface.v, surface.owner, surface.footprint)
    if any(item.picture >= 0 for item in scene.materials):
        table = picture_table(scene.pictures, colour.device)
        print_pictures(
            colour, values, surface.u, surface.v, footprint=surface.footprint, table=table
        )
    ground = surface.ground
    if ground is not None and scene.markings:
        footprint = surface.footprint.index_select(0, ground.index)
        bare = colour.index_select(1, ground.index)
        colour[:, ground.index] = paint(
            bare, ground.arc, ground.lateral, footprint, scene.markings
        )
    return colour


def _light(
    scene: Scene, surface: Surface, view: View, shadow: ShadowMap, *, emission: Tensor
) -> Tensor:
    """[3, N] irradiance: direct light where no shadow falls, ambient, own emission."""
    light = scene.lighting
    rotation = view.pose[:3, :3]
    if light.lamp is None:
        sun = rotation.T @ (np.array(light.direction) / np.linalg.norm(light.direction))
        x, y, z = (float(value) for value in sun)
        cosine = surface.normal[0] * x + surface.normal[1] * y + surface.normal[2] * z
        direct = cosine.clamp_(min=0.0)
        # Leaves face every way, let light through and shade each other.
        grain = lookup(noise_table(view.device)[0], surface.u * 14.0, surface.v * 14.0)
        leaves = direct * 0.7 + 0.25
        leaves.mul_(grain.mul_(0.75).add_(0.9).clamp_(0.0, 2.5))
        direct = torch.where(surface.foliage, leaves, direct)
    else:
        lamp = rotation.T @ (np.array(light.lamp) - view.pose[:3, 3])
        lamp_at = torch.tensor(lamp, dtype=torch.float32, device=view.device)[:, None]
        to_lamp = lamp_at - surface.point
        squared = to_lamp.square().sum(0)
        cosine = (to_lamp * surface.normal).sum(0).div_(squared.sqrt()).clamp_(min=0.0)
        # Real lamps have a size and rooms reflect, so that a near wall is not infinitely bright.
        direct = cosine / (squared / light.reach_m**2 + 0.35)
    direct = direct * shadow.lit(surface.point, cosine, view.pose)
    ambient = view.world(1, surface.normal).mul_(-0.3).add_(0.7)
    return torch.stack(
        [direct * light.direct[i] + ambient * light.ambient[i] + emission for i in range(3)]
    )


def _air(sky: Sky, surface: Surface, view: View, radiance: Tensor, *, gloss: Tensor) -> Tensor:
    """Add reflections, haze and the sky behind everything to [3, N] radiance, in place."""
    side, down, forward = (view.world(axis, surface.rays) for axis in range(3))
    height = down.neg_().div_(surface.rays.square().sum(0).sqrt_())
    mirrored = gloss * (1.0 - surface.facing).square_()
    haze = 1.0 - torch.exp(surface.depth * (-1.0 / sky.haze_m))
    blend = height.clamp(0.0, 1.0).sqrt_()
    plane = height.clamp_(min=0.04).add_(0.1)
    cloud = lookup(noise_table(view.device)[1], side / plane * 30.0, forward / plane * 30.0)
    cloud.mul_(0.8).add_(2.5 * sky.cover - 1.0).clamp_(0.0, 1.0)
    for channel in range(3):
        horizon, zenith = sky.horizon[channel], sky.zenith[channel]
        near = radiance[channel]
        near.addcmul_(mirrored, horizon - near).addcmul_(haze, horizon - near)
        behind = blend * (zenith - horizon) + horizon
        behind.addcmul_(cloud, sky.cloud[channel] - behind)
        radiance[channel] = torch.where(surface.sky, behind, near)
    return radiance
