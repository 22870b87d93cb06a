# SPDX-License-Identifier: Apache-2.0
"""Which surface each pixel sees, and how far away it is.

The ray of a pixel is (x, y, 1) in the camera frame, so its parameter at a hit is the z-depth
itself. Primitives meet only the tiles of their screen rectangle; all pairs of one shape are
intersected in one batch, and the nearest hit of each pixel wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.contracts import Intrinsics
from depth_core.data.synthetic.motion import Placement
from depth_core.data.synthetic.rendering.intersect import NEAR_M, intersect
from depth_core.data.synthetic.scene import Shape

TILE = 8
"""Side of a tile, pixels."""
NOTHING = -1
"""Index of the primitive seen where no surface is hit."""

_CORNERS = np.array(
    [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
)  # [8, 3]
_EDGES = np.array(
    [(a, b) for a in range(8) for b in range(a) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 2.0]
)  # [12, 2]


@dataclass(frozen=True, kw_only=True)
class LocalRays:
    """The rays of one camera in the unit frame of every primitive."""

    origin: NDArray[np.float32]
    """[P, 3] camera centre in the unit frame."""
    axes: NDArray[np.float32]
    """[P, 3, 3] maps a direction of the camera frame into the unit frame."""
    low_px: NDArray[np.int64]
    """[P, 2] first column and row that may see the primitive."""
    high_px: NDArray[np.int64]
    """[P, 2] last column and row; less than `low_px` when it is out of view."""


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """What each pixel sees."""

    depth_m: Tensor
    """[H, W] float32 z-depth, +inf where nothing is hit."""
    primitive: Tensor
    """[H, W] int32 index of the primitive, `NOTHING` where nothing is hit."""


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Primitives and the tiles that may see them; T pairs."""

    member: NDArray[np.int64]
    """Index of the primitive."""
    column: NDArray[np.int64]
    row: NDArray[np.int64]


def local_rays(
    placement: Placement, pose: NDArray[np.float64], intrinsics: Intrinsics
) -> LocalRays:
    """Express a camera in the frames of all primitives and bound them on its screen.

    Args:
        placement: The primitives.
        pose: [4, 4] camera-to-world transform.
        intrinsics: The camera.

    Returns:
        Rays and screen rectangles, of float32 precision from float64 arithmetic.
    """
    to_unit = np.swapaxes(placement.rotation, 1, 2) / placement.half[:, :, None]
    axes = to_unit @ pose[:3, :3]
    origin = (to_unit @ (pose[:3, 3] - placement.centre)[..., None])[..., 0]
    to_camera = pose[:3, :3].T @ (placement.rotation * placement.half[:, None, :])
    low, high = _bounds(to_camera, (placement.centre - pose[:3, 3]) @ pose[:3, :3], intrinsics)
    return LocalRays(
        origin=origin.astype(np.float32),
        axes=axes.astype(np.float32),
        low_px=low,
        high_px=high,
    )


def _bounds(
    to_camera: NDArray[np.float64], centre: NDArray[np.float64], intrinsics: Intrinsics
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Screen rectangles of boxes, clipped by the near plane and by the image."""
    corners = np.einsum('pij,cj->pci', to_camera, _CORNERS) + centre[:, None]  # [P, 8, 3]
    start, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    rise = end[..., 2] - start[..., 2]
    with np.errstate(divide='ignore', invalid='ignore'):
        share = (NEAR_M - start[..., 2]) / rise
    crosses = (share > 0.0) & (share < 1.0)
    share = np.where(crosses, share, 0.0)[..., None]
    points = np.concatenate((corners, start + share * (end - start)), axis=1)  # [P, 20, 3]
    ahead = np.concatenate((corners[..., 2] >= NEAR_M, crosses), axis=1)
    depth = np.maximum(points[..., 2], NEAR_M)
    u = intrinsics.fx_px * points[..., 0] / depth + intrinsics.cx_px
    v = intrinsics.fy_px * points[..., 1] / depth + intrinsics.cy_px
    uv = np.stack((u, v), axis=-1)
    size = np.array((intrinsics.width, intrinsics.height), np.float64)
    first = np.where(ahead[..., None], uv, np.inf).min(axis=1)
    last = np.where(ahead[..., None], uv, -np.inf).max(axis=1)
    low = np.ceil(np.clip(first - 1e-3, 0.0, size)).astype(np.int64)
    high = np.floor(np.clip(last + 1e-3, -1.0, size - 1.0)).astype(np.int64)
    return low, high


def _pairs(rays: LocalRays, index: NDArray[np.int64]) -> _Pairs:
    """Return every tile in the rectangle of every primitive in `index`."""
    low, high = rays.low_px[index], rays.high_px[index]
    first = low // TILE
    count = np.maximum(high // TILE - first + 1, 0)
    count[(high < low).any(axis=1)] = 0
    area = count[:, 0] * count[:, 1]
    member = np.repeat(np.arange(len(area)), area)
    within = np.arange(len(member)) - np.repeat(np.cumsum(area) - area, area)
    columns = count[member, 0]
    return _Pairs(
        member=index[member],
        column=first[member, 0] + within % columns,
        row=first[member, 1] + within // columns,
    )


def rasterise(
    shape: NDArray[np.int64], rays: LocalRays, intrinsics: Intrinsics, device: torch.device
) -> Visibility:
    """Find the nearest hit of every pixel.

    Args:
        shape: [P] `Shape` of every primitive; negative for one that does not take part.
        rays: The camera in their frames.
        intrinsics: The camera.
        device: Where to compute.

    Returns:
        Depth and primitive of every pixel.
    """
    columns = -(-intrinsics.width // TILE)
    rows = -(-intrinsics.height // TILE)
    tiles, members, hits = [], [], []
    for form in Shape:
        pairs = _pairs(rays, np.flatnonzero(shape == int(form)))
        if len(pairs.member):
            tiles.append(pairs.row * columns + pairs.column)
            members.append(pairs.member)
            hits.append(_hits(form, rays, pairs, intrinsics, device))
    if not tiles:
        size = (intrinsics.height, intrinsics.width)
        return Visibility(
            depth_m=torch.full(size, torch.inf, device=device),
            primitive=torch.full(size, NOTHING, dtype=torch.int32, device=device),
        )
    depth, primitive = _resolve(
        np.concatenate(tiles), np.concatenate(members), torch.cat(hits), rows * columns
    )
    return Visibility(
        depth_m=_untile(depth, rows, columns, intrinsics),
        primitive=_untile(primitive, rows, columns, intrinsics),
    )


def _untile(values: Tensor, rows: int, columns: int, intrinsics: Intrinsics) -> Tensor:
    image = values.view(rows, columns, TILE, TILE).permute(0, 2, 1, 3)
    image = image.reshape(rows * TILE, columns * TILE)
    return image[: intrinsics.height, : intrinsics.width].contiguous()


def _resolve(
    tile: NDArray[np.int64], member: NDArray[np.int64], hits: Tensor, n_tiles: int
) -> tuple[Tensor, Tensor]:
    """Reduce [T, TILE²] hits to the nearest of each tile.

    Tiles are ordered by how many pairs they have, so that the k-th pairs of all tiles that have
    one form a prefix and are merged without any gathering.
    """
    counts = np.bincount(tile, minlength=n_tiles)
    place = np.empty(n_tiles, np.int64)
    place[np.argsort(-counts, kind='stable')] = np.arange(n_tiles)
    by_tile = np.argsort(place[tile], kind='stable')
    ordered = np.sort(counts)[::-1]
    starts = np.cumsum(ordered) - ordered
    rank = np.arange(len(tile)) - np.repeat(starts, ordered)
    by_rank = by_tile[np.argsort(rank, kind='stable')]
    device = hits.device
    hits = hits.index_select(0, torch.from_numpy(by_rank).to(device))
    primitive = torch.from_numpy(member[by_rank].astype(np.int32)).to(device)[:, None]
    best = torch.full((n_tiles, TILE * TILE), torch.inf, device=device)
    owner = torch.full((n_tiles, TILE * TILE), NOTHING, dtype=torch.int32, device=device)
    start = 0
    for length in np.bincount(rank).tolist():
        challenger = hits[start : start + length]
        torch.where(
            challenger < best[:length],
            primitive[start : start + length],
            owner[:length],
            out=owner[:length],
        )
        torch.minimum(challenger, best[:length], out=best[:length])
        start += length
    where = torch.from_numpy(place).to(device)
    return best.index_select(0, where), owner.index_select(0, where)


def _hits(
    shape: Shape, rays: LocalRays, pairs: _Pairs, intrinsics: Intrinsics, device: torch.device
) -> Tensor:
    """[T, TILE²] z-depth of the pixels of T pairs, +inf for a miss."""
    steps = np.arange(TILE)
    x = (pairs.column[:, None] * TILE + steps - intrinsics.cx_px) / intrinsics.fx_px
    y = (pairs.row[:, None] * TILE + steps - intrinsics.cy_px) / intrinsics.fy_px
    axes = rays.axes[pairs.member].transpose(1, 2, 0)[..., None]  # [3, 3, T, 1]
    along = axes[:, 0] * x.astype(np.float32)  # [3, T, TILE]
    across = axes[:, 1] * y.astype(np.float32) + axes[:, 2]
    dx = torch.from_numpy(np.ascontiguousarray(along)).to(device)
    dy = torch.from_numpy(np.ascontiguousarray(across)).to(device)
    origin = torch.from_numpy(np.ascontiguousarray(rays.origin[pairs.member].T)).to(device)
    direction = (dy[:, :, :, None] + dx[:, :, None, :]).view(3, -1, TILE * TILE)
    return intersect(shape, origin[:, :, None], direction)
