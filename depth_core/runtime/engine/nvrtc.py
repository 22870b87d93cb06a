# SPDX-License-Identifier: Apache-2.0
"""Compiling CUDA C++ to machine code of one GPU, with NVRTC, NVIDIA's compiler as a library.

It needs no GPU. It comes with the CUDA toolkit, with JetPack, and from PyPI as
`nvidia-cuda-nvrtc`; its C interface has not changed since it began, so it is called directly.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from depth_core.errors import BackendError

_NAMES: Final = ('libnvrtc.so', 'libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so.11.2')
"""Of the library, as the loader of the system finds it."""


@functools.lru_cache(maxsize=8)
def compile_cubin(source: str, compute_capability: tuple[int, int]) -> bytes:
    """Compile `source` for GPUs of one compute capability.

    Multiplication and addition are kept apart, as the processor rounds them. Takes some tenths of
    a second, once in a process.

    Raises:
        BackendError: NVRTC is not there, does not know the GPU, or refuses the source; the
            message holds what it says.
    """
    refusals = []
    for library in _libraries():  # one may be too old for the GPU, or lack a file beside it
        try:
            return _compile(library, source, compute_capability)
        except BackendError as error:  # noqa: PERF203  a handful of them
            refusals.append(error)
    raise refusals[0]


def _compile(library: ctypes.CDLL, source: str, compute_capability: tuple[int, int]) -> bytes:
    major, minor = compute_capability
    options = [f'--gpu-architecture=sm_{major}{minor}', '--fmad=false']
    with _program(library, source) as program:
        list_of_options = (ctypes.c_char_p * len(options))(*(item.encode() for item in options))
        status = library.nvrtcCompileProgram(program, len(options), list_of_options)
        if status:
            log = _read(library, program, 'ProgramLog').rstrip(b'\0').decode(errors='replace')
            reason = ' '.join(log.split()) or _words(library, status)
            message = f'NVRTC cannot compile for sm_{major}{minor}: {reason[:_LONGEST_REASON]}'
            raise BackendError(message)
        return _read(library, program, 'CUBIN')


@contextmanager
def _program(library: ctypes.CDLL, source: str) -> Iterator[ctypes.c_void_p]:
    program = ctypes.c_void_p()
    text, name = source.encode(), b'depth_core.cu'
    _check(
        library,
        library.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None),
        'take the source',
    )
    try:
        yield program
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _read(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    """Read the log or the machine code: its size first, then the bytes."""
    size = ctypes.c_size_t()
    ask = getattr(library, f'nvrtcGet{what}Size')
    _check(library, ask(program, ctypes.byref(size)), f'tell the size of {what}')
    content = ctypes.create_string_buffer(size.value)
    get = getattr(library, f'nvrtcGet{what}')
    _check(library, get(program, content), f'give {what}')
    return content.raw


def _libraries() -> Iterator[ctypes.CDLL]:
    """Every NVRTC that is here, the system's first.

    Raises:
        BackendError: There is none.
    """
    reasons: list[str] = []
    found = False
    for find in (*(lambda name=name: name for name in _NAMES), _installed_with_python):
        try:
            library = ctypes.CDLL(find())
            library.nvrtcGetErrorString.restype = ctypes.c_char_p
        except (OSError, ImportError, RuntimeError, AttributeError) as error:
            reasons.append((str(error).splitlines() or [type(error).__name__])[0])
            continue
        found = True
        yield library
    if not found:
        message = f'NVRTC is not installed: {reasons[0]}; pip install nvidia-cuda-nvrtc brings it.'
        raise BackendError(message)


def _installed_with_python() -> str:
    """Where the library of the wheel from PyPI is."""
    from cuda import pathfinder  # noqa: PLC0415  optional: it comes with cuda-python

    find: Callable[[str], Any] = pathfinder.load_nvidia_dynamic_lib
    return str(find('nvrtc').abs_path)


def _check(library: ctypes.CDLL, status: int, what: str) -> None:
    if status:
        message = f'NVRTC cannot {what}: {_words(library, status)}.'
        raise BackendError(message)


def _words(library: ctypes.CDLL, status: int) -> str:
    return str(library.nvrtcGetErrorString(status).decode())


_LONGEST_REASON: Final = 400
