# SPDX-License-Identifier: Apache-2.0
"""Procedural albedo: cells with joints, per-cell variation and noise, evaluated per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from depth_core.data.synthetic.scene import Marking, Material
from depth_core.data.synthetic.things.pictures import LEVELS, SIDE, level_offsets

_NOISE_SIZE = 512


@lru_cache(maxsize=4)
def noise_table(device: torch.device) -> Tensor:
    """[2, 512²] periodic noise of zero mean and unit deviation: grainy, and cloud-like."""
    generator = np.random.default_rng(11)
    white = np.fft.fft2(generator.standard_normal((_NOISE_SIZE, _NOISE_SIZE)))
    line = np.fft.fftfreq(_NOISE_SIZE)
    frequency = np.hypot(line[:, None], line[None, :])
    frequency[0, 0] = 1.0
    layers = []
    for power in (0.55, 1.5):
        layer = np.fft.ifft2(white / frequency**power).real
        layers.append((layer - layer.mean()) / layer.std())
    return torch.from_numpy(np.stack(layers).reshape(2, -1).astype(np.float32)).to(device)


def lookup(table: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Noise at (u, v) in texels, nearest."""
    column = u.to(torch.int32).bitwise_and_(_NOISE_SIZE - 1)
    row = v.to(torch.int32).bitwise_and_(_NOISE_SIZE - 1)
    return table.index_select(0, row.mul_(_NOISE_SIZE).add_(column))


def scatter_bits(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """A 32-bit hash of three int32 tensors, the same on every device."""
    mixed = a * 0x27D4EB2D ^ b * 0x165667B1 ^ c * 0x1E3779B1
    mixed ^= mixed >> 15
    mixed *= 0x2C1B3C6D
    mixed ^= mixed >> 13
    return mixed


def _byte(bits: Tensor, shift: int) -> Tensor:
    """[-1, 1) from 8 bits of a hash."""
    return ((bits >> shift) & 0xFF).to(torch.float32).mul_(1.0 / 128.0).sub_(1.0)


def material_table(materials: Sequence[Material], device: torch.device) -> Tensor:
    """[19, M] float32: the numbers of every material as columns."""
    rows = []
    for item in materials:
        cell = item.cell or item.colour
        joint = item.joint if item.cell is not None else (0.0, 0.0)
        rows.append(
            (
                *item.colour,
                *(inside - outside for inside, outside in zip(cell, item.colour, strict=True)),
                1.0 / item.cell_m[0],
                1.0 / item.cell_m[1],
                0.5 - 0.5 * joint[0],
                0.5 - 0.5 * joint[1],
                item.stagger,
                item.variation,
                item.tint,
                item.noise,
                1.0 / item.grain_m[0],
                1.0 / item.grain_m[1],
                item.gloss,
                item.emission,
                float(item.picture),
            )
        )
    return torch.tensor(rows, dtype=torch.float32).T.contiguous().to(device)


def albedo(values: Tensor, u: Tensor, v: Tensor, owner: Tensor, footprint: Tensor) -> Tensor:
    """[3, N] linear albedo of N pixels.

    Args:
        values: [19, N] columns of `material_table` for every pixel.
        u: [N] position along the face, metres.
        v: [N] position across the face, metres.
        owner: [N] int32 index of the primitive, so that equal materials do not look equal.
        footprint: [N] size of the pixel on the surface, metres.

    Returns:
        Colours, not clipped.
    """
    # A pane that is smaller than a pixel fades to its mean.
    offset = (owner & 63).to(torch.float32) * 7.31
    row = (v + offset) * values[7]
    row_cell = row.floor()
    column = (u + offset) * values[6] + row_cell * values[10]
    column_cell = column.floor()
    side = values[8] - (column - column_cell - 0.5).abs_()
    side.div_(footprint * values[6] + 1e-3).add_(0.5).clamp_(0.0, 1.0)
    rise = values[9] - (row - row_cell - 0.5).abs_()
    rise.div_(footprint * values[7] + 1e-3).add_(0.5).clamp_(0.0, 1.0)
    inside = side.mul_(rise)
    bits = scatter_bits(column_cell.to(torch.int32), row_cell.to(torch.int32), owner)
    bright = _byte(bits, 4).mul_(values[11]).mul_(inside).add_(1.0)

    grain_u, grain_v = (u + offset) * values[14], (v + offset * 1.7) * values[15]
    table = noise_table(u.device)
    fine = lookup(table[0], grain_u, grain_v)
    coarse = lookup(table[1], grain_u * 0.5, grain_v * 0.5)
    visible = (footprint * values[14]).reciprocal_().clamp_(max=1.0)
    fine.mul_(visible).add_(coarse).mul_(values[13]).add_(1.0).clamp_(min=0.15)
    bright.mul_(fine)

    colour = values[0:3] + values[3:6] * inside
    spread = values[12] * inside
    for channel, shift in enumerate((8, 14, 20)):
        colour[channel].addcmul_(_byte(bits, shift), spread)
    return colour.mul_(bright).clamp_(0.005, 1.0)


def print_pictures(
    colour: Tensor, values: Tensor, u: Tensor, v: Tensor, *, footprint: Tensor, table: Tensor
) -> None:
    """Print pictures over the [3, N] albedo of what has one, in place.

    Args:
        colour: [3, N] albedo, in which a picture is white.
        values: [19, N] columns of `material_table` for every pixel.
        u: [N] position along the face, metres from its middle.
        v: [N] position across the face, metres from its middle.
        footprint: [N] size of the pixel on the surface, metres.
        table: [3, K * pixels] as `picture_table`.
    """
    index = (values[18] >= 0.0).nonzero()[:, 0]
    if not len(index):
        return
    own = values.index_select(1, index)
    offsets = torch.tensor(level_offsets(), device=colour.device)
    count = table.shape[1] // int(offsets[-1])
    along = (u.index_select(0, index) * own[6]).add_(0.5).remainder_(1.0)
    across = (v.index_select(0, index) * own[7]).add_(0.5).remainder_(1.0)
    finest = footprint.index_select(0, index) * torch.maximum(own[6], own[7]) * SIDE
    level = finest.clamp_(min=1.0).log2_().round_().clamp_(max=LEVELS - 1).to(torch.int64)
    side = SIDE >> level
    column = torch.minimum((along * side).to(torch.int64), side - 1)
    row = torch.minimum((across * side).to(torch.int64), side - 1)
    first = own[18].to(torch.int64).remainder_(count) * offsets[-1] + offsets[level]
    printed = table.index_select(1, first + row * side + column)
    colour[:, index] = colour.index_select(1, index).mul_(printed)


def paint(
    colour: Tensor, arc: Tensor, lateral: Tensor, footprint: Tensor, markings: Sequence[Marking]
) -> Tensor:
    """Paint lane markings over the [3, N] albedo of the ground, worn by its own noise."""
    table = noise_table(colour.device)
    for line in markings:
        cover = line.half_width_m - (lateral - line.lateral_m).abs_()
        cover.div_(footprint + 0.01).add_(0.5).clamp_(0.0, 1.0)
        if line.period_m > 0.0:
            place = (arc + line.phase_m).remainder_(line.period_m)
            cover.mul_(place < line.dash_m)
        worn = lookup(table[1], arc * 12.0, lateral * 12.0).mul_(0.15).add_(0.72)
        colour = colour + cover * (worn - colour)
    return colour
