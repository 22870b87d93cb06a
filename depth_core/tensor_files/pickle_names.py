# SPDX-License-Identifier: Apache-2.0
"""Which functions and classes a pickled file names, found by looking and never by loading."""

from __future__ import annotations

import _compat_pickle
import contextlib
import io
import pickletools
import re
import zipfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import IO, Final

_OF_TORCH: Final = re.compile(
    r'torch\.(\w+\.)?\w+Storage|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2'
    r'|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|torch\.(Size|Tensor)'
    r'|torch\.(device|bool|[bu]?int\d+|[bc]?float\d\w*|complex\d+)'
    r'|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(bytearray|set|complex)'
)
"""What torch's restricted reader takes by itself, by the documentation of its versions."""

_PICKLES_IN_A_FILE: Final = 5
"""The old format of torch is five pickles and the values after them."""

_END_OF_THE_READABLE: Final = (
    zipfile.BadZipFile,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    zlib.error,
)
"""How the standard library says that a file is broken, or no pickle, from here on."""


def foreign_names(path: Path, *, known: Container[str]) -> list[str]:
    """List what a pickled file would call that neither torch's reader nor `known` allows.

    Args:
        path: A file of torch, zip or old, or any pickle; the readable start of it counts.
        known: Names that are allowed as well, such as `collections.deque`.

    Returns:
        Dotted names of Python 3, each once, in the order of the file; none for other files.
    """
    found: dict[str, None] = {}
    with contextlib.suppress(*_END_OF_THE_READABLE):
        for name in _names_in(path):
            if name not in known and not _OF_TORCH.fullmatch(name):
                found.setdefault(name)
    return list(found)


def _names_in(path: Path) -> Iterator[str]:
    if not zipfile.is_zipfile(path):
        with path.open('rb') as file:
            for _ in range(_PICKLES_IN_A_FILE):
                yield from _names_of_pickle(file)
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith('.pkl'):
                yield from _names_of_pickle(io.BytesIO(archive.read(member)))


def _names_of_pickle(file: IO[bytes]) -> Iterator[str]:
    """Walk the instructions of one pickle; a name may also be two strings put before."""
    strings: list[str] = []
    stored: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ('GLOBAL', 'INST'):
            yield _of_python_3(*str(argument).split(' ', 1))
        elif opcode.name == 'STACK_GLOBAL':
            yield _of_python_3(*['?', '?', *strings][-2:])
        elif opcode.name in ('GET', 'BINGET', 'LONG_BINGET'):
            strings.append(stored.get(int(str(argument)), '?'))
        elif opcode.name in ('PUT', 'BINPUT', 'LONG_BINPUT') and strings:
            stored[int(str(argument))] = strings[-1]
        elif opcode.name == 'MEMOIZE':
            stored[len(stored)] = strings[-1] if strings else '?'
        elif isinstance(argument, str):
            strings.append(argument)


def _of_python_3(module: str, name: str) -> str:
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f'{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}'
