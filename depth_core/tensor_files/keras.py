# SPDX-License-Identifier: Apache-2.0
"""Reading Keras weights from HDF5, which may name other files: those are never opened.

An HDF5 file can link to objects of other files (external links), keep the values of a data set in
them (external storage) or put one together from them (virtual data sets). No weight file of Keras
does; such an object is refused by its name, and so is one that declares more values than are
stored, since reading it would take memory that the file does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h5py
import numpy as np
import torch
from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.tensor_files.reading import first_bytes, incomplete

_SIGNATURE: Final = b'\x89HDF\r\n\x1a\n'
_COMPRESSING: Final = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF})
_FILTERS: Final = _COMPRESSING | {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
"""What Keras and h5py compress with; others may be libraries that HDF5 would load."""
_LARGEST_RATIO: Final = 10
"""Of all arrays and the size of their file; Keras does not compress, and weights hardly shrink."""


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    return first_bytes(path, len(_SIGNATURE)) == _SIGNATURE


def read_keras(path: Path) -> dict[str, Tensor]:
    """Read the weights of a Keras model file by `layer/parameter`; needs no Keras.

    The file lists its layers in an attribute of `model_weights` (of the root, when only weights
    were saved), and each layer its arrays; `/` in a layer's name becomes `_`.

    Raises:
        CheckpointError: It is truncated or no file of Keras weights, or an object of it is stored
            in another file or declares more values than the file holds.
    """
    try:
        with h5py.File(path, 'r') as file:
            reader = _Reader(path)
            root = reader.group(file, 'model_weights') if 'model_weights' in file else file
            return {
                f'{layer.replace("/", "_")}/{name.rsplit("/", 1)[-1].split(":")[0]}': array
                for layer in _names(root, 'layer_names')
                for group in [reader.group(root, layer)]
                for name in _names(group, 'weight_names')
                for array in [reader.array(group, name)]
            }
    except CheckpointError:
        raise
    except Exception as error:  # a broken file ends anywhere in h5py
        raise incomplete(path, 'weight file', 'Keras weights', error) from error


class _Reader:
    """Opens objects of one file that are stored in it, and counts what they take."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stored_bytes = path.stat().st_size
        self._left_bytes = _LARGEST_RATIO * self._stored_bytes

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        """Open the group `name` inside `parent`."""
        found = self._object(parent, name)
        if not isinstance(found, h5py.Group):
            raise self._refused(found.name, 'is no group of layers')
        return found

    def array(self, parent: h5py.Group, name: str) -> Tensor:
        """Read the data set `name` inside `parent`."""
        found = self._object(parent, name)
        if not isinstance(found, h5py.Dataset):
            raise self._refused(found.name, 'is no array')
        self._check_storage(found)
        native = found.dtype.newbyteorder('=')
        return torch.from_numpy(np.ascontiguousarray(found[()], dtype=native).reshape(found.shape))

    def _object(self, parent: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        """Follow `name` part by part, over objects of this file alone."""
        found = parent
        for part in filter(None, name.split('/')):
            place = f'{found.name.rstrip("/")}/{part}'
            link = found.get(part, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise self._refused(place, f'is a link to another file ({link.filename})')
            if isinstance(link, h5py.SoftLink):
                raise self._refused(place, f'is a link to another object ({link.path})')
            found = found[part]
        return found

    def _check_storage(self, found: h5py.Dataset) -> None:
        """Refuse values that are stored elsewhere, or declared and not stored."""
        if found.external:
            raise self._refused(found.name, f'is stored in another file ({found.external[0][0]})')
        if found.is_virtual:
            raise self._refused(found.name, 'is put together from other data sets (virtual)')
        if found.dtype.kind not in 'fiu':
            raise self._refused(found.name, f'has values of type {found.dtype}, no numbers')
        plan = found.id.get_create_plist()
        filters = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())}
        if not filters <= _FILTERS:
            unknown = ', '.join(str(code) for code in sorted(filters - _FILTERS))
            raise self._refused(found.name, f'is compressed by filter {unknown}, unknown here')
        stored = found.id.get_storage_size()
        self._stored_bytes -= stored
        self._left_bytes -= found.nbytes
        part = int(np.prod(found.chunks or (), dtype=object)) * found.dtype.itemsize
        self._left_bytes -= max(part - found.nbytes, 0)
        not_stored = found.nbytes > stored and not filters & _COMPRESSING
        if not_stored or min(self._stored_bytes, self._left_bytes) < 0:
            rule = f'declares {found.nbytes} bytes ({found.shape}), more than the file holds'
            raise self._refused(found.name, rule)

    def _refused(self, name: str, rule: str) -> CheckpointError:
        return CheckpointError(
            f'weight file {self._path} is refused: {name} {rule}. Save the weights with Keras '
            'again, in one file.'
        )


def _names(group: h5py.Group, attribute: str) -> Iterator[str]:
    """Names that Keras stores as one attribute, or numbered ones where HDF5 limits its size."""
    if attribute in group.attrs:
        chunks = [group.attrs[attribute]]
    else:
        count = sum(name.startswith(attribute) for name in group.attrs)
        chunks = [group.attrs[f'{attribute}{index}'] for index in range(max(count, 1))]
    for part in chunks:
        for name in part:
            yield name.decode() if isinstance(name, bytes) else str(name)
