# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of the node: one status of the whole, and one of each of its parts.

The parts are `input`, `inference`, `outputs` and `model`. The status of the whole bears the name
of the node, the worst level of the parts with what they say, and all of their values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from depth_core.runtime.engine import BuildProgress, EngineIdentity
from depth_ros.frames.drops import DropReason
from depth_ros.frames.statistics import NORMAL, WINDOW_FRAMES, Snapshot
from depth_ros.health.identity import KEY_CHARACTERS, namesakes_text
from depth_ros.health.observed import Observed
from depth_ros.model.opening import progress_text

PARTS: Final = ('input', 'inference', 'outputs', 'model')

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

RATE_WINDOW_S: Final = 5.0
RATE_FRAMES: Final = 3.0
"""The rate that min_rate_hz is compared with is that of so long, or of the time in which so many
frames are due, whichever is more."""

_OF_INFERENCE: Final = frozenset(
    {
        DropReason.PREDICTION,
        DropReason.INTERNAL,
        DropReason.NO_SCALE,
        DropReason.SUPERSEDED,
        DropReason.NO_SUBSCRIBER,
        DropReason.RATE_LIMITED,
        DropReason.DEACTIVATED,
        DropReason.REOPENING,
    }
)
"""The other reasons are those of the input."""


@dataclass(kw_only=True)
class _Part:
    """One status in the making."""

    level: bytes = OK
    texts: list[str] = field(default_factory=list)
    usual: str = ''
    """What is said when nothing is wrong."""
    values: list[tuple[str, str]] = field(default_factory=list)

    def add(self, level: bytes, text: str) -> None:
        """Say what is wrong; what is worse hides what is less so."""
        if level > self.level:
            self.level, self.texts = level, []
        if level == self.level:
            self.texts.append(text)

    @property
    def message(self) -> str:
        """Everything that is wrong, or the usual."""
        return '; '.join(self.texts) if self.level > OK else self.usual

    def status(self, name: str, model: str) -> DiagnosticStatus:
        """The message."""
        return DiagnosticStatus(
            level=self.level,
            name=name,
            message=self.message,
            hardware_id=model,
            values=[KeyValue(key=key, value=value) for key, value in self.values],
        )


def status_messages(name: str, seen: Observed) -> list[DiagnosticStatus]:
    """Return the status of the node, and those of its parts.

    Args:
        name: Name of the node; parts are called `name: part`.
        seen: What is to be said.
    """
    parts = {
        'model': _model(seen),
        'inference': _inference(seen),
        'outputs': _outputs(seen),
        'input': _input(seen),
    }
    worst = max(part.level for part in parts.values())
    said = [part.message for part in parts.values() if part.level == worst]
    if worst == OK:
        said = [parts['outputs' if seen.is_working else 'model'].message]
    whole = _Part(level=worst, texts=said, usual=said[0])
    whole.values = [value for part in parts.values() for value in part.values]
    model = seen.identity.model
    return [
        whole.status(name, model),
        *(parts[part].status(f'{name}: {part}', model) for part in PARTS),
    ]


def _input(seen: Observed) -> _Part:
    identity, counts = seen.identity, seen.counts
    part = _Part(usual=f'{counts.rate_in_hz:.1f} images a second')
    if not seen.is_working:
        part.usual = 'not in use'
    elif silence := seen.silence:
        part.add(WARN, silence)
    else:
        _add_headers(part, seen)
    _add_drops(part, seen, set(DropReason) - _OF_INFERENCE)
    part.values = [
        ('image_topic', identity.image_topic),
        ('image_transport', identity.transport),
        ('image_publishers', str(len(seen.senders))),
        ('rate_in_hz', f'{counts.rate_in_hz:.2f}'),
        ('frames_in', str(counts.frames_in)),
        ('last_image_age_s', f'{counts.silent_s:.1f}' if counts.frames_in else ''),
        ('input_stamp_age_s', _seconds(counts.stamp_age_s)),
        ('frame_id', counts.frame_id or ''),
        *_drops(counts, set(DropReason) - _OF_INFERENCE),
    ]
    return part


def _add_headers(part: _Part, seen: Observed) -> None:
    """Say what is wrong with the headers of the images."""
    age_s, limit_s = seen.counts.stamp_age_s, seen.health.max_age_s
    if seen.counts.frame_id == '':
        part.add(WARN, 'frame_id of the images is empty, so tf cannot place what is published')
    if seen.clock_stands:
        part.add(WARN, 'use_sim_time is true and no time came on /clock')
    elif age_s is not None and limit_s > 0.0 and abs(age_s) > limit_s:
        where = 'old' if age_s > 0.0 else 'ahead of the clock'
        part.add(
            WARN,
            f'stamps of the images are {abs(age_s):.1f} s {where} (max_age_s = {limit_s:g}): '
            'synchronise the clocks, or set use_sim_time for a recording that is played',
        )


def _inference(seen: Observed) -> _Part:
    identity, counts = seen.identity, seen.counts
    watch, rate = identity.watch, f'{counts.rate_out_hz:.1f} depth maps a second'
    part = _Part(usual=f'on {identity.backend}' if identity.backend else 'not in use')
    if seen.is_working:
        if watch.at_work:
            part.add(ERROR, watch.at_work)
        elif watch.first_backend not in {'', identity.backend}:
            problem = f': {watch.last_problem}' if watch.last_problem else ''
            part.add(
                WARN, f'{rate} on {identity.backend}, in place of {watch.first_backend}{problem}'
            )
        elif identity.fell_back:
            names = ', '.join(identity.passed_over)
            part.add(WARN, f'{rate} on {identity.backend}, in place of {names}')
    _add_drops(part, seen, _OF_INFERENCE - NORMAL - {DropReason.REOPENING})
    part.values = [
        ('backend', identity.backend),
        ('device', identity.device),
        ('precision', identity.precision),
        ('precision_error', identity.precision_error),
        *_engine(identity.engine),
        *((f'passed_over_{name}', reason) for name, reason in identity.passed_over.items()),
        ('network_size', identity.network_size),
        ('scale_state', identity.scale_state),
        *identity.scale_values,
        ('rectification', identity.rectification),
        ('inference_running_s', f'{watch.running_s:.1f}'),
        ('inference_failed_in_row', str(watch.failed_in_row)),
        ('watchdog_state', watch.at_work or ('watching' if seen.is_working else '')),
        ('watchdog_reopened', str(watch.reopened)),
        ('watchdog_problem', watch.last_problem),
        ('watchdog_problem_age_s', f'{watch.last_problem_age_s:.0f}' * bool(watch.last_problem)),
        *_percentiles('queue_age', (times.waiting_s for times in counts.times)),
        *_percentiles('inference', (times.inference_s for times in counts.times)),
        *_drops(counts, _OF_INFERENCE),
    ]
    return part


def _outputs(seen: Observed) -> _Part:
    counts = seen.counts
    part = _Part(usual=f'{counts.rate_out_hz:.1f} depth maps a second')
    if not seen.is_working:
        part.usual = 'not in use'
    elif not seen.wanted or (
        counts.newly_dropped.get(DropReason.NO_SUBSCRIBER) and counts.rate_out_hz == 0.0
    ):
        part.usual = 'idle: no output has a subscriber'
    if seen.is_working and seen.wanted:
        _add_lack(part, seen)
        _add_valid(part, seen)
        _add_rate(part, seen)
        _add_age(part, seen)
    part.values = [
        ('outputs_wanted', ' '.join(sorted(seen.wanted))),
        ('rate_out_hz', f'{counts.rate_out_hz:.2f}'),
        ('frames_out', str(counts.frames_out)),
        ('frames_dropped', str(counts.frames_dropped)),
        ('last_output_age_s', f'{counts.out_ages_s[-1]:.1f}' if counts.out_ages_s else ''),
        ('valid_fraction', _fraction(counts.valid_fraction)),
        *_percentiles('latency', (times.latency_s for times in counts.times)),
        *_percentiles('stamp_age', (times.age_s for times in counts.times)),
    ]
    return part


def _add_lack(part: _Part, seen: Observed) -> None:
    """Say that nothing comes out, where images come in and somebody listens."""
    lack_s = min(seen.counts.unanswered_s, seen.wanted_s)
    if lack_s < seen.health.output_timeout_s or seen.counts.silent_s > seen.silence_s:
        return
    running_s = seen.identity.watch.running_s
    why = f': an inference runs for {running_s:.1f} s' if running_s > 1.0 else ''
    part.add(ERROR, f'nothing was published for {lack_s:.1f} s, and images arrive{why}')


def _add_valid(part: _Part, seen: Observed) -> None:
    """Say that depth maps are empty, or nearly so."""
    found, least = seen.counts.valid_fraction, seen.health.min_valid_fraction
    if found is None or found >= least:
        return
    text = (
        f'{found:.1%} of the pixels have an estimate of depth (min_valid_fraction = {least:g}): '
        'look at the image, and at depth.min_confidence'
    )
    part.add(ERROR if found == 0.0 else WARN, text)


def _add_rate(part: _Part, seen: Observed) -> None:
    """Say that depth comes too slowly."""
    least_hz = seen.health.min_rate_hz
    if least_hz == 0.0:
        return
    window_s = max(RATE_WINDOW_S, RATE_FRAMES / least_hz)
    if seen.wanted_s < window_s:
        return
    ages_s = seen.counts.out_ages_s
    recent = sum(age_s <= window_s for age_s in ages_s)
    if recent >= WINDOW_FRAMES:  # there may have been more
        window_s = max(ages_s[0], 1e-3)
    if (rate_hz := recent / window_s) < least_hz:
        part.add(WARN, f'{rate_hz:.2f} depth maps a second (min_rate_hz = {least_hz:g})')


def _add_age(part: _Part, seen: Observed) -> None:
    """Say that depth is published long after its image was taken."""
    limit_s, times = seen.health.max_age_s, seen.counts.times
    if not times or limit_s == 0.0 or seen.clock_stands:
        return
    taken_s = times[-1].latency_s
    if taken_s > limit_s:
        part.add(
            WARN,
            f'depth is published {taken_s:.1f} s after its image arrived (max_age_s = '
            f'{limit_s:g}): take a smaller model, or a faster backend',
        )


def _model(seen: Observed) -> _Part:
    identity = seen.identity
    part = _Part(usual=f'{identity.state}: {identity.model or "no model"}')
    if identity.progress is not None:
        part.usual = f'{identity.state}: {progress_text(identity.progress)}'
    elif identity.failure:
        part.add(ERROR, f'{identity.state}: {identity.failure}')
    elif identity.state != 'active':
        part.usual = f'{identity.state}: not subscribed to images'
    if identity.namesakes:
        part.add(WARN, namesakes_text(identity.namesakes))
    part.values = [
        ('state', identity.state),
        ('model', identity.model),
        ('model_file', identity.model_file),
        ('weights_sha256', identity.weights_sha256),
        *_progress(identity.progress),
        ('failure', identity.failure),
        ('namesakes', str(identity.namesakes)),
    ]
    return part


def _add_drops(part: _Part, seen: Observed, reasons: Iterable[DropReason]) -> None:
    """Say what was lost since the last report, and why."""
    counts = seen.counts
    if not seen.is_working:
        return
    lost_all = counts.rate_out_hz == 0.0 and counts.newly_lost > 0
    for reason in DropReason:
        if reason in reasons and (count := counts.newly_dropped.get(reason)):
            text = counts.problems.get(reason, '')
            said = f'{count} x {reason}: {text}' if text else f'{count} x {reason}'
            part.add(ERROR if lost_all else WARN, said)


def _drops(counts: Snapshot, reasons: Iterable[DropReason]) -> Iterable[tuple[str, str]]:
    chosen = [reason for reason in DropReason if reason in reasons]
    for reason in chosen:
        yield f'dropped_{reason}', str(counts.dropped.get(reason, 0))
    for reason in chosen:
        if reason in counts.problems:
            yield f'problem_{reason}', counts.problems[reason]
            yield f'problem_{reason}_age_s', f'{counts.problem_ages_s.get(reason, 0.0):.1f}'


def _engine(engine: EngineIdentity | None) -> list[tuple[str, str]]:
    if engine is None:
        return [(f'engine_{name}', '') for name in ('key', 'tensorrt', 'gpu', 'agreement')]
    return [
        ('engine_key', engine.key[:KEY_CHARACTERS]),
        ('engine_tensorrt', engine.tensorrt),
        ('engine_gpu', engine.gpu),
        ('engine_agreement', engine.agreement),
    ]


def _progress(progress: BuildProgress | None) -> list[tuple[str, str]]:
    if progress is None:
        return [('build_phase', ''), ('build_fraction', ''), ('build_elapsed_s', '')]
    return [
        ('build_phase', progress.phase),
        ('build_fraction', _fraction(progress.fraction)),
        ('build_elapsed_s', f'{progress.elapsed_s:.1f}'),
    ]


def _fraction(value: float | None) -> str:
    return '' if value is None else f'{value:.3f}'


def _seconds(value: float | None) -> str:
    return '' if value is None else f'{value:.1f}'


def _percentiles(name: str, seconds: Iterable[float]) -> list[tuple[str, str]]:
    """Two entries in milliseconds; empty text when there is no frame yet."""
    values_ms = np.fromiter(seconds, np.float64) * 1e3
    if values_ms.size == 0:
        return [(f'{name}_p50_ms', ''), (f'{name}_p95_ms', '')]
    median, upper = np.percentile(values_ms, (50, 95))
    return [(f'{name}_p50_ms', f'{median:.2f}'), (f'{name}_p95_ms', f'{upper:.2f}')]
