# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of the node: counts, rates, latencies, and one status message of them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from depth_core.runtime.engine import BuildProgress, EngineIdentity
from depth_ros.drops import DropReason
from depth_ros.opening import progress_text

WINDOW_FRAMES: Final = 200
"""Percentiles are taken over so many of the latest frames."""

REPEAT_S: Final = 10.0
"""A reason that goes on is logged again after so long."""

KEY_CHARACTERS: Final = 12
"""So much of the key of an engine is shown; it tells the entries of a cache apart."""

_NORMAL: Final = frozenset(
    {DropReason.SUPERSEDED, DropReason.NO_SUBSCRIBER, DropReason.DEACTIVATED}
)
"""Normal operation: the camera is faster than the model, or no output has a subscriber."""


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """How long one published frame took, seconds."""

    waiting_s: float
    """From its arrival to the beginning of the work."""
    inference_s: float
    """Inside the backend."""
    latency_s: float
    """From its arrival to the return of the last publish."""
    age_s: float
    """From its stamp to the return of the last publish; as good as the camera's clock."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Model, backend and state of the node."""

    state: str = 'unconfigured'
    """Lifecycle state of the node."""
    model: str = ''
    """Name in the manifest."""
    model_file: str = ''
    weights_sha256: str = ''
    backend: str = ''
    """The backend in use, not the one asked for."""
    precision: str = ''
    scale_state: str = ''
    """Where the metres come from; `metric` when the model itself gives them."""
    network_size: str = ''
    """Columns and rows of what the network sees of an image; empty before the first."""
    precision_error: str = ''
    """How far that precision is from fp32, as the manifest has it measured."""
    device: str = ''
    """The device asked for; empty when that was left to the backend."""
    engine: EngineIdentity | None = None
    """The engine in use; None for backends that run without."""
    passed_over: Mapping[str, str] = field(default_factory=dict)
    """Backends that were tried first, with the reason why each is not in use."""
    fell_back: bool = False
    """Whether the user had named them."""
    image_topic: str = ''
    transport: str = ''
    progress: BuildProgress | None = None
    """How far the opening of the model is; None when none is going on."""
    failure: str = ''
    """Why the latest transition failed."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The counts at one moment, and the rates since the snapshot before."""

    frames_in: int = 0
    frames_out: int = 0
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    """Totals since configure."""
    newly_dropped: Mapping[DropReason, int] = field(default_factory=dict)
    """Since the snapshot before."""
    newly_lost: int = 0
    """Whole frames among these that are no normal operation."""
    rate_in_hz: float = 0.0
    rate_out_hz: float = 0.0
    silent_s: float = 0.0
    """Since the last frame arrived, or since the counting began."""
    times: tuple[FrameTimes, ...] = ()
    problems: Mapping[DropReason, str] = field(default_factory=dict)
    """The latest message of each reason."""


class FrameStatistics:
    """Counts what happens to frames; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        now_s = time.monotonic()
        self._frames_in = self._frames_out = 0
        self._dropped: Counter[DropReason] = Counter()
        self._lost = 0
        self._problems: dict[DropReason, str] = {}
        self._logged_s: dict[DropReason, float] = {}
        self._times: deque[FrameTimes] = deque(maxlen=WINDOW_FRAMES)
        self._last_in_s = now_s
        self._before = (now_s, 0, 0, 0, Counter[DropReason]())

    def restart_clock(self) -> None:
        """Begin to wait for a frame now."""
        with self._lock:
            self._last_in_s = time.monotonic()

    def arrived(self) -> None:
        """Count a frame that came in."""
        with self._lock:
            self._frames_in += 1
            self._last_in_s = time.monotonic()

    def published(self, times: FrameTimes) -> None:
        """Count a frame that went out."""
        with self._lock:
            self._frames_out += 1
            self._times.append(times)

    def dropped(self, reason: DropReason, problem: str = '', *, whole: bool = True) -> bool:
        """Count what was not published.

        Args:
            reason: Why.
            problem: The same in words, where there is more to say.
            whole: Whether the whole frame is lost; else only an output of it.

        Returns:
            True when `problem` should be logged: it is the first of its reason, or `REPEAT_S`
            have passed since this was answered last.
        """
        now_s = time.monotonic()
        with self._lock:
            self._dropped[reason] += 1
            self._lost += whole and reason not in _NORMAL
            if not problem:
                return False
            self._problems[reason] = problem
            due = now_s - self._logged_s.get(reason, -REPEAT_S) >= REPEAT_S
            if due:
                self._logged_s[reason] = now_s
            return due

    def snapshot(self) -> Snapshot:
        """Return the counts, and the rates since this was called last."""
        now_s = time.monotonic()
        with self._lock:
            then_s, frames_in, frames_out, lost, dropped = self._before
            totals = self._frames_in, self._frames_out, self._lost, self._dropped.copy()
            self._before = (now_s, *totals)
            elapsed_s = max(now_s - then_s, 1e-9)
            return Snapshot(
                frames_in=self._frames_in,
                frames_out=self._frames_out,
                dropped=dict(self._dropped),
                newly_dropped=dict(self._dropped - dropped),
                newly_lost=self._lost - lost,
                rate_in_hz=(self._frames_in - frames_in) / elapsed_s,
                rate_out_hz=(self._frames_out - frames_out) / elapsed_s,
                silent_s=now_s - self._last_in_s,
                times=tuple(self._times),
                problems=dict(self._problems),
            )


def status_message(
    name: str,
    identity: Identity,
    counts: Snapshot,
    *,
    publishers: int,
    wanted: Iterable[str],
    silence_s: float,
) -> DiagnosticStatus:
    """Return the status of the node.

    Args:
        name: Name of the status, the node's own.
        identity: What is running.
        counts: What happened.
        publishers: Publishers of the image topic that the node sees.
        wanted: Outputs that have a subscriber.
        silence_s: Without a frame for so long, an active node warns.
    """
    level, summary = _summary(identity, counts, publishers=publishers, silence_s=silence_s)
    values = [
        ('state', identity.state),
        ('model', identity.model),
        ('model_file', identity.model_file),
        ('weights_sha256', identity.weights_sha256),
        ('backend', identity.backend),
        ('device', identity.device),
        ('precision', identity.precision),
        ('precision_error', identity.precision_error),
        *_engine(identity.engine),
        *((f'passed_over_{name}', reason) for name, reason in identity.passed_over.items()),
        *_progress(identity.progress),
        ('failure', identity.failure),
        ('scale_state', identity.scale_state),
        ('network_size', identity.network_size),
        ('image_topic', identity.image_topic),
        ('image_transport', identity.transport),
        ('image_publishers', str(publishers)),
        ('outputs_wanted', ' '.join(sorted(wanted))),
        ('rate_in_hz', f'{counts.rate_in_hz:.2f}'),
        ('rate_out_hz', f'{counts.rate_out_hz:.2f}'),
        ('frames_in', str(counts.frames_in)),
        ('frames_out', str(counts.frames_out)),
        *_percentiles('latency', (times.latency_s for times in counts.times)),
        *_percentiles('queue_age', (times.waiting_s for times in counts.times)),
        *_percentiles('inference', (times.inference_s for times in counts.times)),
        *_percentiles('stamp_age', (times.age_s for times in counts.times)),
        *((f'dropped_{reason}', str(counts.dropped.get(reason, 0))) for reason in DropReason),
        *((f'problem_{reason}', problem) for reason, problem in counts.problems.items()),
    ]
    status = DiagnosticStatus()
    status.level = level
    status.name = name
    status.message = summary
    status.hardware_id = identity.model
    status.values = [KeyValue(key=key, value=value) for key, value in values]
    return status


def _summary(
    identity: Identity, counts: Snapshot, *, publishers: int, silence_s: float
) -> tuple[bytes, str]:
    if identity.state != 'active' or identity.progress is not None:
        return _inactive(identity)
    if counts.silent_s > silence_s:
        topic = identity.image_topic
        if publishers == 0:
            hint = f'{topic} has no publisher; remap image (image:=/camera/image_raw)'
        else:
            hint = (
                f'{topic} has {publishers} publisher(s) but nothing arrives: compare the QoS, and '
                'give both sides a Fast DDS profile whose shared memory holds images '
                '(FASTDDS_DEFAULT_PROFILES_FILE, config/fastdds.xml)'
            )
        return DiagnosticStatus.WARN, f'no image for {counts.silent_s:.0f} s: {hint}'
    bad = {reason: n for reason, n in counts.newly_dropped.items() if reason not in _NORMAL}
    if bad:
        text = '; '.join(
            f'{n} x {reason}: {counts.problems.get(reason, "")}' for reason, n in bad.items()
        )
        lost_all = counts.rate_out_hz == 0.0 and counts.newly_lost > 0
        return (DiagnosticStatus.ERROR if lost_all else DiagnosticStatus.WARN), text
    if counts.newly_dropped.get(DropReason.NO_SUBSCRIBER) and counts.rate_out_hz == 0.0:
        return DiagnosticStatus.OK, 'idle: no output has a subscriber'
    rate = f'{counts.rate_out_hz:.1f} depth maps a second'
    if identity.fell_back:
        names = ', '.join(identity.passed_over)
        return DiagnosticStatus.WARN, f'{rate} on {identity.backend}, in place of {names}'
    return DiagnosticStatus.OK, rate


def _inactive(identity: Identity) -> tuple[bytes, str]:
    if identity.progress is not None:
        return DiagnosticStatus.OK, f'{identity.state}: {progress_text(identity.progress)}'
    if identity.failure:
        return DiagnosticStatus.ERROR, f'{identity.state}: {identity.failure}'
    return DiagnosticStatus.OK, f'{identity.state}: not subscribed to images'


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
    fraction = '' if progress.fraction is None else f'{progress.fraction:.3f}'
    return [
        ('build_phase', progress.phase),
        ('build_fraction', fraction),
        ('build_elapsed_s', f'{progress.elapsed_s:.1f}'),
    ]


def _percentiles(name: str, seconds: Iterable[float]) -> list[tuple[str, str]]:
    """Two entries in milliseconds; empty text when there is no frame yet."""
    values_ms = np.fromiter(seconds, np.float64) * 1e3
    if values_ms.size == 0:
        return [(f'{name}_p50_ms', ''), (f'{name}_p95_ms', '')]
    median, upper = np.percentile(values_ms, (50, 95))
    return [(f'{name}_p50_ms', f'{median:.2f}'), (f'{name}_p95_ms', f'{upper:.2f}')]
