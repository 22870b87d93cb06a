# SPDX-License-Identifier: Apache-2.0
"""A camera of 30 Hz for minutes, with every output taken: memory, threads and files stay."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from depth_ros.frames.outputs import CAMERA_INFO, CONFIDENCE, POINTS, PREVIEW, SIGMA
from depth_ros.stress.results import Check, Resources, resources
from depth_ros.stress.stand import Stand

ALL: Final = (CAMERA_INFO, SIGMA, CONFIDENCE, PREVIEW, POINTS)
"""What is listened to beside depth."""
MOST_GROWTH: Final = 0.02
"""Of resident memory, from the end of the warm-up on."""
WARM_UP_SHARE: Final = 0.1
"""Of the time; buffers of the middleware grow until each message has been as large as it gets."""
LOOK_S: Final = 1.0


def soak(stand: Stand, *, seconds: float, most_growth: float = MOST_GROWTH) -> Check:
    """Be a camera for so long.

    Args:
        stand: Where.
        seconds: How long.
        most_growth: Share by which resident memory may grow after the warm-up.
    """
    stand.listen(*ALL)
    child = stand.started()
    begun_s = time.monotonic()
    seen: list[tuple[float, Resources]] = []
    while (now_s := time.monotonic() - begun_s) < seconds:
        stand.film()
        if now_s >= len(seen) * LOOK_S:
            seen.append((now_s, resources(child.pid)))
    stand.fresh()
    stand.until(lambda: came_of(stand.said.values)[0] == 0, 'the last image to be answered')
    said = dict(stand.said.values)
    seen.append((seconds, resources(child.pid)))
    warm = next(found for at_s, found in seen if at_s >= WARM_UP_SHARE * seconds)
    last = seen[-1][1]
    largest = max(found.resident_mib for at_s, found in seen if at_s >= WARM_UP_SHARE * seconds)
    growth = last.resident_mib / warm.resident_mib - 1.0
    stand.end(child)
    stand.stop_listening(*ALL)
    _, lost = came_of(said)
    came, went = int(said['frames_in']), int(said['frames_out'])
    drops = ', '.join(f'{number} {reason}' for reason, number in sorted(lost.items())) or 'none'
    steady = (last.threads, last.files) == (warm.threads, warm.files)
    return Check(
        part='soak',
        name=f'{seconds:.0f} s at 30 Hz, all outputs taken',
        found=(
            f'{came} images, {went} answered, dropped: {drops}; latency p50 '
            f'{said["latency_p50_ms"]} p95 {said["latency_p95_ms"]} ms; memory '
            f'{warm.resident_mib:.1f} to {last.resident_mib:.1f} MiB ({growth:+.2%}), at most '
            f'{largest:.1f}; {last.threads} threads, {last.files} files'
        ),
        passed=growth <= most_growth and steady,
        values={
            'seconds': seconds,
            'images': came,
            'answered': went,
            'dropped': lost,
            'latency_ms': [said['latency_p50_ms'], said['latency_p95_ms']],
            'resident_mib': [warm.resident_mib, last.resident_mib],
            'largest_mib': largest,
            'threads': [warm.threads, last.threads],
            'files': [warm.files, last.files],
        },
    )


def came_of(said: Mapping[str, str]) -> tuple[int, dict[str, int]]:
    """Images that are still in work by the diagnostics, and what was dropped by reason."""
    lost = {
        key.removeprefix('dropped_'): int(value)
        for key, value in said.items()
        if key.startswith('dropped_') and value != '0'
    }
    return int(said['frames_in']) - int(said['frames_out']) - int(said['frames_dropped']), lost
