# SPDX-License-Identifier: Apache-2.0
"""Many recordings, part by part, and the numbers of all and of each."""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depth_core.errors import ConfigError, DataError, DepthError
from depth_core.evaluate.bags.executors import Execute, in_this_process
from depth_core.evaluate.bags.part import UNSEEN, PartResult
from depth_core.evaluate.bags.pictures import Chosen, chosen_panels
from depth_core.evaluate.bags.request import BagRequest, Part, identity, plan
from depth_core.evaluate.frames import FrameTable, mean_log_error
from depth_core.evaluate.panels import panel_scale_of
from depth_core.evaluate.run import Recording, Run
from depth_core.evaluate.scoring import PredictsDepth
from depth_core.files import FileState, replaced_atomically, state_of
from depth_core.metrics import ImageScore, Totals


@dataclass
class _Bag:
    """A recording on its way."""

    path: Path
    folder: Path
    parts: tuple[Part, ...] = ()
    lost: str | None = None
    """What was cut off it; what is left is evaluated."""
    error: str | None = None
    """Why it could not be opened, or the workers went."""
    failed: dict[int, str] = field(default_factory=dict)
    """Why parts could not be read, by their number."""

    def file(self, part: Part) -> Path:
        return self.folder / f'{part.number:06d}.json.gz'

    @property
    def said(self) -> str | None:
        """Why not all of it is evaluated: of its parts the first, whichever came first."""
        first = self.failed[min(self.failed)] if self.failed else None
        return '; '.join(filter(None, (self.lost, first or self.error))) or None

    @property
    def missing(self) -> list[Part]:
        return [part for part in self.parts if not self.file(part).is_file()]


@dataclass
class _Sums:
    """What is added up over all recordings."""

    totals: Totals
    chosen: Chosen
    states: Counter[str] = field(default_factory=Counter)
    backends: list[str] = field(default_factory=list)
    inference_s: array[float] = field(default_factory=lambda: array('d'))
    abs_rel: array[float] = field(default_factory=lambda: array('d'))


def evaluate_bags(
    bags: Sequence[Path],
    request: BagRequest,
    *,
    kept: Path,
    execute: Execute = in_this_process,
    predictor: Callable[[], PredictsDepth] | None = None,
    pictures: int = 6,
    on_part: Callable[[int, int], object] = lambda _done, _all: None,
) -> Run:
    """Evaluate recordings; what is kept of a former run is not computed again.

    A recording that is damaged, or a part of it, is left out and marked; the others count.

    Args:
        bags: The recordings; each once.
        request: How they are evaluated.
        kept: Folder for the results of parts; a later run with the same request goes on there.
        execute: Where parts are evaluated.
        predictor: Opens the model for the pictures of the report; None = as the workers do.
        pictures: How many images are kept for pictures, beside the best and the worst.
        on_part: Called with how many parts of how many are done.

    Raises:
        ConfigError: A topic or the alignment does not fit.
        DataError: No image of any recording could be scored.
        DepthError: Workers died again and again; results of finished parts are kept.
    """
    started_s = time.perf_counter()
    state = state_of(request.model)
    said = request.said()
    found = [_opened(path, request, kept / identity(path, said)) for path in _once(bags)]
    _compute(found, request, execute, on_part, state)
    sums = _Sums(Totals(request.protocol, align=request.align), Chosen(pictures))
    frames = kept / 'frames.csv'
    with replaced_atomically(frames) as temporary, temporary.open('w', encoding='utf-8') as file:
        table = FrameTable(file)
        recordings = tuple(_added(bag, sums, table, request) for bag in found)
    evaluation = sums.totals.result()
    if evaluation.mean is None:
        raise DataError(_nothing_scored(recordings, request))
    panels = chosen_panels(sums.chosen, request, predictor)
    _refuse_changed(request.model, state)
    return Run(
        evaluation=evaluation,
        scores=(),
        panels=panels.spread,
        worst=panels.worst,
        best=panels.best,
        panel_scale=panel_scale_of(panels.shown, request.protocol),
        flip_average=request.flip_average,
        source=request.scale_source(),
        scale_states=dict(sorted(sums.states.items())),
        backend=', '.join(sums.backends),
        frames=frames,
        frame_abs_rel=tuple(sums.abs_rel),
        recordings=recordings,
        inference_s=tuple(sums.inference_s),
        elapsed_s=time.perf_counter() - started_s,
    )


def _once(bags: Iterable[Path]) -> list[Path]:
    """The recordings without those named twice.

    Raises:
        DataError: There is none.
    """
    found = list({path.resolve(): path for path in bags}.values())
    if not found:
        message = 'no recording is given; give folders or files of bags.'
        raise DataError(message)
    return found


def _opened(path: Path, request: BagRequest, folder: Path) -> _Bag:
    try:
        planned = plan(path, request)
    except DataError as error:
        return _Bag(path, folder, error=str(error))
    return _Bag(path, folder, planned.parts, planned.lost)


def _compute(
    bags: Sequence[_Bag],
    request: BagRequest,
    execute: Execute,
    on_part: Callable[[int, int], object],
    state: FileState | None,
) -> None:
    """Evaluate the parts that are not kept; those that cannot be read mark their recording."""
    of_part = {part: bag for bag in bags for part in bag.missing}
    total = sum(len(bag.parts) for bag in bags)
    done = total - len(of_part)
    on_part(done, total)
    try:
        for part, result in execute(request, list(of_part)):
            done += 1
            _refuse_changed(request.model, state)  # what another model gave is not kept
            _keep(of_part[part], part, result)
            on_part(done, total)
    except ConfigError:
        raise
    except DepthError as error:  # what is finished counts, and is marked as not all
        for bag in bags:
            if bag.missing:
                bag.error = bag.error or str(error)


def _refuse_changed(model: Path, state: FileState | None) -> None:
    if state_of(model) != state:
        message = f'{model} was changed while it was evaluated; run the command again.'
        raise ConfigError(message)


def _keep(bag: _Bag, part: Part, result: bytes | DepthError) -> None:
    """Keep what a part gave.

    Raises:
        DepthError: It failed for a reason that all parts share.
    """
    if isinstance(result, DataError):
        bag.failed[part.number] = f'part {part.number + 1} of {len(bag.parts)}: {result}'
    elif isinstance(result, DepthError):
        raise ConfigError(str(result)) from result
    else:
        bag.folder.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(bag.file(part)) as temporary:
            temporary.write_bytes(result)


def _added(bag: _Bag, sums: _Sums, table: FrameTable, request: BagRequest) -> Recording:
    """Add the parts of a recording up, in their order."""
    own = Totals(request.protocol, align=request.align)
    flicker = _Flicker()
    notes: list[str] = []
    done = 0
    for part in bag.parts:
        if not bag.file(part).is_file():
            flicker.gap()
            continue
        done += 1
        result = PartResult.from_bytes(bag.file(part).read_bytes())
        notes += [note for note in result.notes if note not in notes]
        sums.states.update(result.states)
        sums.inference_s.extend(result.inference_s)
        if result.backend and result.backend not in sums.backends:
            sums.backends.append(result.backend)
        for score in result.scores:
            own.add(score)
            sums.totals.add(score)
            table.add(score, str(bag.path))
            flicker.add(score)
            if score.sums is not None:
                abs_rel = score.sums.abs_rel / score.sums.count
                sums.abs_rel.append(abs_rel)
                sums.chosen.add(part, score.key, abs_rel)
    evaluation = own.result()
    return Recording(
        path=str(bag.path),
        evaluation=None if evaluation.mean is None else evaluation,
        flicker=flicker.result(),
        parts=len(bag.parts),
        parts_done=done,
        error=bag.said,
        notes=tuple(note for note in notes if note != UNSEEN or evaluation.mean is None),
    )


class _Flicker:
    """How much the error of the scale changes from one scored image to the next."""

    def __init__(self) -> None:
        self._before: float | None = None
        self._sum = 0.0
        self._pairs = 0

    def gap(self) -> None:
        """What comes is no neighbour of what was."""
        self._before = None

    def add(self, score: ImageScore) -> None:
        if score.sums is None:
            return
        own = mean_log_error(score)
        if self._before is not None:
            self._sum += math.fabs(own - self._before)
            self._pairs += 1
        self._before = own

    def result(self) -> float | None:
        return self._sum / self._pairs if self._pairs else None


def _nothing_scored(recordings: Sequence[Recording], request: BagRequest) -> str:
    reasons = [
        f'{item.path}: {item.error or "; ".join(item.notes) or "no ground truth in range"}'
        for item in recordings
    ]
    protocol = request.protocol
    return (
        f'no image of {len(recordings)} recordings could be scored under protocol '
        f'{protocol.name!r} ({protocol.min_depth_m:g} to {protocol.max_depth_m:g} m). '
        + ' '.join(reasons)
    )
