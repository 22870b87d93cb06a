# SPDX-License-Identifier: Apache-2.0
"""Seeing one camera's image from where another stood: poses, projection, sampling.

Conventions of the two codes that trained the published networks (monodepth2 and packnet-sfm):
pixel centres at integers, camera frames optical (x right, y down, z forward), and a pose [4, 4]
maps points of the target camera into the frame of the reference camera. Everything here is
computed in float32, also under autocast: a rounded coordinate is another pixel.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.precision import at_least_float32

Padding: TypeAlias = Literal['zeros', 'border']
"""What is seen beyond the image: black (packnet-sfm) or its outermost pixels (monodepth2)."""

_NEAREST: Final = 1e-5
"""Smallest depth that is divided by, as in packnet-sfm: points behind the camera land far outside
its image. (monodepth2 adds 1e-7 to the depth instead, which mirrors them into it.)"""
_SMALLEST_INVERSE: Final = 1e-6
_SMALLEST_ANGLE: Final = 1e-7


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Rotation Rx(a) @ Ry(b) @ Rz(c) of right-handed elementary rotations (packnet-sfm).

    Args:
        angles: [..., 3] a, b, c, radians.

    Returns:
        [..., 3, 3].
    """
    angles = at_least_float32(angles)
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    matrix: Tensor = torch.stack(
        (
            cy * cz, -cy * sz, sy,
            cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy,
            sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy,
        ),
        dim=-1,
    ).unflatten(-1, (3, 3))  # fmt: skip
    return matrix


def axis_angle_to_matrix(rotation: Tensor) -> Tensor:
    """Rotation about an axis by its length, after Rodrigues (monodepth2).

    R = cos(t) I + (1 - cos(t)) a a^T + sin(t) [a]x with t = |v| and a = v / (t + 1e-7), so that
    no rotation has a finite gradient.

    Args:
        rotation: [..., 3] axis times angle, radians.

    Returns:
        [..., 3, 3].
    """
    rotation = at_least_float32(rotation)
    # The slope of a norm at 0 is not a number; a pose network may well answer exactly 0.
    still = (rotation == 0.0).all(dim=-1, keepdim=True)
    angle = torch.where(still, 1.0, rotation).norm(dim=-1, keepdim=True)
    angle = torch.where(still, 0.0, angle)
    x, y, z = (rotation / (angle + _SMALLEST_ANGLE)).unbind(-1)
    angle = angle.squeeze(-1)
    s, c = angle.sin(), angle.cos()
    rest = 1.0 - c
    matrix: Tensor = torch.stack(
        (
            x * x * rest + c, x * y * rest - z * s, z * x * rest + y * s,
            x * y * rest + z * s, y * y * rest + c, y * z * rest - x * s,
            z * x * rest - y * s, y * z * rest + x * s, z * z * rest + c,
        ),
        dim=-1,
    ).unflatten(-1, (3, 3))  # fmt: skip
    return matrix


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Put [..., 3, 3] and [..., 3] together as [..., 4, 4]: x' = R x + t."""
    top = torch.cat((rotation, at_least_float32(translation).unsqueeze(-1)), dim=-1)
    last = torch.zeros_like(top[..., :1, :])
    last[..., 3] = 1.0
    return torch.cat((top, last), dim=-2)


def inverse_rigid(pose: Tensor) -> Tensor:
    """The way back of a rigid transform [..., 4, 4]: x = R^T (x' - t)."""
    back = pose[..., :3, :3].transpose(-1, -2)
    return rigid(back, -(back @ pose[..., :3, 3:]).squeeze(-1))


def scale_camera(camera: Tensor, scale_x: float, scale_y: float | None = None) -> Tensor:
    """The camera matrix of a resized image, with the half-pixel rule.

    Args:
        camera: [B, 3, 3].
        scale_x: New width over old.
        scale_y: New height over old; `scale_x` when None.
    """
    scale_y = scale_x if scale_y is None else scale_y
    scaled = at_least_float32(camera).clone()
    scaled[:, 0, 0] *= scale_x
    scaled[:, 1, 1] *= scale_y
    scaled[:, 0, 2] = (scaled[:, 0, 2] + 0.5) * scale_x - 0.5
    scaled[:, 1, 2] = (scaled[:, 1, 2] + 0.5) * scale_y - 0.5
    return scaled


def inverse_to_depth(inverse_depth: Tensor) -> Tensor:
    """1 / max(inverse depth, 1e-6), in float32."""
    return 1.0 / at_least_float32(inverse_depth).clamp(min=_SMALLEST_INVERSE)


def back_project(depth: Tensor, camera: Tensor) -> Tensor:
    """Lift a depth map into points.

    Args:
        depth: [B, 1, H, W] z-depth.
        camera: [B, 3, 3] matrix in pixels of that map.

    Returns:
        [B, 3, H, W] in the frame of the camera, in the unit of the depth.
    """
    depth, camera = at_least_float32(depth), at_least_float32(camera)
    height, width = depth.shape[-2:]
    rows = torch.arange(height, device=depth.device, dtype=depth.dtype)
    columns = torch.arange(width, device=depth.device, dtype=depth.dtype)
    v, u = torch.meshgrid(rows, columns, indexing='ij')
    x = (u - camera[:, 0, 2, None, None]) / camera[:, 0, 0, None, None]
    y = (v - camera[:, 1, 2, None, None]) / camera[:, 1, 1, None, None]
    return torch.stack((x, y, torch.ones_like(x)), dim=1) * depth


def projected(
    points: Tensor, pose: Tensor, camera: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Where points of the target camera are seen by the reference camera.

    Args:
        points: [B, 3, H, W] in the frame of the target camera.
        pose: [B, 4, 4] target to reference camera.
        camera: [B, 3, 3] matrix of the reference camera.
        size: (height, width) of the reference image.

    Returns:
        [B, H, W, 2] column and row, -1 at the centre of the first pixel and 1 at that of the
        last, as `sampled` takes them; and whether that is inside the image and in front of the
        camera, [B, 1, H, W] bool.
    """
    matrix = at_least_float32(camera) @ at_least_float32(pose[:, :3, :])
    seen = torch.einsum('bij,bjhw->bihw', matrix[:, :, :3], points) + matrix[:, :, 3, None, None]
    pixels = seen[:, :2] / seen[:, 2:].clamp(min=_NEAREST)
    height, width = size
    last = pixels.new_tensor((width - 1, height - 1)).view(1, 2, 1, 1)
    grid = 2.0 * pixels / last - 1.0
    inside = (grid.abs() <= 1.0).all(dim=1, keepdim=True) & (seen[:, 2:] > _NEAREST)
    return grid.permute(0, 2, 3, 1), inside


def sampled(
    image: Tensor, grid: Tensor, *, padding: Padding = 'zeros', align_corners: bool = True
) -> Tensor:
    """Read an image at the places of `grid`, bilinearly.

    Args:
        image: [B, C, H, W].
        grid: [B, H', W', 2] from `projected`.
        padding: What lies beyond the image.
        align_corners: True reads `grid` as `projected` means it. False is what monodepth2 got
            from torch 1.3 on, when the default changed under it: half a pixel off at the borders.
    """
    return F.grid_sample(
        at_least_float32(image),
        at_least_float32(grid),
        mode='bilinear',
        padding_mode=padding,
        align_corners=align_corners,
    )


def synthesised(
    reference: Tensor,
    depth: Tensor,
    camera: Tensor,
    pose: Tensor,
    *,
    reference_camera: Tensor | None = None,
    padding: Padding = 'zeros',
    align_corners: bool = True,
) -> tuple[Tensor, Tensor]:
    """The target view put together from the pixels of a reference image.

    Args:
        reference: [B, 3, H', W'] image of the reference camera.
        depth: [B, 1, H, W] z-depth of the target view.
        camera: [B, 3, 3] matrix of the target camera, in pixels of the depth.
        pose: [B, 4, 4] target to reference camera, translation in the unit of the depth.
        reference_camera: Matrix of the reference camera; `camera` when None.
        padding: What is seen beyond the reference image.
        align_corners: See `sampled`.

    Returns:
        The view [B, 3, H, W], and whether each of its pixels is seen in the reference image.
    """
    with torch.autocast(depth.device.type, enabled=False):
        grid, inside = projected(
            back_project(depth, camera),
            pose,
            camera if reference_camera is None else reference_camera,
            (reference.shape[-2], reference.shape[-1]),
        )
        view = sampled(reference, grid, padding=padding, align_corners=align_corners)
    return view, inside
