# SPDX-License-Identifier: Apache-2.0
"""The files of a cache: one NPY array for each field of all samples, read through memory maps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.data.sample import Sample
from depth_core.errors import DataError

KEY_BYTES: Final = 255
"""Longest key of a sample: file systems have no longer names."""

FIELD_TYPES: Final = {
    'image': 'uint8',
    'valid': 'bool',
    'intrinsics': 'float32',
    'pose': 'float32',
    'semantic': 'uint8',
    'scene_class': 'int64',
    'neighbour_images': 'uint8',
    'neighbour_poses': 'float32',
    'neighbour_dt_s': 'float32',
    'neighbour_offsets': 'int64',
    'speed_mps': 'float32',
    'domain': 'int64',
}
"""How the fields of samples are stored, but for the depth, whose precision is chosen."""

_IMAGES: Final = ('image', 'neighbour_images')


def size_of(header: dict[str, Any]) -> int:
    """Bytes that the arrays of a header take."""
    return sum(
        int(np.prod(item['shape'])) * np.dtype(item['dtype']).itemsize
        for item in header['arrays'].values()
    )


def make_arrays(folder: Path, header: dict[str, Any]) -> None:
    """Make the files of the arrays of a header, at full size.

    Raises:
        OSError: They cannot be written, or the disk is full.
    """
    for name, item in header['arrays'].items():
        path = folder / f'{name}.npy'
        np.lib.format.open_memmap(
            path, mode='w+', dtype=np.dtype(item['dtype']), shape=tuple(item['shape'])
        ).flush()
        # A full disk must be an error here, not a bus error when a page is written.
        with path.open('rb+') as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def open_arrays(
    folder: Path, header: dict[str, Any], mode: Literal['r', 'r+']
) -> dict[str, NDArray[Any]]:
    """Map the files of the arrays of a header.

    Raises:
        DataError: A file is missing, damaged or of another size.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, item in header['arrays'].items():
        path = folder / f'{name}.npy'
        try:
            array = np.load(path, mmap_mode='r', allow_pickle=False)
            if mode != 'r':  # which would lengthen a truncated file with zeros
                array = np.load(path, mmap_mode=mode, allow_pickle=False)
        except Exception as error:  # a malformed header ends anywhere in NumPy
            message = f'{path} is damaged ({error}); delete {folder} and build it again.'
            raise DataError(message) from error
        if list(array.shape) != item['shape'] or array.dtype != np.dtype(item['dtype']):
            message = (
                f'{path} holds {array.dtype} {list(array.shape)}, the cache needs '
                f'{item["dtype"]} {item["shape"]}; delete {folder} and build it again.'
            )
            raise DataError(message)
        arrays[name] = array
    return arrays


def mark_stored(arrays: dict[str, NDArray[Any]], waiting: list[int]) -> None:
    """Declare samples stored, after their values have reached the disk."""
    if not waiting:
        return
    for name, array in arrays.items():
        if name != 'stored' and isinstance(array, np.memmap):
            array.flush()
    arrays['stored'][waiting] = True
    if isinstance(arrays['stored'], np.memmap):
        arrays['stored'].flush()
    waiting.clear()


def store_sample(arrays: dict[str, NDArray[Any]], index: int, sample: Sample) -> None:
    """Write a sample into the arrays.

    Raises:
        DataError: Its key is too long, or it has another size than the first sample.
    """
    key = os.fsencode(str(sample.key))
    if len(key) > KEY_BYTES:
        message = f'key {sample.key!r} is longer than {KEY_BYTES} bytes; shorten the keys.'
        raise DataError(message)
    arrays['key'][index] = key
    for name in (*FIELD_TYPES, 'depth_m'):
        value = getattr(sample, name)
        shape = None if value is None else tuple(value.shape)
        wanted = tuple(arrays[name].shape[1:]) if name in arrays else None
        if shape != wanted:
            message = (
                f'{name} of sample {sample.key!r} has shape {shape}, that of the first sample '
                f'{wanted}; a cache needs one size: resize or crop before caching.'
            )
            raise DataError(message)
        if value is None:
            continue
        values = value.detach().cpu()
        if name in _IMAGES:
            values = (values * 255.0).round().clamp(0.0, 255.0)
        arrays[name][index] = values.numpy()


def restore_field(name: str, stored: NDArray[Any]) -> Tensor:
    """Turn what is stored of a field back into what a sample holds."""
    values = torch.from_numpy(np.array(stored))
    if name in _IMAGES:
        return values.to(torch.float32).div_(255.0)
    if name == 'depth_m':
        return values.to(torch.float32)
    if name == 'semantic':
        return values.to(torch.int64)
    return values
