# SPDX-License-Identifier: Apache-2.0
"""Whether a Matroska or WebM file was cut short, as its structure says.

Such files state no number of frames, and those of browsers and screen recorders no rate that their
frames keep to: only the end of the last element shows whether something is missing. An element is
an identifier, a size and that many bytes (RFC 8794); of live recordings the outer sizes are
unknown, and the elements inside follow one another to the end of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

_MAGIC: Final = b'\x1a\x45\xdf\xa3'
_LONGEST_IDENTIFIER: Final = 4
_LONGEST_SIZE: Final = 8
_UNKNOWN: Final = -1


def is_matroska(path: Path) -> bool:
    """Whether the file at `path` begins as Matroska and WebM files do."""
    with path.open('rb') as file:
        return file.read(len(_MAGIC)) == _MAGIC


def is_cut_short(path: Path) -> bool:
    """Whether the last element of the Matroska file at `path` ends after the file does."""
    size = path.stat().st_size
    with path.open('rb') as file:
        while file.tell() < size:
            try:
                _number(file, _LONGEST_IDENTIFIER)
                content = _number(file, _LONGEST_SIZE)
            except EOFError:
                return True
            except ValueError:
                return False  # something else follows the last element
            if content == _UNKNOWN:
                continue  # the elements inside come next
            if file.tell() + content > size:
                return True
            file.seek(file.tell() + content)
    return False


def _number(file: BinaryIO, longest: int) -> int:
    """Read a number whose first byte says its length.

    Raises:
        EOFError: The file ends inside it.
        ValueError: It would be longer than it may be.
    """
    first = file.read(1)
    length = 9 - int.from_bytes(first, 'big').bit_length()
    if first and length > longest:
        raise ValueError
    content = first + file.read(length - 1)
    if len(content) < length:
        raise EOFError
    largest = (1 << (7 * length)) - 1
    value = int.from_bytes(content, 'big') & largest
    return _UNKNOWN if value == largest else value
