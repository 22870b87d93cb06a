# SPDX-License-Identifier: Apache-2.0
"""Averaging the answer for an image with the answer for its mirror image."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal, TypeAlias

import numpy as np

from depth_core.contracts import DepthMap, Float32Array

FlipAverage: TypeAlias = Literal['none', 'mean', 'blended', 'blended_inverse']
"""none: one pass. mean: plain mean of both passes (DenseDepth, ZoeDepth). blended: mean in the
middle, each pass alone near the border it sees better (URCDC, NeWCRFs, BTS). blended_inverse: the
same on 1 / depth, as those do whose networks state inverse depth (monodepth, PackNet)."""
FLIP_AVERAGES: Final = ('none', 'mean', 'blended', 'blended_inverse')

_ALONE: Final = 0.05
"""Fraction of the width, at each side, where only one pass counts."""


def average_flipped(plain: DepthMap, flipped: DepthMap, how: FlipAverage) -> DepthMap:
    """Put two passes together.

    Where one pass has no estimate the other stands alone. Sigma is averaged with the weights of
    the depth; the sigma of an
    inverse depth is sigma / depth^2.

    Args:
        plain: Answer for the image.
        flipped: Answer for the mirrored image, as it came: still mirrored.
        how: `mean`, `blended` or `blended_inverse`; `none` returns `plain`.
    """
    if how == 'none':
        return plain
    weight = _plain_weight(plain.depth_m.shape[1], how)
    mirrored_m, mirrored_sigma_m = flipped.depth_m[:, ::-1], flipped.sigma_m[:, ::-1]
    if how == 'blended_inverse':
        fused = _weighted(_inverse(plain.depth_m), _inverse(mirrored_m), weight)
        depth_m = _depth_of(fused)
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            spread = _weighted(
                plain.sigma_m / plain.depth_m**2, mirrored_sigma_m / mirrored_m**2, weight
            )
            sigma_m = spread * depth_m**2
    else:
        depth_m = _weighted(plain.depth_m, mirrored_m, weight)
        sigma_m = _weighted(plain.sigma_m, mirrored_sigma_m, weight)
    return replace(
        plain,
        depth_m=depth_m,
        sigma_m=sigma_m,
        inference_s=plain.inference_s + flipped.inference_s,
    )


def _inverse(depth_m: Float32Array) -> Float32Array:
    """1 / depth; -inf, nearer than the model can say, is an infinite inverse depth."""
    with np.errstate(divide='ignore'):
        inverse = 1.0 / np.where(np.isneginf(depth_m), 0.0, depth_m)
    return inverse.astype(np.float32)


def _depth_of(inverse: Float32Array) -> Float32Array:
    """Depth of an inverse depth; 0 gives inf, inf gives -inf."""
    with np.errstate(divide='ignore'):
        depth_m: Float32Array = np.float32(1.0) / inverse
    return np.where(np.isposinf(inverse), np.float32(-np.inf), depth_m)


def _plain_weight(width: int, how: FlipAverage) -> Float32Array:
    """[W] weight of the plain pass: 0 at the left border, 1 at the right when blended."""
    if how == 'mean':
        return np.full(width, 0.5, np.float32)
    place = np.linspace(0.0, 1.0, width)
    left = 1.0 - np.clip((place - _ALONE) / _ALONE, 0.0, 1.0)
    weight: Float32Array = (0.5 * (1.0 - left) + 0.5 * left[::-1]).astype(np.float32)
    return weight


def _weighted(plain: Float32Array, mirrored: Float32Array, weight: Float32Array) -> Float32Array:
    # A weight of 0 must not turn an infinite value of the other pass into NaN.
    with np.errstate(invalid='ignore'):
        fused = np.where(weight > 0.0, weight * plain, 0.0) + np.where(
            weight < 1.0, (1.0 - weight) * mirrored, 0.0
        )
    fused = np.where(np.isnan(plain), mirrored, np.where(np.isnan(mirrored), plain, fused))
    result: Float32Array = fused.astype(np.float32)
    return result
