# SPDX-License-Identifier: Apache-2.0
"""The backends by name, and the chain of them that opens a model.

A backend is chosen down a declared chain: the first that can run the model as asked is used, and
each one passed over is logged with its reason. A backend says that it cannot with a
`BackendError`; any other error means that the model itself is at fault, and ends the search.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from depth_core.errors import BackendError, ConfigError, unknown_name
from depth_core.runtime.backends.base import Backend, BackendRequest, Precision

__all__ = [
    'BACKENDS',
    'Backend',
    'BackendEntry',
    'BackendRequest',
    'Precision',
    'default_chain',
    'open_backend',
]

_logger = logging.getLogger(__name__)

Suffix: TypeAlias = Literal['.onnx', '.ckpt']


@dataclass(frozen=True, kw_only=True)
class BackendEntry:
    """One line of the table of backends."""

    open: Callable[[BackendRequest], Backend]
    """Imports the runtime and makes the model ready to run."""
    suffix: Suffix
    """The files it runs."""
    precisions: tuple[Precision, ...]
    """What it can compute in, some only on processors made for it."""
    install: str
    """What brings the runtime."""


def _onnxruntime(request: BackendRequest) -> Backend:
    from depth_core.runtime.backends.onnxruntime import (  # noqa: PLC0415  loads the runtime
        OnnxRuntimeBackend,
    )

    return OnnxRuntimeBackend(request, provider='CPUExecutionProvider')


def _onnxruntime_cuda(request: BackendRequest) -> Backend:
    from depth_core.runtime.backends.onnxruntime import (  # noqa: PLC0415  loads the runtime
        OnnxRuntimeBackend,
    )

    return OnnxRuntimeBackend(request, provider='CUDAExecutionProvider')


def _openvino(request: BackendRequest) -> Backend:
    from depth_core.runtime.backends.openvino import (  # noqa: PLC0415  loads the runtime
        OpenVinoBackend,
    )

    return OpenVinoBackend(request)


def _torch(request: BackendRequest) -> Backend:
    from depth_core.runtime.backends.torch import TorchBackend  # noqa: PLC0415  loads the runtime

    return TorchBackend(request, device='cpu')


def _torch_cuda(request: BackendRequest) -> Backend:
    from depth_core.runtime.backends.torch import TorchBackend  # noqa: PLC0415  loads the runtime

    return TorchBackend(request, device='cuda')


BACKENDS: Final[Mapping[str, BackendEntry]] = {
    'onnxruntime': BackendEntry(
        open=_onnxruntime,
        suffix='.onnx',
        precisions=('fp32',),
        install="pip install 'depth_ros[onnx]'",
    ),
    'onnxruntime-cuda': BackendEntry(
        open=_onnxruntime_cuda,
        suffix='.onnx',
        precisions=('fp32',),
        install='pip install onnxruntime-gpu in place of onnxruntime',
    ),
    'openvino': BackendEntry(
        open=_openvino,
        suffix='.onnx',
        precisions=('fp32', 'bf16', 'fp16'),
        install="pip install 'depth_ros[openvino]'",
    ),
    'torch': BackendEntry(
        open=_torch,
        suffix='.ckpt',
        precisions=('fp32',),
        install="pip install 'depth_ros[train]'",
    ),
    'torch-cuda': BackendEntry(
        open=_torch_cuda,
        suffix='.ckpt',
        precisions=('fp32',),
        install="pip install 'depth_ros[train]' with a CUDA build of torch",
    ),
}
"""Every backend, by the name it is asked for."""

_DEFAULT_CHAINS: Final[Mapping[str, tuple[str, ...]]] = {
    '.onnx': ('openvino', 'onnxruntime'),
    '.ckpt': ('torch',),
}
"""What is tried when nobody names a backend: the fastest on a CPU first."""


def default_chain(path: Path) -> tuple[str, ...]:
    """Name the backends tried for the file at `path` when none is asked for.

    Raises:
        ConfigError: No backend runs files of this kind.
    """
    if path.suffix not in _DEFAULT_CHAINS:
        message = (
            f'{path} ends in {path.suffix or "nothing"!r}; a model to run is an .onnx file or '
            'a .ckpt checkpoint of this package.'
        )
        raise ConfigError(message)
    return _DEFAULT_CHAINS[path.suffix]


def open_backend(
    request: BackendRequest, chain: Sequence[str] | None = None, *, strict: bool = False
) -> tuple[str, Backend]:
    """Open the first backend of `chain` that can run the model.

    Args:
        request: The model and how to run it.
        chain: Names from `BACKENDS`, the preferred one first; None takes `default_chain`.
        strict: Use the first of the chain or none.

    Returns:
        The name of the backend in use, and the backend.

    Raises:
        BackendError: A name is unknown, or no backend of the chain can run the model.
        ConfigError: The chain is empty, or the precision or the number of threads is no such.
        ModelError: The model is missing, corrupt or contradicts its manifest.
        CheckpointError: The same, for a checkpoint.
    """
    suited = default_chain(request.path)
    names = suited if chain is None else tuple(chain)
    _check(request, names)
    tried = names[:1] if strict else names
    reasons = []
    for name in tried:
        try:
            backend = _open(name, request)
        except BackendError as error:
            reasons.append(f'{name}: {error}')
            if len(reasons) < len(tried):
                log = _logger.info if chain is None else _logger.warning
                log('backend %s is passed over for %s: %s', name, request.path, error)
            continue
        _logger.info('%s runs on backend %s, %s', request.path, name, request.precision)
        return name, backend
    if len(reasons) == 1:
        only = ' and strict forbids another' if strict and len(names) > 1 else ''
        message = f'{request.path} cannot run on the backend asked for{only}: {reasons[0]}'
        raise BackendError(message)
    message = f'no backend of the chain can run {request.path}:\n  ' + '\n  '.join(reasons)
    raise BackendError(message)


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


def _open(name: str, request: BackendRequest) -> Backend:
    entry = BACKENDS[name]
    if request.path.suffix != entry.suffix:
        remedy = (
            'export it to ONNX with python -m depth_core.export'
            if entry.suffix == '.onnx'
            else 'name one of ' + ', '.join(default_chain(request.path))
        )
        message = f'it runs {entry.suffix} files, not {request.path.suffix}; {remedy}.'
        raise BackendError(message)
    if request.precision not in entry.precisions:
        message = (
            f'it computes in {" or ".join(entry.precisions)}, not {request.precision}; '
            'ask for another precision or backend.'
        )
        raise BackendError(message)
    try:
        return entry.open(request)
    except ImportError as error:
        message = f'its runtime is not installed or does not load ({error}): {entry.install}.'
        raise BackendError(message) from error
