# SPDX-License-Identifier: Apache-2.0
"""The images of recordings that a report shows: predicted again once it is known which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from depth_core.evaluate.bags.part import open_model, open_part
from depth_core.evaluate.bags.request import BagRequest, Part
from depth_core.evaluate.panels import Panel, choose_indices, panel_of
from depth_core.evaluate.scoring import PredictsDepth, Scorer


class _Image(NamedTuple):
    """Where a scored image is."""

    part: Part
    key: str
    abs_rel: float


class Chosen:
    """Some of the scored images while they pass, the best and the worst.

    Args:
        wanted: How many, at even distances.
    """

    def __init__(self, wanted: int) -> None:
        self.best: _Image | None = None
        self.worst: _Image | None = None
        self._wanted = wanted
        self._kept: list[_Image] = []
        self._step = 1
        self._passed = 0

    def add(self, part: Part, key: str, abs_rel: float) -> None:
        """Look at one scored image."""
        image = _Image(part, key, abs_rel)
        if self.best is None or abs_rel < self.best.abs_rel:
            self.best = image
        if self.worst is None or abs_rel > self.worst.abs_rel:
            self.worst = image
        if self._wanted and self._passed % self._step == 0:
            self._kept.append(image)
            if len(self._kept) > 2 * self._wanted:
                self._kept = self._kept[::2]
                self._step *= 2
        self._passed += 1

    def spread(self) -> Sequence[_Image]:
        """As many as wanted, at even distances."""
        if not self._kept:
            return ()
        return [self._kept[place] for place in choose_indices(len(self._kept), self._wanted)]


@dataclass(frozen=True, kw_only=True)
class Panels:
    """What the pictures show."""

    spread: tuple[Panel, ...]
    best: Panel | None
    worst: Panel | None

    @property
    def shown(self) -> tuple[Panel, ...]:
        """All of them."""
        ends = tuple(panel for panel in (self.best, self.worst) if panel is not None)
        return (*self.spread, *ends)


def chosen_panels(
    chosen: Chosen, request: BagRequest, predictor: Callable[[], PredictsDepth] | None
) -> Panels:
    """Predict the chosen images again."""
    spread = list(chosen.spread())
    ends = [item for item in (chosen.best, chosen.worst) if spread and item is not None]
    if not spread:
        return Panels(spread=(), best=None, worst=None)
    opened = open_model(request) if predictor is None else predictor()
    made: dict[_Image, Panel] = {}
    for image in dict.fromkeys((*spread, *ends)):
        made[image] = _panel(image, request, opened)
    best, worst = (made[item] for item in ends)
    return Panels(spread=tuple(made[item] for item in spread), best=best, worst=worst)


def _panel(image: _Image, request: BagRequest, predictor: PredictsDepth) -> Panel:
    dataset = open_part(request, image.part)
    scorer = Scorer(
        predictor,
        request.protocol,
        source=request.scale_source(),
        flip_average=request.flip_average,
    )
    index = next(place for place in range(len(dataset)) if dataset.key(place) == image.key)
    found = scorer(dataset[index])
    return panel_of(found.score, found.image, found.answer, found.target_m)
