# SPDX-License-Identifier: Apache-2.0
"""What a pickle would become, found by looking and never by loading.

A pickle of a kilobyte may hold a list of two references to a list of two references, fifty times
over: whoever then walks or hashes it never comes to an end. Or it may ask for a buffer by its
size alone. The weights of a network are a shallow tree.
"""

from __future__ import annotations

import contextlib
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final, TypeAlias

_Node: TypeAlias = list['_Node']
"""A value by what is in it; a plain one has nothing."""

MOST_VALUES: Final = 5_000_000
"""In a pickle, shared ones counted as often as they are met; long trainings hold 100,000."""
DEEPEST: Final = 100
"""Levels of containers; checkpoints have ten."""
_ALLOCATING: Final = frozenset({'builtins bytearray', '__builtin__ bytearray'})
"""What torch's restricted reader calls with a size alone; no weights are made of it."""
_PICKLES_IN_A_FILE: Final = 5
"""The old format of torch is five pickles and the values after them."""
_NO_PICKLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_ADDING: Final = frozenset({'APPENDS', 'SETITEMS', 'ADDITEMS'})
_GATHERING: Final = frozenset({'TUPLE', 'LIST', 'DICT', 'FROZENSET', 'OBJ', 'INST'})
_TAKING: Final[Mapping[str, int]] = {'APPEND': 1, 'SETITEM': 2, 'BUILD': 1}
"""How many values an instruction puts into the one below them."""
_WRAPPING: Final[Mapping[str, int]] = {
    'TUPLE1': 1,
    'TUPLE2': 2,
    'TUPLE3': 3,
    'BINPERSID': 1,
    'REDUCE': 2,
    'NEWOBJ': 2,
    'NEWOBJ_EX': 3,
}
"""How many values an instruction makes one of."""


class ExpandingError(Exception):
    """A pickle is refused before it is loaded: it calls what no weights need, or is too large."""


def refuse_expanding(path: Path) -> None:
    """Refuse a file whose pickles must not be loaded.

    Args:
        path: A file of torch, zip or old, or any pickle. What cannot be read as one is left to
            the reader, which says it better.

    Raises:
        ExpandingError: As said; the text says why, without the name of the file.
    """
    for file in _pickles_in(path):
        with contextlib.suppress(*_NO_PICKLE):
            for _ in range(_PICKLES_IN_A_FILE):
                if problem := _problem(_Machine(file).run()):
                    raise ExpandingError(problem)


def _pickles_in(path: Path) -> Iterator[IO[bytes]]:
    if not zipfile.is_zipfile(path):
        with path.open('rb') as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith('.pkl'):
                with archive.open(name) as file:
                    yield file


class _Machine:
    """Follows the instructions of a pickle; builds the shape of its value and nothing else."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stack: list[_Node] = []
        self._below: list[list[_Node]] = []
        self._stored: dict[int, _Node] = {}

    def run(self) -> _Node:
        """The value of one pickle."""
        for opcode, argument, _ in pickletools.genops(self._file):
            name = opcode.name
            if name == 'STOP':
                break
            if name == 'GLOBAL' and argument in _ALLOCATING:
                message = f'it calls {str(argument).replace(" ", ".")}, which no weights need'
                raise ExpandingError(message)
            if name in _ADDING:
                inside = self._since_mark()
                self._stack[-1].extend(inside)
            elif name in _GATHERING:
                self._stack.append(self._since_mark())
            elif name in _TAKING:
                inside = self._popped(_TAKING[name])
                self._stack[-1].extend(inside)
            elif name in _WRAPPING:
                self._stack.append(self._popped(_WRAPPING[name]))
            elif not self._keeps(name, argument):
                self._stack.append([])
        return self._stack[-1]

    def _keeps(self, name: str, argument: object) -> bool:
        """Follow an instruction that makes no value; False where it is none of these."""
        if name in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            place = len(self._stored) if name == 'MEMOIZE' else int(str(argument))
            self._stored[place] = self._stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            self._stack.append(self._stored[int(str(argument))])
        elif name in _OTHERS:
            _OTHERS[name](self)
        else:
            return name in ('PROTO', 'FRAME')
        return True

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[_Node]:
        inside, self._stack = self._stack, self._below.pop()
        return inside

    def _popped(self, count: int) -> list[_Node]:
        inside = self._stack[-count:]
        if len(inside) < count:
            message = 'it takes more values than there are'
            raise ValueError(message)
        del self._stack[-count:]
        return inside

    def _drop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._stack = self._below.pop()

    def _double(self) -> None:
        self._stack.append(self._stack[-1])

    def _global(self) -> None:
        self._popped(2)
        self._stack.append([])


_OTHERS: Final[Mapping[str, Callable[[_Machine], object]]] = {
    'MARK': _Machine._mark,  # noqa: SLF001  the table belongs to the class
    'POP': _Machine._drop,  # noqa: SLF001
    'POP_MARK': _Machine._since_mark,  # noqa: SLF001
    'DUP': _Machine._double,  # noqa: SLF001
    'STACK_GLOBAL': _Machine._global,  # noqa: SLF001
}


def _problem(root: _Node) -> str:
    """Measure a value without a stack of calls: its depth, and how many values it stands for."""
    sizes: dict[int, int] = {}
    path = [(root, iter(root))]
    above = {id(root)}
    totals = [1]
    while path:
        node, rest = path[-1]
        inside = next(rest, None)
        if inside is None:
            path.pop()
            above.discard(id(node))
            sizes[id(node)] = total = totals.pop()
            if total > MOST_VALUES:
                return f'its references stand for more than {MOST_VALUES} values'
            if totals:
                totals[-1] += total
        elif id(inside) in above:
            return 'a container of it contains itself'
        elif not inside:
            totals[-1] += 1
        elif id(inside) in sizes:
            totals[-1] += sizes[id(inside)]
        elif len(path) >= DEEPEST:
            return f'it nests more than {DEEPEST} levels'
        else:
            path.append((inside, iter(inside)))
            above.add(id(inside))
            totals.append(1)
    return ''
