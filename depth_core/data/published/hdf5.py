# SPDX-License-Identifier: Apache-2.0
"""Arrays of HDF5 files, of which the size is looked at before anything is read."""

from __future__ import annotations

import importlib
import itertools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.errors import ConfigError, DataError
from depth_core.images import MAX_PIXELS

_HARMLESS: Final = 1 << 18
"""Bytes of a packed part: gzip makes at most a thousand times as many of them."""
_DEFLATE: Final = 1
_ARRANGING: Final = (2, 3)
"""Filters of HDF5 that leave the size as it is: shuffle and the checksum."""
_CHECKSUM: Final = 4
"""Bytes that HDF5 may add to a part before it is packed."""


def read_array(path: Path, name: str, place: int | None = None) -> NDArray[np.generic]:
    """Read an array of numbers, or one of the arrays along its first axis.

    Args:
        path: The file.
        name: Of the array within it.
        place: Along the first axis; None reads all.

    Raises:
        ConfigError: The package h5py is missing.
        DataError: The file is missing or damaged, the array is not there, not of numbers, or of
            more than three times the pixels that are read.
    """
    with opened(path) as file:
        try:
            stored = _found_here(file, name)
            shape = stored.shape if place is None else stored.shape[1:]
            kind = stored.dtype.kind
            fits = int(np.prod(shape, dtype=object)) <= 3 * MAX_PIXELS
            if kind in 'fiu' and fits:
                _refuse_missing(stored)
                _refuse_bombs(stored, place)
                return np.asarray(stored[()] if place is None else stored[place])
        except (
            OSError,
            KeyError,
            ValueError,
            AttributeError,
            IndexError,
            TypeError,
            zlib.error,
        ) as error:
            message = f'{path} has no array {name!r} that can be read ({error}); unpack it again.'
            raise DataError(message) from error
    message = (
        f'array {name!r} of {path} is {stored_name(kind)} of {list(shape)}; it must hold numbers, '
        f'of at most {MAX_PIXELS} pixels.'
    )
    raise DataError(message)


def stored_shape(file: Any, name: str) -> tuple[int, ...]:  # noqa: ANN401  h5py is optional
    """The shape of an array whose values are all stored in this file; none where it is missing.

    Raises:
        ValueError: It lies in other files, or declares values that are not stored.
    """
    if name not in file:
        return ()
    stored = _found_here(file, name)
    _refuse_missing(stored)
    return tuple(stored.shape)


def _found_here(file: Any, name: str) -> Any:  # noqa: ANN401  h5py is optional
    """Find an array of this file, in parts that fit into memory.

    Raises:
        ValueError: It is a link, lies in other files, or its parts are larger than an image.
    """
    if type(file.get(name, getlink=True)).__name__ != 'HardLink':
        message = 'it is a link to another object or file'
        raise ValueError(message)
    stored = file[name]
    if getattr(stored, 'external', None) or getattr(stored, 'is_virtual', False):
        message = 'its values lie in other files'
        raise ValueError(message)
    part = getattr(stored, 'chunks', None) or ()
    if int(np.prod(part, dtype=object)) > 3 * MAX_PIXELS:
        message = f'it is compressed in parts of {list(part)}'
        raise ValueError(message)
    return stored


def _refuse_missing(stored: Any) -> None:  # noqa: ANN401  h5py is optional
    """Refuse an array that declares values which are not stored; HDF5 would make them up.

    Raises:
        ValueError: There are such.
    """
    if stored.chunks:
        needed = math.prod(map(len, _starts(stored.shape, stored.chunks)))
        found = stored.id.get_num_chunks()
    else:
        needed, found = stored.nbytes, stored.id.get_storage_size()
    if needed > found:
        message = f'it declares {list(stored.shape)} values, more than the file holds'
        raise ValueError(message)


def _starts(shape: Sequence[int], part: Sequence[int]) -> list[range]:
    """Where parts begin along each axis."""
    return [range(0, size, step) for size, step in zip(shape, part, strict=True)]


def _refuse_bombs(stored: Any, place: int | None) -> None:  # noqa: ANN401  h5py is optional
    """Refuse parts that unpack to more than they declare; HDF5 itself would unpack them whole.

    Raises:
        ValueError: There are such.
    """
    plan = stored.id.get_create_plist()
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    packing = [code for code in filters if code not in _ARRANGING]
    if not packing:
        return
    if packing != [_DEFLATE]:
        message = f'it is packed by filters {packing}; gzip ({_DEFLATE}) alone is read'
        raise ValueError(message)
    starts = _starts(stored.shape, stored.chunks)
    if place is not None:
        first = place - place % stored.chunks[0]
        starts[0] = range(first, first + 1)
    most = math.prod(stored.chunks) * stored.dtype.itemsize + _CHECKSUM
    for start in itertools.product(*starts):
        if stored.id.get_chunk_info_by_coord(start).size <= _HARMLESS:
            continue
        skipped, packed = stored.id.read_direct_chunk(start)
        if not skipped:
            unpacking = zlib.decompressobj()
            unpacking.decompress(packed, most)
            if not unpacking.eof:
                message = f'a part of it unpacks to more than the {most} bytes that it declares'
                raise ValueError(message)


def stored_name(kind: str) -> str:
    """What an array holds, by the letter of its type."""
    return {'f': 'floats', 'i': 'integers', 'u': 'integers'}.get(kind, f'type {kind!r}')


def opened(path: Path) -> Any:  # noqa: ANN401  h5py is optional
    """Open an HDF5 file.

    Raises:
        ConfigError: The package h5py is missing.
        DataError: The file is missing or is none.
    """
    try:
        h5py = importlib.import_module('h5py')
    except ModuleNotFoundError as error:
        message = f'{path} is an HDF5 file, which needs the Python package h5py; install it.'
        raise ConfigError(message) from error
    try:
        return h5py.File(path, 'r')
    except OSError as error:
        message = f'{path} cannot be read as HDF5 ({error}); unpack or download it again.'
        raise DataError(message) from error
