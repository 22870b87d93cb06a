# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.bench`: how fast a model answers, on which backend."""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np

from depth_core.arguments import CommandParser, count, names
from depth_core.errors import BackendError, run_command, unknown_name
from depth_core.files import write_text_atomically
from depth_core.manifest import read_manifest
from depth_core.runtime import BACKENDS, Precision, Predictor
from depth_core.runtime.backends import default_chain, describe_backends
from depth_core.shipped import MODEL_HELP, find_model

_WARM_UP: Final = 10
_COLUMNS: Final = ('backend', 'p50', 'p90', 'p99', 'min', 'pre', 'infer', 'post', 'fps', 'MB')


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What is measured."""

    model: Path
    backend: str
    precision: Precision
    threads: int | None
    image_height: int
    image_width: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The time of `Predictor.predict`, from the camera image to depth and sigma at its size."""

    backend: str
    precision: Precision
    frames: int
    open_s: float
    """From nothing to the first answer, the import of the runtime included."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    preprocess_ms: float
    """Median, as the next two."""
    inference_ms: float
    postprocess_ms: float
    frames_per_s: float
    """Answers one after the other, in all the time they took."""
    peak_memory_mb: float
    """Most memory the process held, Python and the runtime included."""


def measure(request: BenchRequest) -> BenchResult:
    """Measure one backend in this process.

    Raises:
        DepthError: The model cannot be run on this backend.
    """
    start = time.perf_counter()
    predictor = Predictor.open(
        request.model,
        backend=request.backend,
        precision=request.precision,
        threads=request.threads,
        strict=True,
    )
    open_s = time.perf_counter() - start
    generator = np.random.default_rng(0)
    shape = (request.image_height, request.image_width, 3)
    image = generator.integers(0, 256, shape, dtype=np.uint8)
    for _ in range(_WARM_UP):
        predictor.predict(image)
    latencies_s, stages = [], []
    began = time.perf_counter()
    for _ in range(request.frames):
        before = time.perf_counter()
        predictor.predict(image)
        latencies_s.append(time.perf_counter() - before)
        stages.append(predictor.stage_times)
    elapsed_s = time.perf_counter() - began
    p50_ms, p90_ms, p99_ms = (float(v) * 1e3 for v in np.percentile(latencies_s, (50, 90, 99)))
    return BenchResult(
        backend=predictor.backend,
        precision=request.precision,
        frames=request.frames,
        open_s=open_s,
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        min_ms=min(latencies_s) * 1e3,
        preprocess_ms=float(np.median([stage.preprocess_s for stage in stages])) * 1e3,
        inference_ms=float(np.median([stage.inference_s for stage in stages])) * 1e3,
        postprocess_ms=float(np.median([stage.postprocess_s for stage in stages])) * 1e3,
        frames_per_s=request.frames / elapsed_s,
        peak_memory_mb=_peak_memory_mb(),
    )


def measure_apart(request: BenchRequest) -> BenchResult:
    """Measure one backend in a process of its own, so that its memory is its own.

    Raises:
        BackendError: The process died.
        DepthError: As `measure`.
    """
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            return pool.submit(measure, request).result()
        except BrokenProcessPool as error:
            message = (
                f'the process that ran {request.model} on {request.backend} died, for instance '
                'for want of memory; try another backend.'
            )
            raise BackendError(message) from error


def table(results: Sequence[BenchResult]) -> str:
    """Lay out results in columns: milliseconds, frames a second, megabytes."""
    rows = [_COLUMNS, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        row[0].ljust(widths[0])
        + ''.join(
            '  ' + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        )
        for row in rows
    ]
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, those of the process when None."""
    options = _parser().parse_command(arguments)
    model = find_model(options.model)
    manifest = read_manifest(model) if model.suffix == '.onnx' else None
    size = '' if manifest is None else f', {manifest.input.width}x{manifest.input.height} inside'
    sys.stdout.write(
        f'{model}{size}; image {options.image_width}x{options.image_height}, '
        f'{options.frames} frames, {options.precision}, '
        f'{options.threads or "all"} of {_usable_cpus()} CPUs\n'
    )
    backends = options.backends or default_chain(model)
    for backend in backends:
        if backend not in BACKENDS:
            raise BackendError(unknown_name('backend', backend, BACKENDS))
    requests = [
        BenchRequest(
            model=model,
            backend=backend,
            precision=options.precision,
            threads=options.threads,
            image_height=options.image_height,
            image_width=options.image_width,
            frames=options.frames,
        )
        for backend in backends
    ]
    results, refused = _measure_all(requests)
    sys.stdout.write(table(results))
    sys.stdout.write('milliseconds of one answer; pre, infer and post are medians\n')
    if options.output is not None:
        write_text_atomically(options.output, _to_json(model, options, results))
    if refused:
        message = f'{len(refused)} of {len(requests)} backends did not run:\n  '
        raise BackendError(message + '\n  '.join(refused))


def _measure_all(requests: Sequence[BenchRequest]) -> tuple[list[BenchResult], list[str]]:
    results, refused = [], []
    for request in requests:
        try:
            results.append(measure_apart(request))
        except BackendError as error:  # noqa: PERF203  the other backends are worth the time
            refused.append(str(error))
    return results, refused


def _row(result: BenchResult) -> tuple[str, ...]:
    times = (
        result.p50_ms,
        result.p90_ms,
        result.p99_ms,
        result.min_ms,
        result.preprocess_ms,
        result.inference_ms,
        result.postprocess_ms,
    )
    return (
        result.backend,
        *(f'{value:.2f}' for value in times),
        f'{result.frames_per_s:.1f}',
        f'{result.peak_memory_mb:.0f}',
    )


def _to_json(model: Path, options: argparse.Namespace, results: Sequence[BenchResult]) -> str:
    content = {
        'model': str(model),
        'image_height': options.image_height,
        'image_width': options.image_width,
        'threads': options.threads,
        'cpus': _usable_cpus(),
        'system': platform.platform(),
        'results': [dataclasses.asdict(result) for result in results],
    }
    return json.dumps(content, indent=2, allow_nan=False) + '\n'


def _usable_cpus() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == 'darwin' else peak / (1 << 10)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog='python -m depth_core.bench',
        description='Measure how fast a model answers: the whole of Predictor.predict, one image '
        'after the other, each backend in a process of its own.',
    )
    add = parser.add_argument
    add('--model', required=True, help=MODEL_HELP)
    add(
        '--backends',
        type=names,
        metavar='NAME[,NAME...]',
        help=f'those that are tried by themselves when left out; known: {describe_backends()}',
    )
    add('--precision', default='fp32', choices=get_args(Precision), help='computed in')
    add('--image_height', type=count, default=480, help='rows of the camera image, pixels')
    add('--image_width', type=count, default=640, help='columns of the camera image, pixels')
    add('--frames', type=count, default=200, help='how many answers are measured')
    add('--threads', type=count, help='most CPU threads to compute with; all when left out')
    add('--output', type=Path, help='JSON file to write')
    return parser


if __name__ == '__main__':
    run_command(main)
