# SPDX-License-Identifier: Apache-2.0
"""Rows measured in turns, so that whatever changes meanwhile hits all of them alike."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from depth_core.bench.children import Child, children_ended
from depth_core.bench.energy import EnergyMeter
from depth_core.bench.machine import busy_cpu_s
from depth_core.bench.nvml import Gpus
from depth_core.bench.request import BenchRequest
from depth_core.bench.result import BenchResult, Difference
from depth_core.bench.statistics import median_ms, paired_ratio, percentiles, turns
from depth_core.bench.subject import open_subject
from depth_core.bench.worker import Ready, Turn, take_turn
from depth_core.errors import BackendError, ConfigError
from depth_core.files import scratch_folder
from depth_core.runtime import Precision

_LARGEST_DIFFERENCE: Final = 0.15
"""Mean relative difference of depth to which INT8 may bring a network, and other weights not."""
_SHORTEST: Final = 20.0
"""A meter tells of a turn that is at least this many times as long as its number may be old."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the rows are measured."""

    rounds: int = 1
    """Each row has one turn in each."""
    starts: int = 0
    """Starts that are measured, cold and cached each; with none the user's caches are used."""
    references: Mapping[str, str] = field(default_factory=dict)
    """The label of each row that is compared, and the label of what it is compared with."""
    same_weights: bool = False
    """Refuse rows whose depth is too far from that of their reference to be the same network."""
    meters: Sequence[EnergyMeter] = ()
    gpus: Gpus = field(default_factory=lambda: Gpus(nvml=None))
    say: Callable[[str], None] = lambda _line: None
    """Called with what is done now."""


@dataclass(kw_only=True)
class _Row:
    """A process and what is known of it so far."""

    child: Child
    ready: Ready
    starts_cold_s: list[float]
    starts_cached_s: list[float]
    turns: list[Turn] = field(default_factory=list)
    again: list[Turn] = field(default_factory=list)
    """Second turns of a reference."""
    energy_j: dict[str, list[float]] = field(default_factory=dict)
    """Of one call, of each turn that was long enough, by meter."""
    gpu_memory_mb: float | None = None
    others_cpu_s: float | None = None
    """CPU time that other processes used during its turns."""


def measure(request: BenchRequest) -> BenchResult:
    """Measure one row in this process.

    Raises:
        DepthError: The model cannot be run on this backend.
    """
    subject = open_subject(request)
    turn = take_turn(subject, request.frames)
    named = replace(request, backend=subject.backend)
    return _result(named, subject.precision, open_s=subject.open_s, turns=[turn])


def measure_apart(request: BenchRequest) -> BenchResult:
    """Measure one row in a process of its own, so that its memory is its own.

    Raises:
        BackendError: The process died.
        DepthError: As `measure`.
    """
    results, refused = measure_rows([request], Plan())
    for error in refused.values():
        raise error
    return results[0]


def measure_rows(
    requests: Sequence[BenchRequest], plan: Plan
) -> tuple[list[BenchResult], dict[str, BackendError]]:
    """Measure rows side by side: in each round every row has a turn, one after the other.

    Returns:
        The rows that ran, in the order of `requests`, and why each other one did not, by label.
    """
    refused: dict[str, BackendError] = {}
    with children_ended() as children, ExitStack() as stack:
        rows: dict[str, _Row] = {}
        for request in requests:
            try:
                rows[request.label] = _start(request, plan, children, stack)
            except BackendError as error:  # noqa: PERF203  the other rows are worth the time
                refused[request.label] = error
                plan.say(f'{request.label}: does not run here')
        if plan.same_weights:
            _check_weights(rows, plan)
        order = list(rows)
        for frames in turns(requests[0].frames, plan.rounds):
            for label in order:
                _take_turn(label, rows, refused, plan, frames)
            # The other way round, so that being late in a round is nobody's fate.
            order.reverse()
    measured = {label: row for label, row in rows.items() if label not in refused}
    results = [
        _finished(request, measured, plan) for request in requests if request.label in measured
    ]
    return results, refused


def _start(request: BenchRequest, plan: Plan, children: list[Child], stack: ExitStack) -> _Row:
    """Start processes until the starts are measured; the last one stays."""
    cold, cached = [], []
    caches: Path | None = None
    plan.say(f'{request.label}: starting')
    for _ in range(plan.starts):
        caches = stack.enter_context(scratch_folder('bench'))
        child, _ready, took_s = _open(request, caches, children)
        cold.append(took_s)
        child.end()
        child, ready, took_s = _open(request, caches, children)
        cached.append(took_s)
        if len(cached) < plan.starts:
            child.end()
    if not plan.starts:
        child, ready, _took = _open(request, None, children)
    plan.say(f'{request.label}: answers')
    return _Row(child=child, ready=ready, starts_cold_s=cold, starts_cached_s=cached)


def _open(
    request: BenchRequest, caches: Path | None, children: list[Child]
) -> tuple[Child, Ready, float]:
    child = Child(request, caches)
    children.append(child)
    return child, *child.open()


def _check_weights(rows: Mapping[str, _Row], plan: Plan) -> None:
    for label, reference in plan.references.items():
        if label in rows and reference in rows:
            difference = _difference(rows[label].ready, rows[reference].ready)
            if difference is not None and difference.mean > _LARGEST_DIFFERENCE:
                message = (
                    f'the depth of {label} is {difference.mean:.0%} from that of '
                    f'{rows[reference].child.request.model} on average, so that these are not '
                    'the same weights; give the checkpoint the graph was exported from.'
                )
                raise ConfigError(message)


def _take_turn(
    label: str, rows: dict[str, _Row], refused: dict[str, BackendError], plan: Plan, frames: int
) -> None:
    """Give a row its turn, and a second one when others are compared with it."""
    if label in refused:
        return
    row = rows[label]
    try:
        row.turns.append(_metered(row, plan, frames))
        if label in plan.references.values():
            row.again.append(_metered(row, plan, frames))
    except BackendError as error:
        refused[label] = error
        row.child.end()


def _metered(row: _Row, plan: Plan, frames: int) -> Turn:
    """One turn, with what the machine tells meanwhile."""

    def look() -> None:
        for meter in plan.meters:
            meter.sample()
        held = plan.gpus.memory_mb(row.child.pid)
        if held is not None:
            row.gpu_memory_mb = max(held, row.gpu_memory_mb or 0.0)

    busy_before = busy_cpu_s()
    for meter in plan.meters:
        meter.start()
    turn = row.child.turn(frames, look)
    look()
    for meter in plan.meters:
        used = meter.stop()
        if math.isnan(used):
            plan.say(f'{row.child.request.label}: {meter.name} could not be read meanwhile')
        elif turn.took_s >= _SHORTEST * meter.renewed_s:
            row.energy_j.setdefault(meter.name, []).append(used / turn.calls)
    busy_after = busy_cpu_s()
    if busy_before is not None and busy_after is not None:
        others_s = max(0.0, busy_after - busy_before - turn.cpu_s)
        row.others_cpu_s = others_s + (row.others_cpu_s or 0.0)
    return turn


def _finished(request: BenchRequest, rows: Mapping[str, _Row], plan: Plan) -> BenchResult:
    row = rows[request.label]
    named = replace(request, backend=row.ready.backend)
    result = _result(named, row.ready.precision, open_s=row.ready.open_s, turns=row.turns)
    length_s = sum(turn.took_s for turn in (*row.turns, *row.again))
    others = None
    if row.others_cpu_s is not None:
        others = row.others_cpu_s / (length_s * (os.cpu_count() or 1))
    result = replace(
        result,
        label=request.label,
        start_cold_s=_median(row.starts_cold_s),
        start_cached_s=_median(row.starts_cached_s),
        energy_j={
            name: float(np.median(used)) / request.batch for name, used in row.energy_j.items()
        },
        gpu_memory_mb=row.gpu_memory_mb,
        others_cpu=others,
    )
    reference = plan.references.get(request.label)
    if reference is None or reference not in rows:
        return result
    compared = rows[reference]
    return replace(
        result,
        ratio=paired_ratio(
            reference, _medians(row.turns), _medians(compared.turns), _medians(compared.again)
        ),
        difference=_difference(row.ready, compared.ready),
    )


def _result(
    request: BenchRequest, precision: Precision, *, open_s: float, turns: Sequence[Turn]
) -> BenchResult:
    latencies_s = [latency for turn in turns for latency in turn.latencies_s]
    stages = [stage for turn in turns for stage in turn.stages]
    p50_ms, p90_ms, p99_ms = percentiles(latencies_s)
    copies_s = [stage.copy_s for stage in stages if stage.copy_s is not None]
    inference_ms = median_ms([stage.inference_s for stage in stages])
    copy_ms = median_ms(copies_s) if copies_s else None
    predicts = request.loop == 'predictor'
    return BenchResult(
        label=request.label,
        backend=request.backend,
        precision=precision,
        threads=request.threads,
        batch=request.batch,
        loop=request.loop,
        frames=len(latencies_s),
        open_s=open_s,
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        min_ms=min(latencies_s) * 1e3,
        preprocess_ms=median_ms([one.preprocess_s for one in stages]) if predicts else None,
        inference_ms=inference_ms,
        postprocess_ms=median_ms([one.postprocess_s for one in stages]) if predicts else None,
        copy_ms=copy_ms,
        compute_ms=None if copy_ms is None else inference_ms - copy_ms,
        cpu_ms=float(np.median([turn.cpu_s / turn.calls for turn in turns])) * 1e3,
        frames_per_s=len(latencies_s) * request.batch / sum(turn.elapsed_s for turn in turns),
        peak_memory_mb=turns[-1].peak_memory_mb,
        round_p50_ms=tuple(value * 1e3 for value in _medians(turns)),
        latencies_ms=tuple(latency * 1e3 for latency in latencies_s),
    )


def _medians(turns: Sequence[Turn]) -> list[float]:
    return [float(np.median(turn.latencies_s)) for turn in turns]


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _difference(found: Ready, reference: Ready) -> Difference | None:
    """How far two depths of the same image are apart; None for loops that give none."""
    if found.depth_m is None or reference.depth_m is None:
        return None
    known = np.isfinite(found.depth_m) & np.isfinite(reference.depth_m)
    if not known.any():
        return None
    apart = np.abs(found.depth_m[known] / reference.depth_m[known] - 1.0)
    return Difference(mean=float(apart.mean()), largest=float(apart.max()))
