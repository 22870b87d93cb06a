# SPDX-License-Identifier: Apache-2.0
"""The backends by name, and the chain of them that opens a model.

A backend is one file of this folder and one row of `BACKENDS`; nothing else names it. It is
chosen down a declared chain: the first that can run the model as asked is used, and each one
passed over is logged with its reason. A backend says that it cannot with a `BackendError`; any
other error means that the model itself is wrong, and ends the search.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import numpy as np

from depth_core.errors import BackendError, ConfigError, unknown_name
from depth_core.runtime.backends.base import (
    Backend,
    BackendRequest,
    Closes,
    LimitsBatch,
    MeasuresCopies,
    Precision,
    ResizesImages,
    RunsNamed,
    check_allowed_precision,
    computed_precision,
    nvidia_driver_loads,
)
from depth_core.runtime.backends.fastest import fastest_first
from depth_core.runtime.engine.options import BuildCancelledError, EngineRefusedError
from depth_core.runtime.graph import input_shape

__all__ = [
    'AUTO',
    'BACKENDS',
    'Backend',
    'BackendEntry',
    'BackendRequest',
    'Closes',
    'LimitsBatch',
    'MeasuresCopies',
    'OpenedBackend',
    'Precision',
    'ResizesImages',
    'RunsNamed',
    'computed_precision',
    'default_chain',
    'describe_backends',
    'open_backend',
    'open_named',
    'open_warm',
]

_logger = logging.getLogger(__name__)

AUTO: Final = 'auto'
"""In place of a name: the chain of `default_chain`."""

_PLANS: Final = ('.plan', '.engine', '.trt')
"""Endings that people give engines."""


@dataclass(frozen=True, kw_only=True)
class BackendEntry:
    """One row of the table of backends."""

    implementation: str
    """`module:Class` in this folder; the class takes a `BackendRequest` and is a `Backend`. It is
    imported when the backend is opened, and only then loads its runtime."""
    summary: str
    """What it is, in a few words for help texts."""
    suffixes: tuple[str, ...]
    """Endings of the files it runs."""
    precisions: tuple[Precision, ...]
    """What it can compute in, some only on processors made for it."""
    builds_engine: bool = False
    """Whether it first builds an engine, which takes minutes, unless one is in the cache."""
    any_size: bool = False
    """Whether it takes images of every size that the network takes, not only that of the graph."""
    automatic: bool = False
    """Whether it is tried when no backend is named."""
    needs_driver: bool = False
    """Whether it is tried then only where the driver of NVIDIA GPUs is installed."""
    distributions: tuple[str, ...] = ()
    """Names that its runtime is distributed under, where it is measured against others when no
    backend is named: the fastest of those comes first."""
    proves: Literal['', 'first', 'last'] = ''
    """Whether its answers in fp32 are what engines are compared with: at once, or only where no
    answers of another one are stored with the graph."""
    install: str
    """What brings the runtime."""


BACKENDS: Final[Mapping[str, BackendEntry]] = {
    'tensorrt': BackendEntry(
        implementation='tensorrt:TensorRtBackend',
        summary='TensorRT on an NVIDIA GPU',
        suffixes=('.onnx',),
        precisions=('fp32', 'fp16', 'int8'),
        builds_engine=True,
        automatic=True,
        install="pip install 'depth_ros[tensorrt]'; on a Jetson it comes with JetPack",
    ),
    'tensorrt-rtx': BackendEntry(
        implementation='tensorrt:TensorRtRtxBackend',
        summary='TensorRT for RTX on an NVIDIA desktop GPU',
        suffixes=('.onnx',),
        precisions=('fp32', 'fp16', 'int8'),
        builds_engine=True,
        automatic=True,
        install="pip install 'depth_ros[rtx]'",
    ),
    'onnxruntime-tensorrt': BackendEntry(
        implementation='onnxruntime:OnnxRuntimeTensorRtBackend',
        summary='ONNX Runtime on an NVIDIA GPU, through TensorRT',
        suffixes=('.onnx',),
        precisions=('fp32', 'fp16', 'int8'),
        install='pip install onnxruntime-gpu in place of onnxruntime, and TensorRT',
    ),
    'onnxruntime-cuda': BackendEntry(
        implementation='onnxruntime:OnnxRuntimeCudaBackend',
        summary='ONNX Runtime on an NVIDIA GPU',
        suffixes=('.onnx',),
        precisions=('fp32',),
        automatic=True,
        needs_driver=True,
        install='pip install onnxruntime-gpu in place of onnxruntime',
    ),
    'openvino': BackendEntry(
        implementation='openvino:OpenVinoBackend',
        summary='OpenVINO on the processor, or on its GPU or NPU by name',
        suffixes=('.onnx',),
        precisions=('fp32', 'bf16', 'fp16', 'int8'),
        automatic=True,
        distributions=('openvino',),
        proves='last',
        install="pip install 'depth_ros[openvino]'",
    ),
    'onnxruntime': BackendEntry(
        implementation='onnxruntime:OnnxRuntimeBackend',
        summary='ONNX Runtime on the processor',
        suffixes=('.onnx',),
        precisions=('fp32', 'int8'),
        automatic=True,
        distributions=('onnxruntime', 'onnxruntime-gpu'),
        proves='first',
        install="pip install 'depth_ros[onnx]'",
    ),
    'torch-cuda': BackendEntry(
        implementation='torch:TorchCudaBackend',
        summary='PyTorch on an NVIDIA GPU',
        suffixes=('.ckpt',),
        precisions=('fp32',),
        any_size=True,
        automatic=True,
        needs_driver=True,
        install="pip install 'depth_ros[train]' with a CUDA build of torch",
    ),
    'torch': BackendEntry(
        implementation='torch:TorchBackend',
        summary='PyTorch on the processor',
        suffixes=('.ckpt',),
        precisions=('fp32',),
        any_size=True,
        automatic=True,
        install="pip install 'depth_ros[train]'",
    ),
    'torch-compiled': BackendEntry(
        implementation='torch:TorchCompiledBackend',
        summary='PyTorch compiled for the processor',
        suffixes=('.ckpt',),
        precisions=('fp32',),
        any_size=True,
        install="pip install 'depth_ros[train]', with a C++ compiler",
    ),
}
"""Every backend by the name it is asked for, in the order in which they are tried."""


def describe_backends() -> str:
    """Name each backend with what it is and the files it runs, for help texts."""
    return ', '.join(
        f'{name} ({entry.summary}, {" ".join(entry.suffixes)})' for name, entry in BACKENDS.items()
    )


def default_chain(path: Path) -> tuple[str, ...]:
    """Name the backends tried for the file at `path` when none is asked for.

    Raises:
        ConfigError: No backend runs files of this kind.
    """
    suited = _backends_for(path.suffix)
    if path.suffix in _PLANS:
        message = (
            f'{path} is an engine by its ending, and is not loaded: an engine is a program, for '
            'one GPU and one version of TensorRT. Give the ONNX file that it was made from; its '
            'engine is built here, and kept.'
        )
        raise ConfigError(message)
    if not suited:
        known = sorted({suffix for entry in BACKENDS.values() for suffix in entry.suffixes})
        ending = f'ends in {path.suffix!r}' if path.suffix else 'has no ending'
        message = f'model {path} {ending}; models that can be run end in {" or ".join(known)}.'
        raise ConfigError(message)
    return tuple(name for name in suited if BACKENDS[name].automatic)


def _backends_for(suffix: str) -> tuple[str, ...]:
    return tuple(name for name, entry in BACKENDS.items() if suffix in entry.suffixes)


class OpenedBackend(NamedTuple):
    """The backend in use, and why it is not another."""

    name: str
    backend: Backend
    passed_over: tuple[tuple[str, str], ...]
    """Name and reason of each backend that was tried before."""
    request: BackendRequest
    """With what it was opened, so that it can be at another size."""


def open_backend(
    request: BackendRequest, chain: Sequence[str] | None = None, *, strict: bool = False
) -> OpenedBackend:
    """Open the first backend of `chain` that can run the model, and run it once.

    Args:
        request: The model and how to run it.
        chain: Names from `BACKENDS`, the preferred one first; None or `AUTO` alone takes
            `default_chain`.
        strict: Use the first of the chain or none.

    Raises:
        BackendError: A name is unknown, or no backend of the chain can run the model.
        BuildCancelledError: The caller gave up the build of an engine; none is tried after that.
        ConfigError: The chain is empty, strict without a name, or the precision or the number of
            threads is no such.
        ModelError: The model is missing, corrupt or contradicts its manifest.
        CheckpointError: The same, for a checkpoint.
    """
    suited = default_chain(request.path)
    automatic = chain is None or tuple(chain) == (AUTO,)
    names = suited if chain is None or automatic else tuple(chain)
    _check(request, names)
    if strict and automatic and len(names) > 1:
        message = (
            f'strict allows one backend, and {AUTO} names several; name the one to use '
            f'({", ".join(names)}), or leave strict out.'
        )
        raise ConfigError(message)
    tried = names[:1] if strict else names
    reasons: list[tuple[str, str]] = []
    for name, wanted in _in_turn(tried, request) if automatic else _as_named(tried, request):
        try:
            backend = open_warm(name, wanted)
            computed = computed_precision(request.precision, backend.manifest)
            check_allowed_precision(computed, backend.manifest)
        except BuildCancelledError:
            raise
        except BackendError as error:
            reasons.append((name, str(error)))
            if len(reasons) < len(tried):
                usual = automatic and not isinstance(error, EngineRefusedError)
                log = _logger.info if usual else _logger.warning
                log('backend %s is passed over for %s: %s', name, request.path, error)
            continue
        _logger.info('%s runs on backend %s, %s', request.path, name, computed)
        return OpenedBackend(name, backend, tuple(reasons), wanted)
    listed = [f'{name}: {problem}' for name, problem in reasons]
    if len(listed) == 1:
        only = ' and strict forbids another' if strict and len(names) > 1 else ''
        message = f'{request.path} cannot run on the backend asked for{only}: {listed[0]}'
        raise BackendError(message)
    message = f'no backend of the chain can run {request.path}:\n  ' + '\n  '.join(listed)
    raise BackendError(message)


def _as_named(
    names: Sequence[str], request: BackendRequest
) -> Iterator[tuple[str, BackendRequest]]:
    return ((name, request) for name in names)


def _in_turn(
    names: Sequence[str], request: BackendRequest
) -> Iterator[tuple[str, BackendRequest]]:
    """The backends that make sense here, those that are measured with the fastest first."""
    rivals = {name: BACKENDS[name].distributions for name in names if BACKENDS[name].distributions}
    measured = False
    for name in names:
        if name not in rivals:
            if not BACKENDS[name].needs_driver or nvidia_driver_loads():
                yield name, request
        elif not measured:
            measured = True
            yield from fastest_first(rivals, request, open_named)


def _check(request: BackendRequest, names: Sequence[str]) -> None:
    if not names:
        message = f'the chain of backends is empty; name one of {", ".join(sorted(BACKENDS))}.'
        raise ConfigError(message)
    for name in names:
        if name not in BACKENDS:
            raise BackendError(unknown_name('backend', name, BACKENDS))
    if request.precision not in get_args(Precision):
        known: tuple[str, ...] = get_args(Precision)
        raise ConfigError(unknown_name('precision', request.precision, known))
    if request.threads is not None and request.threads < 1:
        message = f'threads is {request.threads}; give at least 1, or None for all cores.'
        raise ConfigError(message)


def open_warm(name: str, request: BackendRequest) -> Backend:
    """Open the backend called `name` and run it once, as `open_named`.

    The first run allocates and tunes, and shows whether the outputs are planes.
    """
    backend = open_named(name, request)
    backend.run(np.zeros(input_shape(backend.manifest), backend.manifest.input.dtype))
    return backend


def open_named(name: str, request: BackendRequest) -> Backend:
    """Open the backend called `name`, without a word in the log.

    Raises:
        BackendError: It cannot run the model as asked.
        ModelError: The model is missing, corrupt or contradicts its manifest.
        CheckpointError: The same, for a checkpoint.
    """
    entry = BACKENDS[name]
    suffix = request.path.suffix
    if suffix not in entry.suffixes:
        others = ', '.join(_backends_for(suffix))
        message = (
            f'it runs {" ".join(entry.suffixes)} files, not {suffix}; name one that does '
            f'({others}), or export a checkpoint to ONNX with python -m depth_core.export.'
        )
        raise BackendError(message)
    if request.precision not in entry.precisions:
        message = (
            f'it computes in {" or ".join(entry.precisions)}, not {request.precision}; '
            'ask for another precision or backend.'
        )
        raise BackendError(message)
    module, _, kind = entry.implementation.partition(':')
    try:
        implementation = getattr(importlib.import_module(f'{__name__}.{module}'), kind)
        backend: Backend = implementation(request)
    except ImportError as error:
        message = f'its runtime is not installed or does not load ({error}): {entry.install}.'
        raise BackendError(message) from error
    return backend
