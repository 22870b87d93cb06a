# SPDX-License-Identifier: Apache-2.0
"""How long each model takes for an image: measured as `depth_core.bench` does, or as stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from depth_core.bench.machine import Machine, describe_machine
from depth_core.bench.request import BenchRequest
from depth_core.bench.run import Plan, measure_rows
from depth_core.compare.subjects import Subject
from depth_core.errors import DepthError
from depth_core.evaluate.arguments import open_data
from depth_core.geometry import intrinsics_from_hfov
from depth_core.processes import terminated_cleanly

Source: TypeAlias = Literal['report', 'measure', 'none']
SOURCES: Final = ('report', 'measure', 'none')
_FRAMES: Final = 100
_ROUNDS: Final = 10
_VIEW_DEG: Final = 60.0
"""Field of view that networks are given which need one; the time does not depend on it."""
_OTHERS: Final = 0.1
"""Share of the CPUs that others may use."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The time of one image."""

    ms: float | None
    """Median; None where it is not known."""
    words: str
    """The same for the table, or why it is not known."""


def speeds(
    subjects: Sequence[Subject],
    source: Source,
    *,
    machine: Machine | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Speed]:
    """How long each model takes, by the name of its report.

    Args:
        subjects: Reports.
        source: `report` takes the median time of the backend that each states, `measure` that of
            `Predictor.predict`, all in turns, and `none` nothing.
        machine: The state of this one before the models were evaluated; None looks now.
        say: Called with what is done now.
    """
    machine = machine or describe_machine()
    if source == 'none':
        return {}
    busy = f'not measured: load {machine.load_1min:.1f} on {machine.cpus} CPUs'
    if source == 'report':
        return {item.name: _stated(item, busy if machine.is_busy else None) for item in subjects}
    if machine.is_busy:
        return {item.name: Speed(ms=None, words=busy) for item in subjects}
    return _measured(subjects, say)


def _stated(subject: Subject, busy: str | None) -> Speed:
    """What a report states; nothing where it was written here while others computed."""
    if busy is not None and subject.evaluated_here:
        return Speed(ms=None, words=busy)
    try:
        ms = 1e3 * float(subject.content()['timing']['inference_median_s'])
    except (KeyError, TypeError, ValueError):
        return Speed(ms=None, words='not stated')
    return Speed(ms=ms, words=f'{ms:.1f}')


def _measured(subjects: Sequence[Subject], say: Callable[[str], None]) -> Mapping[str, Speed]:
    requests: dict[str, BenchRequest] = {}
    found: dict[str, Speed] = {}
    for subject in subjects:
        try:
            requests[subject.name] = _request(subject)
        except DepthError as error:  # noqa: PERF203  the others are worth the time
            found[subject.name] = Speed(ms=None, words=f'not measured: {error}')
    if requests:
        with terminated_cleanly():
            results, refused = measure_rows(list(requests.values()), Plan(rounds=_ROUNDS, say=say))
        by_label = {result.label: result for result in results}
        for name, request in requests.items():
            result = by_label.get(request.label)
            if result is None:
                found[name] = Speed(ms=None, words=f'not measured: {refused[request.label]}')
                continue
            words = f'{result.p50_ms:.1f}'
            if result.others_cpu is not None and result.others_cpu > _OTHERS:
                words += f', too long: others used {result.others_cpu:.0%} of the CPUs'
            found[name] = Speed(ms=result.p50_ms, words=words)
    return {subject.name: found[subject.name] for subject in subjects}


def _request(subject: Subject) -> BenchRequest:
    """The model of a report, on its backend, for images of the size of its data.

    Raises:
        DepthError: The model or the data are gone.
    """
    options = subject.options()
    height, width = open_data(options)[0][0].depth_m.shape
    backend = str(subject.content()['model']['backend'])
    return BenchRequest(
        name=subject.name,
        model=Path(options.model),
        manifest=options.manifest,
        backend=backend,
        precision=options.precision,
        threads=None,
        image_height=height,
        image_width=width,
        frames=_FRAMES,
        camera=intrinsics_from_hfov(_VIEW_DEG, height=height, width=width),
    )
