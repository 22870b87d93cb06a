# SPDX-License-Identifier: Apache-2.0
"""Averaging the answer for an image with the answer for its mirror image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import numpy as np

from depth_core.contracts import DepthKind, DepthMap, Float32Array, Intrinsics, Uint8Array
from depth_core.geometry import mirror_camera
from depth_core.runtime.postprocessing import mark_ends

FlipAverage: TypeAlias = Literal['none', 'mean', 'blended', 'blended_inverse']
"""none: one pass. mean: plain mean of both passes (DenseDepth, ZoeDepth). blended: mean in the
middle, each pass alone near the border it sees better (URCDC, NeWCRFs, BTS). blended_inverse: the
same on 1 / depth, as those do whose networks state inverse depth (monodepth, PackNet)."""
FLIP_AVERAGES: Final = ('none', 'mean', 'blended', 'blended_inverse')

_ALONE: Final = 0.05
"""Fraction of the width, at each side, where only one pass counts."""


def predict_averaged(
    predict: Callable[[Uint8Array, Intrinsics | None], DepthMap],
    image: Uint8Array,
    how: FlipAverage,
    intrinsics: Intrinsics | None = None,
) -> DepthMap:
    """Predict an image and, unless `how` is `none`, its mirror image, and put both together.

    Args:
        predict: Gives the answer for an image and its camera.
        image: [H, W, 3] uint8 RGB.
        how: How the two answers are averaged.
        intrinsics: The camera of the image; None where it is not known.
    """
    plain = predict(image, intrinsics)
    if how == 'none':
        return plain
    mirrored = None if intrinsics is None else mirror_camera(intrinsics)
    return average_flipped(plain, predict(mirror_image(image), mirrored), how)


def mirror_image(image: Uint8Array) -> Uint8Array:
    """Swap left and right of [H, W, 3]."""
    return np.ascontiguousarray(image[:, ::-1])


def average_flipped(plain: DepthMap, flipped: DepthMap, how: FlipAverage) -> DepthMap:
    """Put two passes together.

    What one pass states as beyond an end of the model's range counts as that end, which is what
    the network gave; what the average places there is stated as beyond it again. Where one pass
    has no estimate the other stands alone. Sigma is averaged with the weights of the depth; the
    sigma of an inverse depth is sigma / depth^2.

    Args:
        plain: Answer for the image.
        flipped: Answer for the mirrored image, as it came: still mirrored.
        how: `mean`, `blended` or `blended_inverse`; `none` returns `plain`.
    """
    if how == 'none':
        return plain
    weight = _plain_weight(plain.depth_m.shape[1], how)
    ranged = plain.kind is not DepthKind.INVERSE
    first_m, second_m = (
        np.clip(depth_m, *plain.depth_range) if ranged else depth_m
        for depth_m in (plain.depth_m, flipped.depth_m[:, ::-1])
    )
    first_sigma_m, second_sigma_m = plain.sigma_m, flipped.sigma_m[:, ::-1]
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        if how == 'blended_inverse':
            depth_m = 1.0 / _weighted(1.0 / first_m, 1.0 / second_m, weight)
            spread = _weighted(first_sigma_m / first_m**2, second_sigma_m / second_m**2, weight)
            sigma_m = spread * depth_m**2
        else:
            depth_m = _weighted(first_m, second_m, weight)
            sigma_m = _weighted(first_sigma_m, second_sigma_m, weight)
    if ranged:
        mark_ends(depth_m, plain.depth_range)
    return replace(
        plain,
        depth_m=depth_m,
        sigma_m=sigma_m,
        inference_s=plain.inference_s + flipped.inference_s,
    )


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
    fused = np.where(weight > 0.0, weight * plain, 0.0) + np.where(
        weight < 1.0, (1.0 - weight) * mirrored, 0.0
    )
    fused = np.where(np.isnan(plain), mirrored, np.where(np.isnan(mirrored), plain, fused))
    result: Float32Array = fused.astype(np.float32)
    return result
