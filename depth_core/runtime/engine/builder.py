# SPDX-License-Identifier: Apache-2.0
"""The process that makes a plan: TensorRT's parser and builder, and nothing else.

A builder takes minutes and gigabytes, cannot always be stopped, and may end its process when
memory runs out or an operator is more than it can do. So it has a process of its own, started by
`build`, which is ended at any time and leaves nothing behind: the plan comes back through the
connection, and no file is written but the timing cache, whole.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeAlias

from depth_core.errors import BackendError, DepthError
from depth_core.files import is_utf8
from depth_core.runtime.engine.api import (
    OUT_OF_MEMORY,
    Builder,
    IBuilderConfig,
    INetworkDefinition,
    IOptimizationProfile,
    OnnxParser,
    ParserError,
    TensorRt,
    load_tensorrt,
    progress_monitor,
)
from depth_core.runtime.engine.options import Flavour
from depth_core.runtime.engine.timings import keep_timings, use_timings
from depth_core.runtime.onnx_reader import read_graph

Told: TypeAlias = Callable[[str, float | None], None]

PARSING: Final = 'parsing'
BUILDING: Final = 'building'

_NO_IMPLEMENTATION: Final = re.compile(
    r'could not find any implementation for node (.+?)[.,]? ?$', re.IGNORECASE
)
_MESSAGES_S: Final = 0.2
"""Between two messages of progress."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What is to be built, in values that go through a connection."""

    flavour: Flavour
    onnx: str
    """The file; its external data lie where it says."""
    half: bool
    """Whether the graph has fp16 tensors."""
    quantised: bool
    """Whether it has Q/DQ nodes."""
    shapes: Mapping[str, Sequence[Sequence[int]]]
    """Least, usual and largest shape of each input that is not fixed."""
    workspace_bytes: int | None = None
    targets: Sequence[str] | None = None
    """Compute capabilities such as `8.6`; None is the GPU that is here."""
    gpu: int = 0
    """Number of the GPU that is built for, among those this process sees."""
    timings: str | None = None
    """Where the timing cache is kept; None is nowhere."""

    def to_json(self) -> bytes:
        """Write it for `from_json`."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> BuildRequest:
        """Read what `to_json` wrote."""
        return cls(**json.loads(data))


def compile_plan(trt: TensorRt, request: BuildRequest, told: Told) -> bytes:
    """Parse and build in this thread.

    Args:
        trt: The TensorRT that builds.
        request: What is to be built.
        told: Called at once as the phases and fractions go by.

    Returns:
        The plan.

    Raises:
        BackendError: TensorRT cannot; with its reason.
    """
    trt.clear_errors()
    builder = _open_builder(trt)
    network: INetworkDefinition = trt.required(
        builder.create_network(trt.network_flags()), 'create a network'
    )
    parser: OnnxParser = trt.module.OnnxParser(network, trt.logger)
    told(PARSING, None)
    _parse(trt, parser, Path(request.onnx))
    config: IBuilderConfig = trt.required(
        builder.create_builder_config(), 'create a configuration'
    )
    _configure(trt, config, request)
    _limit_types(trt, network, config, request)
    profile = _add_profile(trt, builder, config, request)
    path = None if request.timings is None else Path(request.timings)
    timings = None if path is None else use_timings(config, path)
    trt.clear_errors()  # timings of another GPU are refused there, which is no failure
    monitor = None
    if trt.has_progress_monitor:
        monitor = progress_monitor(trt, partial(_go_on, told))
        config.progress_monitor = monitor
    told(BUILDING, None)
    memory = builder.build_serialized_network(network, config)
    if memory is None:
        raise BackendError(_failure(trt))
    plan = bytes(memory)
    if path is not None and timings is not None:
        keep_timings(config, path)
    # The library refers to these until here, whether or not its bindings know that.
    del memory, monitor, timings, profile, config, parser, network, builder
    return plan


def _go_on(told: Told, phase: str, fraction: float) -> bool:
    told(f'{BUILDING}: {phase}' if phase else BUILDING, fraction)
    return True


def _open_builder(trt: TensorRt) -> Builder:
    try:
        builder: Builder = trt.module.Builder(trt.logger)
    except TypeError as error:  # what a factory that returned null becomes
        because = trt.first_error() or str(error)
        message = (
            f'{trt} cannot start its builder: {because}; it needs an NVIDIA GPU that other '
            'processes share (compute mode Default) and a driver that is new enough: see '
            'nvidia-smi.'
        )
        raise BackendError(message) from error
    trt.register_plugins()
    return builder


def _parse(trt: TensorRt, parser: OnnxParser, onnx: Path) -> None:
    if trt.weakly_typed and hasattr(parser, 'set_flag'):
        parser.set_flag(trt.module.OnnxParserFlag.NATIVE_INSTANCENORM)
    graph = onnx.read_bytes()
    # The path is where the parser looks for external weights.
    if parser.parse(graph, str(onnx)) if is_utf8(onnx) else parser.parse(graph):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    faults = [_fault(error, onnx) for error in errors]
    because = faults[0] if faults else trt.first_error() or 'it gave no reason'
    if OUT_OF_MEMORY.search(because):
        raise BackendError(_out_of_memory(trt, because))
    more = f' (and {len(faults) - 1} more)' if len(faults) > 1 else ''
    message = (
        f'{trt} does not take {onnx.name}: {because}{more}. Export the model with other layers, '
        'or run it on onnxruntime-cuda or onnxruntime.'
    )
    raise BackendError(message)


def _fault(error: ParserError, onnx: Path) -> str:
    """A complaint of the parser in words, with the node that it is about."""
    said = ' '.join(str(error.desc()).split())
    if hasattr(error, 'node_operator'):
        operator, name = error.node_operator(), error.node_name()
    else:  # TensorRT 8 numbers the nodes
        nodes, place = read_graph(onnx).nodes, int(error.node())
        known = nodes[place] if 0 <= place < len(nodes) else None
        operator, name = ('', '') if known is None else (known.operator, known.name)
    return f'operator {operator} of node {name!r}: {said}' if operator else said


def _configure(trt: TensorRt, config: IBuilderConfig, request: BuildRequest) -> None:
    module = trt.module
    # TF32 keeps ten bits of the mantissa, and what is fp32 in a graph is so for a reason.
    config.clear_flag(module.BuilderFlag.TF32)
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    if not trt.chooses_targets:
        return
    stated = [f'SM{item.replace(".", "")}' for item in request.targets or ()]
    names = ['CURRENT'] if request.targets is None else stated
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        capability = trt.module.ComputeCapability.__members__[name]
        trt.required(config.set_compute_capability(capability, index), f'build for {name}')


def _limit_types(
    trt: TensorRt, network: INetworkDefinition, config: IBuilderConfig, request: BuildRequest
) -> None:
    """Allow on TensorRT 8 the types that the graph states, and hold its fp32 layers to fp32."""
    if not trt.weakly_typed:
        return
    flags, types = trt.module.BuilderFlag, trt.module.DataType
    if request.quantised:
        config.set_flag(flags.INT8)
    if not request.half:
        return
    config.set_flag(flags.FP16)
    config.set_flag(flags.OBEY_PRECISION_CONSTRAINTS)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        outputs = [layer.get_output(place) for place in range(layer.num_outputs)]
        if outputs and all(output.dtype == types.FLOAT for output in outputs):
            layer.precision = types.FLOAT


def _add_profile(
    trt: TensorRt, builder: Builder, config: IBuilderConfig, request: BuildRequest
) -> IOptimizationProfile | None:
    """State the shapes of inputs that have a free size; without them nothing is built.

    Returns:
        What has to live until the build is over.
    """
    if not request.shapes:
        return None
    profile: IOptimizationProfile = trt.required(
        builder.create_optimization_profile(), 'create a profile'
    )
    for name, shapes in request.shapes.items():
        least, usual, largest = (tuple(int(size) for size in shape) for shape in shapes)
        profile.set_shape(name, least, usual, largest)
    trt.required(
        config.add_optimization_profile(profile),
        f'take the shapes {dict(request.shapes)} (least, usual, largest)',
    )
    return profile


def _failure(trt: TensorRt) -> str:
    """Why there is no plan, in words."""
    because = trt.first_error() or 'TensorRT gave no reason'
    if OUT_OF_MEMORY.search(because):
        return _out_of_memory(trt, because)
    node = _NO_IMPLEMENTATION.search(because)
    if node:
        return (
            f'{trt} has no implementation for node {node[1]} within its memory ({because}); '
            'raise the limit of the workspace (workspace_mb) or leave it out, or run the model on '
            'onnxruntime-cuda or onnxruntime.'
        )
    return f'{trt} cannot build the engine: {because}'


def _out_of_memory(trt: TensorRt, because: str) -> str:
    return (
        f'{trt} ran out of memory while building ({because}); close what else uses the GPU, '
        'or limit the workspace (workspace_mb), or choose a smaller network or batch.'
    )


class _Messages:
    """What is said to the process that waits, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._last = ('', 0.0)

    def progress(self, phase: str, fraction: float | None) -> None:
        """Say how far the build is, unless that was said a moment ago."""
        now = time.monotonic()
        with self._lock:
            last, when = self._last
            if phase == last and now - when < _MESSAGES_S:
                return
            self._last = phase, now
            self._send({'phase': phase, 'fraction': fraction})

    def plan(self, plan: bytes) -> None:
        """Hand over the plan."""
        with self._lock:
            self._send({'plan': len(plan)})
            self._connection.send_bytes(plan)

    def failure(self, error: DepthError) -> None:
        """Say why there is none."""
        with self._lock:
            self._send({'error': str(error)})

    def log(self, level: int, text: str) -> None:
        """Have a line logged where the log is."""
        with self._lock:
            self._send({'log': level, 'text': text})

    def _send(self, content: Mapping[str, object]) -> None:
        self._connection.send_bytes(json.dumps(content).encode())


class _SentLog(logging.Handler):
    """What this process logs, logged by the one that waits."""

    def __init__(self, messages: _Messages) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self._messages.log(record.levelno, record.getMessage())


def main(arguments: Sequence[str]) -> None:
    """Read a request from the connection of the given descriptor, and answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits hears it, and ends this
    _give_way()
    connection = Connection(int(arguments[0]))
    request = BuildRequest.from_json(connection.recv_bytes())
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    messages = _Messages(connection)
    logging.basicConfig(level=logging.INFO, handlers=[_SentLog(messages)])
    try:
        messages.plan(compile_plan(load_tensorrt(request.flavour), request, messages.progress))
    except MemoryError:
        messages.failure(BackendError('the machine has too little memory to build this engine.'))
    except DepthError as error:
        messages.failure(error)


def _give_way() -> None:
    """Where memory runs out, have Linux end this process, and not the one that waits for it."""
    with contextlib.suppress(OSError):
        Path('/proc/self/oom_score_adj').write_text('1000', encoding='ascii')


def _end_with_parent(connection: Connection) -> None:
    """End this process when the one that waits is gone, however it went."""
    try:
        connection.poll(None)
        connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == '__main__':
    main(sys.argv[1:])
