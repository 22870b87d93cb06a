# SPDX-License-Identifier: Apache-2.0
"""Arrays of HDF5 files, of which the size is looked at before anything is read."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_core.errors import ConfigError, DataError
from depth_core.images import MAX_PIXELS


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
            stored = _stored_here(file, name)
            shape = stored.shape if place is None else stored.shape[1:]
            kind = stored.dtype.kind
            fits = int(np.prod(shape, dtype=object)) <= 3 * MAX_PIXELS
            if kind in 'fiu' and fits:
                return np.asarray(stored[()] if place is None else stored[place])
        except (OSError, KeyError, ValueError, AttributeError, IndexError, TypeError) as error:
            message = f'{path} has no array {name!r} that can be read ({error}); unpack it again.'
            raise DataError(message) from error
    message = (
        f'array {name!r} of {path} is {stored_name(kind)} of {list(shape)}; it must hold numbers, '
        f'of at most {MAX_PIXELS} pixels.'
    )
    raise DataError(message)


def _stored_here(file: Any, name: str) -> Any:  # noqa: ANN401  h5py is optional
    """Find an array that is stored in this file, in parts that fit into memory.

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
