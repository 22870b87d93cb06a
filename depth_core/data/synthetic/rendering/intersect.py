# SPDX-License-Identifier: Apache-2.0
"""Where rays hit unit forms; the ray parameter is the z-depth.

Everywhere `origin` is [3, T, 1] and `direction` [3, T, R]: T primitives with R rays each, in the
unit frame of the primitive. Answers are [T, R], +inf for a miss.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from depth_core.data.synthetic.scene import Shape

NEAR_M = 0.05
"""A hit nearer than this does not count."""

_RING_INSIDE = 0.86
"""Radius of the hole of a ring."""
_BARS = 16
_BAR_SHARE = 0.36
"""Share of the space from bar to bar that a bar fills."""
_RAIL_FROM = 0.88
"""Height, in units of half the box, from which it is solid."""

_FOLIAGE_CELLS = 64
_FOLIAGE_DENSITY = 0.8
"""Noise plus half chord at which leaves begin; less makes denser crowns."""


def intersect(shape: Shape, origin: Tensor, direction: Tensor) -> Tensor:
    """Return the z-depth of the first visible hit of every ray with its primitive."""
    if shape is Shape.BOX:
        return _box(origin, direction)
    if shape is Shape.CYLINDER:
        return _cylinder(origin, direction)
    if shape is Shape.FOLIAGE:
        return _foliage(origin, direction)
    if shape is Shape.RING:
        return _ring(origin, direction)
    if shape is Shape.BARS:
        return _bars(origin, direction)
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


def _chord(
    origin: Tensor, direction: Tensor, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where rays are nearest to the centre of the unit circle or sphere, and their chords.

    Returns:
        The parameter of the nearest point, half the chord in units of the parameter, what
        turns such units into lengths, and where the form is missed.
    """
    first = axes[0]
    a = direction[first].square()
    b = direction[first] * origin[first]
    c = origin[first].square() - 1.0
    for axis in axes[1:]:
        a.addcmul_(direction[axis], direction[axis])
        b.addcmul_(direction[axis], origin[axis])
        c = c + origin[axis].square()
    discriminant = b.square().addcmul_(a, c, value=-1.0)
    miss = discriminant < 0.0
    inverse = (a + 1e-20).reciprocal_()
    reach = discriminant.clamp_(min=0.0).sqrt_().mul_(inverse)
    return b.mul_(inverse).neg_(), reach, a, miss


def _ellipsoid(origin: Tensor, direction: Tensor) -> Tensor:
    middle, reach, _, miss = _chord(origin, direction, (0, 1, 2))
    return _entry(middle - reach, middle + reach).masked_fill_(miss, torch.inf)


def _cylinder(origin: Tensor, direction: Tensor) -> Tensor:
    middle, reach, _, miss = _chord(origin, direction, (0, 2))
    low, high = _slab(origin[1], direction[1])
    near, far = torch.maximum(middle - reach, low), torch.minimum(middle + reach, high)
    return _entry(near, far).masked_fill_(miss, torch.inf)


def _ring(origin: Tensor, direction: Tensor) -> Tensor:
    hit = _cylinder(origin, direction)
    x = torch.addcmul(origin[0], direction[0], hit)
    z = torch.addcmul(origin[2], direction[2], hit)
    return hit.masked_fill_(x.square_().add_(z.square_()) < _RING_INSIDE**2, torch.inf)


def _bars(origin: Tensor, direction: Tensor) -> Tensor:
    hit = _box(origin, direction)
    x = torch.addcmul(origin[0], direction[0], hit)
    y = torch.addcmul(origin[1], direction[1], hit)
    place = x.add_(1.0).mul_(0.5 * _BARS).add_(0.5 * _BAR_SHARE).frac_()
    return hit.masked_fill_((place > _BAR_SHARE) & (y.abs_() < _RAIL_FROM), torch.inf)


def _foliage(origin: Tensor, direction: Tensor) -> Tensor:
    middle, reach, squared, miss = _chord(origin, direction, (0, 1, 2))
    near = middle.sub_(reach)
    half = 0.5 * _FOLIAGE_CELLS
    cells = torch.addcmul(half * origin + half, direction, near, value=half).to(torch.int32)
    index = cells[0].mul_(_FOLIAGE_CELLS).add_(cells[1]).mul_(_FOLIAGE_CELLS).add_(cells[2])
    index.bitwise_and_(_FOLIAGE_CELLS**3 - 1)
    noise = _foliage_noise(index.device).index_select(0, index.view(-1)).view_as(near)
    # Half the chord is 0 at the rim and 1 through the middle of a sphere: the rim has holes.
    hole = reach.mul_(squared.sqrt_()).add_(noise) < _FOLIAGE_DENSITY
    return near.masked_fill_(hole.logical_or_(miss).logical_or_(near < NEAR_M), torch.inf)


@lru_cache(maxsize=4)
def _foliage_noise(device: torch.device) -> Tensor:
    """[64³] periodic noise, uniform in [0, 1]: where a shell of leaves has holes."""
    generator = np.random.default_rng(7)
    shape = (_FOLIAGE_CELLS,) * 3
    noise = generator.standard_normal(shape)
    frequency = np.sqrt(
        sum(
            np.fft.fftfreq(_FOLIAGE_CELLS)[axis] ** 2
            for axis in np.ix_(*[np.arange(_FOLIAGE_CELLS)] * 3)
        )
    )
    smooth = np.fft.ifftn(np.fft.fftn(noise) / (0.08 + frequency)).real
    ranks = np.argsort(np.argsort(smooth, axis=None)).astype(np.float32) / smooth.size
    return torch.from_numpy(ranks).to(device)
