# SPDX-License-Identifier: Apache-2.0
"""Values of the TensorRT bindings, with the manners of pybind11."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload


class PybindEnum:
    """A member: `int` reads it, nothing converts it without being asked."""

    __members__: Mapping[str, PybindEnum]

    def __init__(self, name: str, value: int) -> None:
        self.name = name
        self._value = value

    def __int__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._value == int(other)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f'<{type(self).__name__}.{self.name}: {self._value}>'


def make_enum(name: str, members: Mapping[str, int]) -> type[PybindEnum]:
    kind: type[PybindEnum] = type(name, (PybindEnum,), {})
    made = {key: kind(key, value) for key, value in members.items()}
    for key, member in made.items():
        setattr(kind, key, member)
    kind.__members__ = made
    return kind


class Dims:
    """Sizes; comparing two raises TypeError, as the bindings do."""

    def __init__(self, sizes: Iterable[int] = ()) -> None:
        self._sizes = tuple(int(size) for size in sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sizes)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Dims: ...
    def __getitem__(self, index: int | slice) -> int | Dims:
        return Dims(self._sizes[index]) if isinstance(index, slice) else self._sizes[index]

    def __eq__(self, other: object) -> bool:
        message = '__eq__(): incompatible function arguments.'
        raise TypeError(message)

    __hash__ = None  # type: ignore[assignment]  # as there

    def __repr__(self) -> str:
        return str(self._sizes)


def plain_ints(sizes: Any) -> tuple[int, ...]:
    """Sizes as the bindings take them: Dims or a sequence of Python's own ints."""
    if not isinstance(sizes, (Dims, list, tuple)) or not all(type(size) is int for size in sizes):
        message = f'incompatible function arguments: {sizes!r}'
        raise TypeError(message)
    return tuple(sizes)


class HostMemory(bytes):
    """What a plan is returned in."""

    __slots__ = ()

    @property
    def nbytes(self) -> int:
        return len(self)


class ILogger:
    """To be derived from; a subclass that does not call this constructor is refused."""

    Severity = make_enum(
        'Severity', {'INTERNAL_ERROR': 0, 'ERROR': 1, 'WARNING': 2, 'INFO': 3, 'VERBOSE': 4}
    )
    INTERNAL_ERROR = Severity.__members__['INTERNAL_ERROR']
    ERROR = Severity.__members__['ERROR']
    WARNING = Severity.__members__['WARNING']
    INFO = Severity.__members__['INFO']
    VERBOSE = Severity.__members__['VERBOSE']

    def __init__(self) -> None:
        self.constructed = True

    def log(self, severity: PybindEnum, msg: str) -> None:
        raise NotImplementedError


class Logger(ILogger):
    def __init__(self, min_severity: PybindEnum = ILogger.WARNING) -> None:
        self.constructed = True
        self.min_severity = min_severity

    def log(self, severity: PybindEnum, msg: str) -> None:
        if int(severity) <= int(self.min_severity):
            sys.stderr.write(f'[TRT] [{severity.name[0]}] {msg}\n')


MISLEADING = 'Error Code 1: Cuda Runtime (In operator() at common.h: 35: cudaError 35)'
"""What TensorRT says last, whatever went wrong."""


def complain(logger: ILogger, *lines: str) -> None:
    """Tell the logger of an error, and then of another that is beside the point."""
    for line in (*lines, MISLEADING):
        with contextlib.suppress(Exception):  # pybind11 cannot throw through C++
            logger.log(ILogger.ERROR, line)


def check_logger(logger: object) -> ILogger:
    if not isinstance(logger, ILogger) or not hasattr(logger, 'constructed'):
        message = 'ILogger.__init__() must be called when overriding __init__'
        raise TypeError(message)
    return logger
