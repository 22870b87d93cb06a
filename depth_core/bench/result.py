# SPDX-License-Identifier: Apache-2.0
"""What one row of the table says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from depth_core.bench.request import Loop
from depth_core.bench.statistics import Ratio
from depth_core.runtime import Precision


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The time of one call, from the camera images to depth and sigma at their size."""

    backend: str
    precision: Precision
    """What was computed in: that of the graph, where it is in another than the one asked for."""
    frames: int
    """Calls that were measured."""
    open_s: float
    """From nothing to the first answer in a process that has Python and this package loaded, the
    import of the runtime included."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    preprocess_ms: float | None
    """Median, as the next four; None where the loop has no such stage."""
    inference_ms: float
    """Copies included."""
    postprocess_ms: float | None
    copy_ms: float | None = None
    """To the device and back; None where the backend does not tell."""
    compute_ms: float | None = None
    """`inference_ms` without the copies; None where they are not known."""
    cpu_ms: float | None = None
    """CPU time of one call on all threads of the process: what it costs where others compute too,
    and waiting does not count."""
    frames_per_s: float
    """Images answered, one call after the other, in all the time the calls took."""
    peak_memory_mb: float
    """Most memory the process held, Python and the runtime included."""
    gpu_memory_mb: float | None = None
    """Most memory the process held on the GPUs; None where the driver does not tell."""
    label: str = ''
    threads: int | None = None
    batch: int = 1
    loop: Loop = 'predictor'
    start_cold_s: float | None = None
    """From the start of a process to its first answer with empty caches of engines and compiled
    models; None when it was not measured."""
    start_cached_s: float | None = None
    """The same with what the cold start has left in the caches."""
    energy_j: Mapping[str, float] = field(default_factory=dict)
    """Joules of one image by meter, all that the machine did meanwhile included."""
    others_cpu: float | None = None
    """Share of all CPUs that other processes used while the calls were measured."""
    round_p50_ms: tuple[float, ...] = ()
    """The median of each round."""
    ratio: Ratio | None = None
    """To the reference of the run."""
    difference: Difference | None = None
    """To the depth of the reference."""
    latencies_ms: tuple[float, ...] = ()
    """Every measured call, in order."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far the depth of one image is from the reference's, relative to it."""

    mean: float
    largest: float
