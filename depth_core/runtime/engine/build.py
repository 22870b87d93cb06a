# SPDX-License-Identifier: Apache-2.0
"""Building an engine: what is asked is checked, and a process of its own builds it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from depth_core.errors import BackendError, ConfigError
from depth_core.manifest import Manifest
from depth_core.runtime.backends.base import (
    Precision,
    check_allowed_precision,
    computed_precision,
)
from depth_core.runtime.engine.api import TensorRt
from depth_core.runtime.engine.builder import BUILDING, PARSING, BuildRequest
from depth_core.runtime.engine.builder_process import BuilderProcess
from depth_core.runtime.engine.device import DeviceInfo
from depth_core.runtime.engine.graph_checks import check_oldest, check_operators
from depth_core.runtime.engine.options import BuildCancelledError, BuildProgress, EngineOptions
from depth_core.runtime.engine.timings import timings_path
from depth_core.runtime.graph import TensorInfo, check_graph
from depth_core.runtime.onnx_graph import OnnxGraph
from depth_core.runtime.onnx_reader import read_graph

_logger = logging.getLogger(__name__)

_LOOK_S: Final = 0.1
"""How long a build goes on after it was cancelled, at most."""
_REPORT_S: Final = 2.0
"""Between two reports."""
_LOG_S: Final = 5.0
"""Between two lines of the log."""

_IMAGE_AXES: Final = 4

_MEMORY: Final = Path('/proc/meminfo')


def build_plan(
    trt: TensorRt,
    onnx: Path,
    manifest: Manifest,
    *,
    precision: Precision,
    options: EngineOptions,
    targets: Sequence[str] | None = None,
    gpu: DeviceInfo | None = None,
) -> bytes:
    """Build the engine of a graph.

    The builder runs in a process of its own: Ctrl-C and `options.cancelled` end it at once, a
    builder that crashes or is killed for want of memory takes nobody with it, and its memory is
    given back. Progress goes to `options.report` and to the log every few seconds.

    Args:
        trt: The TensorRT that builds.
        onnx: The graph.
        manifest: What it takes and gives.
        precision: What the graph was asked to compute in; its tensors have to be of it already.
        options: How to build.
        targets: Compute capabilities to build for, such as `8.6`, which only TensorRT-RTX can
            without the GPU; None is the GPU that is here.
        gpu: Which that is; None is the first, of which no timings are kept.

    Returns:
        The plan, good for this version of TensorRT and this GPU (or these `targets`) only.

    Raises:
        BackendError: This TensorRT cannot build it, with the reason.
        BuildCancelledError: `options.cancelled` was set.
        ConfigError: More images at once were asked for than the graph takes.
        ModelError: The file is no ONNX, or not what the manifest says.
    """
    request = prepare(
        trt, onnx, manifest, precision=precision, options=options, targets=targets, gpu=gpu
    )
    start = time.monotonic()
    plan = _build_apart(request, _Progress(options, f'{trt} builds {onnx.name}'), options)
    _logger.info(
        '%s built %s in %.1f s, %.1f MB', trt, onnx.name, time.monotonic() - start, len(plan) / 1e6
    )
    return plan


def prepare(
    trt: TensorRt,
    onnx: Path,
    manifest: Manifest,
    *,
    precision: Precision,
    options: EngineOptions,
    targets: Sequence[str] | None = None,
    gpu: DeviceInfo | None = None,
) -> BuildRequest:
    """Check what is asked of the builder, and put it into words for it; as `build_plan`."""
    # A link is kept: what lies beside it is what the graph's other files are looked for in.
    onnx = Path(onnx).absolute()
    graph = read_graph(onnx)
    check_graph(onnx, manifest, graph.inputs, graph.outputs)
    check_allowed_precision(computed_precision(precision, manifest), manifest)
    _check_precision(graph, precision)
    check_oldest(manifest, flavour=trt.flavour, release=trt.release)
    check_operators(graph, flavour=trt.flavour, release=trt.release, precision=precision)
    if targets is not None and not trt.chooses_targets:
        message = f'{trt} builds for the GPU that is here; leave out targets {", ".join(targets)}.'
        raise BackendError(message)
    check_targets(trt, targets, gpu)
    timings = None if gpu is None else timings_path(trt, gpu.name, options.cache_dir)
    workspace = options.workspace_bytes
    if workspace is None and gpu is not None and gpu.integrated:
        workspace = _half_of_shared_memory()
    return BuildRequest(
        flavour=trt.flavour,
        onnx=str(onnx),
        half='float16' in graph.types,
        quantised=any(node.operator == 'QuantizeLinear' for node in graph.nodes),
        shapes=profile_shapes(graph, manifest, options.max_batch),
        workspace_bytes=workspace,
        targets=None if targets is None else list(targets),
        gpu=0 if gpu is None else gpu.index,
        timings=None if timings is None else str(timings.absolute()),
    )


def check_targets(
    trt: TensorRt, targets: Sequence[str] | None, gpu: DeviceInfo | None = None
) -> None:
    """Refuse GPUs that this TensorRT does not build for, as TensorRT-RTX knows only some.

    Args:
        trt: The TensorRT that would build.
        targets: Compute capabilities such as `8.6`; None is that of `gpu`.
        gpu: The GPU that is here, where there is one.

    Raises:
        BackendError: Names those that it builds for.
    """
    if not trt.chooses_targets:
        return
    if targets is None:
        targets = [] if gpu is None else ['{}.{}'.format(*gpu.compute_capability)]
    known = [f'{name[2:-1]}.{name[-1]}' for name in trt.targets if name.startswith('SM')]
    for target in targets:
        if target not in known:
            message = (
                f'{trt} does not build for compute capability {target}; it builds for '
                f'{", ".join(known)}.'
            )
            raise BackendError(message)


def _half_of_shared_memory() -> int | None:
    """What a builder may take where the GPU has no memory of its own.

    Without a limit TensorRT takes all of it, and what else runs on the machine is ended. It is
    asked of the system: the driver counts memory that files are only kept in as taken.
    """
    try:
        lines = _MEMORY.read_text(encoding='ascii').splitlines()
        (available,) = (line.split()[1] for line in lines if line.startswith('MemAvailable:'))
        return int(available) * 1024 // 2
    except (OSError, ValueError):
        return None


def profile_shapes(
    graph: OnnxGraph, manifest: Manifest, max_batch: int
) -> dict[str, list[list[int]]]:
    """The least, usual and largest shape of each input that leaves a size free.

    Args:
        graph: What is to be built.
        manifest: The size of its image.
        max_batch: Most images at once; the usual is the most.

    Raises:
        ConfigError: `max_batch` is more than the graph takes, or an input other than the image
            leaves more than the batch free.
    """
    shapes = {}
    for info in graph.inputs:
        sizes = _sizes(info, manifest)
        batch = sizes[0] if sizes else 1
        if batch is not None and max_batch not in (1, batch):
            message = (
                f'{max_batch} images at once were asked for, but input {info} takes {batch}; '
                'export the model with a free batch, or leave max_batch at 1.'
            )
            raise ConfigError(message)
        if info.shape is None or None in info.shape:
            least, most = (1, max_batch) if batch is None else (batch, batch)
            rest = [int(size or 0) for size in sizes[1:]]
            shapes[info.name] = [[least, *rest], [most, *rest], [most, *rest]]
    return shapes


def _sizes(info: TensorInfo, manifest: Manifest) -> list[int | None]:
    """The shape of an input with height and width as the manifest has them."""
    spec = manifest.input
    shape = (None,) * _IMAGE_AXES if info.shape is None else info.shape
    sizes: list[int | None] = [*shape]
    if info.name == spec.name and len(sizes) == _IMAGE_AXES:
        image = [spec.height, spec.width]
        stated = [*image, 3] if spec.layout == 'NHWC' else [3, *image]
        rest = zip(sizes[1:], stated, strict=True)
        sizes = [sizes[0], *(known if size is None else size for size, known in rest)]
    if None in sizes[1:]:
        message = (
            f'input {info} leaves sizes free that its manifest does not state; export the graph '
            'with fixed sizes.'
        )
        raise ConfigError(message)
    return sizes


def _check_precision(graph: OnnxGraph, precision: Precision) -> None:
    """Refuse a precision that the graph is not in: a flag would be ignored, or trusted blindly."""
    quantised = any(node.operator == 'QuantizeLinear' for node in graph.nodes)
    held = {'fp16': 'float16' in graph.types, 'bf16': 'bfloat16' in graph.types, 'int8': quantised}
    if held.get(precision, True):
        return
    what = 'no Q/DQ nodes' if precision == 'int8' else f'no {precision} tensors'
    message = (
        f'{precision} was asked for, but the graph has {what}; TensorRT computes in the types of '
        f'the graph: export with python -m depth_core.export ... --precision {precision}.'
    )
    raise BackendError(message)


class _Progress:
    """How far a build is, reported and logged every few seconds."""

    def __init__(self, options: EngineOptions, what: str) -> None:
        self._report = options.report
        self._what = what
        self._start = self._reported = self._logged = time.monotonic()
        self._state: tuple[str, float | None] = ('starting', None)

    def update(self, phase: str, fraction: float | None) -> None:
        """Take note; parsing and building are reported as they begin."""
        self._state = phase, fraction
        self.tell(at_once=phase in (PARSING, BUILDING))

    def tell(self, *, at_once: bool = False) -> None:
        """Report and log, where it is time."""
        now = time.monotonic()
        phase, fraction = self._state
        elapsed_s = now - self._start
        if self._report is not None and (at_once or now - self._reported >= _REPORT_S):
            self._reported = now
            self._report(BuildProgress(phase=phase, fraction=fraction, elapsed_s=elapsed_s))
        if now - self._logged >= _LOG_S:
            self._logged = now
            done = '' if fraction is None else f', {fraction:.0%}'
            _logger.info('%s: %s%s, %.0f s', self._what, phase, done, elapsed_s)

    def elapsed_s(self) -> float:
        """Since the build began, seconds."""
        return time.monotonic() - self._start


def _build_apart(request: BuildRequest, progress: _Progress, options: EngineOptions) -> bytes:
    with contextlib.closing(BuilderProcess(request)) as builder:
        builder.start()
        while True:
            if options.cancelled is not None and options.cancelled.is_set():
                message = (
                    f'the build of {Path(request.onnx).name} was cancelled after '
                    f'{progress.elapsed_s():.1f} s; nothing of it is kept.'
                )
                raise BuildCancelledError(message)
            said = builder.said(_LOOK_S)
            if 'plan' in said:
                plan: bytes = said['plan']
                return plan
            if 'error' in said:
                raise BackendError(said['error'])
            if 'log' in said:
                _logger.log(said['log'], '%s', said['text'])
            if 'phase' in said:
                progress.update(said['phase'], said['fraction'])
            progress.tell()
