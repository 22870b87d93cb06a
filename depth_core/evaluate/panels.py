# SPDX-License-Identifier: Apache-2.0
"""Which images a report shows: some scored ones at even distances, and the worst."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from depth_core.contracts import DepthKind, DepthMap, Float32Array, Uint8Array
from depth_core.errors import ConfigError, DataError
from depth_core.metrics import ErrorSums, ImageScore, Protocol
from depth_core.metrics.alignment import depth_of_inverse
from depth_core.preview import ColourScale, scale_of_range, scale_of_scene


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What a picture of one scored image shows."""

    score: ImageScore
    sums: ErrorSums
    image: Uint8Array
    """[H, W, 3] RGB."""
    depth_m: Float32Array
    """[H, W] prediction after alignment."""
    sigma_m: Float32Array | None
    """[H, W] standard deviation after alignment; None when the model gives none."""
    target_m: Float32Array
    """[H, W] ground truth, NaN where the protocol scores nothing."""


class PanelKeeper:
    """Keeps some of the scored images while they pass, whose number is not known before.

    Every image is kept first; once there are twice as many as wanted, every second one is
    dropped, and from then on only every second image is kept.
    """

    def __init__(self, wanted: int) -> None:
        self.worst: Panel | None = None
        """The scored image of largest AbsRel."""
        self.best: Panel | None = None
        """The scored image of smallest AbsRel."""
        self._wanted = wanted
        self._kept: list[Panel] = []
        self._step = 1
        self._passed = 0

    def add(
        self, score: ImageScore, image: Uint8Array, answer: DepthMap, target_m: Float32Array
    ) -> None:
        """Look at one image; one that was not scored is never kept."""
        if score.sums is None:
            return
        kept = self._wanted > 0 and self._passed % self._step == 0
        self._passed += 1
        is_worst = self.worst is None or _abs_rel(score.sums) > _abs_rel(self.worst.sums)
        is_best = self.best is None or _abs_rel(score.sums) < _abs_rel(self.best.sums)
        if not kept and not is_worst and not is_best:
            return
        panel = panel_of(score, image, answer, target_m)
        if is_worst:
            self.worst = panel
        if is_best:
            self.best = panel
        if kept:
            self._kept.append(panel)
        if len(self._kept) > 2 * self._wanted:
            self._kept = self._kept[::2]
            self._step *= 2

    def chosen(self) -> tuple[Panel, ...]:
        """As many as wanted, or all that were scored, at even distances."""
        if not self._kept:
            return ()
        return tuple(self._kept[place] for place in choose_indices(len(self._kept), self._wanted))


def choose_indices(count: int, limit: int | None) -> list[int]:
    """Indices of `limit` items at even distances among `count`; all when there are no more.

    Raises:
        DataError: There is nothing to choose from.
        ConfigError: The limit is not positive.
    """
    if count < 1:
        message = 'the data set is empty: 0 images; give a split or a folder that holds some.'
        raise DataError(message)
    if limit is not None and limit < 1:
        message = f'limit {limit} leaves no image; give at least 1, or no limit.'
        raise ConfigError(message)
    if limit is None or limit >= count:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, limit).tolist()})


def panel_scale_of(panels: Iterable[Panel], protocol: Protocol) -> ColourScale:
    """Choose the colours of depth: those of the scenes, the same for truth and prediction.

    Both have their say: the pixels of a sparse truth are few, and would vanish among the others.
    """
    shown = list(panels)
    found = [
        scale
        for planes in ([item.target_m for item in shown], [item.depth_m for item in shown])
        if (scale := scale_of_scene(*planes)) is not None
    ]
    if not found:
        return scale_of_range((protocol.min_depth_m, protocol.max_depth_m))
    near, far = min(scale.near for scale in found), max(scale.far for scale in found)
    return ColourScale(near=near, far=far)


def panel_of(
    score: ImageScore, image: Uint8Array, answer: DepthMap, target_m: Float32Array
) -> Panel:
    """What a picture of a scored image shows."""
    sums = score.sums
    assert sums is not None  # noqa: S101  only scored images are shown
    depth_m, sigma_m = answer.depth_m, answer.sigma_m
    if answer.kind is DepthKind.INVERSE:
        depth_m, sigma_m = depth_of_inverse(depth_m, sigma_m, score.scale, score.shift)
    else:
        scale = np.float32(score.scale)
        depth_m, sigma_m = depth_m * scale, sigma_m * scale
    return Panel(
        score=score,
        sums=sums,
        image=image,
        depth_m=depth_m,
        sigma_m=None if np.isnan(sigma_m).all() else sigma_m,
        target_m=target_m,
    )


def _abs_rel(sums: ErrorSums) -> float:
    return sums.abs_rel / sums.count
