# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of the node: one status message of what happens."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from depth_core.runtime.engine import BuildProgress, EngineIdentity
from depth_ros.drops import DropReason
from depth_ros.frame_statistics import NORMAL, Snapshot
from depth_ros.identity import KEY_CHARACTERS, Identity
from depth_ros.opening import progress_text


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
    bad = {reason: n for reason, n in counts.newly_dropped.items() if reason not in NORMAL}
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
