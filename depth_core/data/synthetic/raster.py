# SPDX-License-Identifier: Apache-2.0
"""Which surface each pixel sees, and how far away it is.

The ray of a pixel is (x, y, 1) in the camera frame, so its parameter at a hit is the z-depth
itself. Primitives meet only the tiles of their screen rectangle; all pairs of one shape are
intersected in one batch, and the nearest hit of each pixel wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.contracts import Intrinsics
from depth_core.data.synthetic.scene import PrimitiveArrays, Shape, yaw_matrix

TILE = 8
"""Side of a tile, pixels."""
NEAR_M = 0.05
"""A hit nearer than this does not count."""
NOTHING = -1
"""Index of the primitive seen where no surface is hit."""

_CORNERS = np.array(
    [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
)  # [8, 3]
_EDGES = np.array(
    [(a, b) for a in range(8) for b in range(a) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 2.0]
)  # [12, 2]
_FOLIAGE_CELLS = 64


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


def local_rays(
    arrays: PrimitiveArrays,
    bodies: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    pose: NDArray[np.float64],
    intrinsics: Intrinsics,
) -> LocalRays:
    """Express a camera in the frames of all primitives and bound them on its screen.

    Args:
        arrays: The primitives.
        bodies: x, z and heading of every body.
        pose: [4, 4] camera-to-world transform.
        intrinsics: The camera.

    Returns:
        Rays and screen rectangles, of float32 precision from float64 arithmetic.
    """
    x, z, heading = (column[arrays.body] for column in bodies)
    body_rotation = yaw_matrix(heading)
    rotation = body_rotation @ arrays.rotation
    offset = np.stack((x, np.zeros_like(x), z), axis=-1)
    centre = (body_rotation @ arrays.centre[..., None])[..., 0] + offset
    to_unit = np.swapaxes(rotation, 1, 2) / arrays.half[:, :, None]
    axes = to_unit @ pose[:3, :3]
    origin = (to_unit @ (pose[:3, 3] - centre)[..., None])[..., 0]
    to_camera = pose[:3, :3].T @ (rotation * arrays.half[:, None, :])  # [P, 3, 3]
    centre_camera = (centre - pose[:3, 3]) @ pose[:3, :3]
    low, high = _bounds(to_camera, centre_camera, intrinsics)
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


def _pairs(
    low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (member, tile column, tile row) of every tile in every rectangle."""
    first = low // TILE
    count = np.maximum(high // TILE - first + 1, 0)
    count[(high < low).any(axis=1)] = 0
    area = count[:, 0] * count[:, 1]
    member = np.repeat(np.arange(len(area)), area)
    within = np.arange(len(member)) - np.repeat(np.cumsum(area) - area, area)
    columns = np.maximum(count[member, 0], 1)
    return member, first[member, 0] + within % columns, first[member, 1] + within // columns


def rasterise(
    arrays: PrimitiveArrays,
    rays: LocalRays,
    intrinsics: Intrinsics,
    device: torch.device,
    mask: NDArray[np.bool_] | None = None,
) -> Visibility:
    """Find the nearest hit of every pixel.

    Args:
        arrays: The primitives.
        rays: The camera in their frames.
        intrinsics: The camera.
        device: Where to compute.
        mask: [P] True for the primitives that take part; None for all.

    Returns:
        Depth and primitive of every pixel.
    """
    columns = -(-intrinsics.width // TILE)
    rows = -(-intrinsics.height // TILE)
    tiles, members, hits = [], [], []
    for shape in Shape:
        chosen = arrays.shape == int(shape)
        if mask is not None:
            chosen &= mask
        index = np.flatnonzero(chosen)
        if not len(index):
            continue
        member, column, row = _pairs(rays.low_px[index], rays.high_px[index])
        if not len(member):
            continue
        member = index[member]
        tiles.append(row * columns + column)
        members.append(member)
        hits.append(_intersect(shape, rays, member, column, row, intrinsics, device))
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


def _intersect(
    shape: Shape,
    rays: LocalRays,
    member: NDArray[np.int64],
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    intrinsics: Intrinsics,
    device: torch.device,
) -> Tensor:
    """[T, TILE²] z-depth of the hits of T (primitive, tile) pairs, +inf for a miss."""
    steps = np.arange(TILE)
    x = (column[:, None] * TILE + steps - intrinsics.cx_px) / intrinsics.fx_px
    y = (row[:, None] * TILE + steps - intrinsics.cy_px) / intrinsics.fy_px
    axes = rays.axes[member]  # [T, 3, 3]
    along = np.moveaxis(axes[:, :, 0, None] * x[:, None].astype(np.float32), 0, 1)
    across = axes[:, :, 1, None] * y[:, None].astype(np.float32) + axes[:, :, 2, None]
    across = np.moveaxis(across, 0, 1)  # [3, T, TILE]
    dx, dy = (
        torch.from_numpy(np.ascontiguousarray(part, np.float32)).to(device)
        for part in (along, across)
    )
    origin = torch.from_numpy(np.ascontiguousarray(rays.origin[member].T)).to(device)
    origin = origin[:, :, None]  # [3, T, 1]
    direction = (dy[:, :, :, None] + dx[:, :, None, :]).view(3, -1, TILE * TILE)
    if shape is Shape.BOX:
        return _box(origin, direction)
    if shape is Shape.CYLINDER:
        return _cylinder(origin, direction)
    if shape is Shape.FOLIAGE:
        return _foliage(origin, direction)
    return _ellipsoid(origin, direction)


def _entry(near: Tensor, far: Tensor) -> Tensor:
    """The first visible hit of the interval [near, far]: the back face from the inside."""
    miss = (near > far) | (far < NEAR_M)
    return torch.where(near > NEAR_M, near, far).masked_fill_(miss, torch.inf)


def _slab(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    # A direction that is exactly parallel would give 0 * inf; the shift is below precision.
    inverse = (direction + 1e-20).reciprocal_()
    middle = -origin * inverse
    inverse.abs_()
    return middle - inverse, middle.add_(inverse)


def _box(origin: Tensor, direction: Tensor) -> Tensor:
    near, far = _slab(origin, direction)  # [3, T, TILE²]
    first = torch.maximum(torch.maximum(near[0], near[1]), near[2])
    return _entry(first, torch.minimum(torch.minimum(far[0], far[1]), far[2]))


def _quadratic(
    origin: Tensor, direction: Tensor, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Near and far parameter of the unit circle or sphere, and where it is missed."""
    a = sum(direction[axis].square() for axis in axes) + torch.zeros((), device=origin.device)
    b = sum(direction[axis] * origin[axis] for axis in axes) + torch.zeros_like(a)
    c = sum(origin[axis].square() for axis in axes) - 1.0
    inverse = (a + 1e-20).reciprocal_()
    discriminant = b.square() - a * c
    miss = discriminant < 0.0
    root = discriminant.clamp_(min=0.0).sqrt_().mul_(inverse)
    middle = b.neg_().mul_(inverse)
    return middle - root, middle + root, miss


def _ellipsoid(origin: Tensor, direction: Tensor) -> Tensor:
    near, far, miss = _quadratic(origin, direction, (0, 1, 2))
    return _entry(near, far).masked_fill_(miss, torch.inf)


def _cylinder(origin: Tensor, direction: Tensor) -> Tensor:
    near, far, miss = _quadratic(origin, direction, (0, 2))
    low, high = _slab(origin[1], direction[1])
    return _entry(torch.maximum(near, low), torch.minimum(far, high)).masked_fill_(miss, torch.inf)


def _foliage(origin: Tensor, direction: Tensor) -> Tensor:
    near, far, miss = _quadratic(origin, direction, (0, 1, 2))
    # Half the chord, 0 at the rim and 1 through the middle of a sphere: the rim is ragged.
    chord = (far - near).mul_(0.5).mul_(direction.square().sum(0).sqrt_())
    holes = chord.mul_(-0.85).add_(0.8)
    front = _leaf(origin, direction, near, holes) & (near > NEAR_M)
    back = _leaf(origin, direction, far, holes) & (far > NEAR_M)
    hit = torch.where(front, near, far)
    return hit.masked_fill_(miss | ~(front | back), torch.inf)


def _leaf(origin: Tensor, direction: Tensor, depth: Tensor, holes: Tensor) -> Tensor:
    """True where the shell has a leaf at the hit."""
    cells = ((origin + direction * depth + 2.0) * (0.5 * _FOLIAGE_CELLS)).to(torch.int32)
    cells.bitwise_and_(_FOLIAGE_CELLS - 1)
    index = (cells[0] * _FOLIAGE_CELLS + cells[1]) * _FOLIAGE_CELLS + cells[2]
    noise = foliage_noise(index.device)
    return noise.index_select(0, index.view(-1)).view_as(depth) > holes


@lru_cache(maxsize=4)
def foliage_noise(device: torch.device) -> Tensor:
    """[64³] periodic noise, uniform in [0, 1]: where a shell of leaves has holes."""
    generator = np.random.default_rng(7)
    shape = (_FOLIAGE_CELLS,) * 3
    noise = generator.standard_normal(shape)
    frequency = np.sqrt(sum(np.fft.fftfreq(_FOLIAGE_CELLS)[axis] ** 2 for axis in np.ix_(
        *[np.arange(_FOLIAGE_CELLS)] * 3
    )))
    smooth = np.fft.ifftn(np.fft.fftn(noise) / (0.08 + frequency)).real
    ranks = np.argsort(np.argsort(smooth, axis=None)).astype(np.float32) / smooth.size
    return torch.from_numpy(ranks).to(device)
