# SPDX-License-Identifier: Apache-2.0
"""A disk cache of any dataset: computed once, then read through memory maps.

Precision: images are stored as uint8 (steps of 1/255, exact for cameras and for the synthetic
scenes), depth as float16 (relative rounding of at most 2^-11, 0.05 %) or float32 (exact),
intrinsics and poses as float32, labels as uint8.

A folder belongs to one dataset and its settings. Building may be interrupted at any moment, even
by a kill, and goes on where it stopped; a second process waits for the first.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import DataError
from depth_core.files import write_text_atomically

_LOG = logging.getLogger(__name__)

DepthPrecision: TypeAlias = Literal['float16', 'float32']
"""How depth is stored."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of samples stored so far and the number of all."""

_FORMAT = 1
_HEADER = 'cache.json'
_KEY_BYTES = 200
_FLUSH_EVERY = 64
_FIELD_TYPES = {
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
_IMAGES = ('image', 'neighbour_images')


def cached(
    dataset: DepthDataset,
    folder: Path | str,
    *,
    depth_precision: DepthPrecision = 'float16',
    workers: int = 0,
    progress: Progress | None = None,
) -> CachedDataset:
    """Return `dataset` read from `folder`, storing there first whatever is not yet stored.

    Args:
        dataset: Its samples must all have one size and the same fields.
        folder: Made if missing. One folder for one dataset and its settings.
        depth_precision: `'float16'` halves the size; `'float32'` keeps depth exact.
        workers: Processes that compute samples; 0 computes in this one.
        progress: Is told how far the building is; by default the log is, now and then.

    Returns:
        The cached dataset.

    Raises:
        DataError: The folder was made from other data or settings, is damaged, cannot be
            written, or the samples differ in size.
    """
    place = Path(folder)
    first = dataset[0]
    header = _header(dataset, first, depth_precision)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place):
            _prepare(place, header)
            _fill(place, dataset, header, workers, progress or _log_progress)
    except OSError as error:
        message = (
            f'cannot keep a cache in {place}: {error.strerror or error}. Give a folder that can '
            f'be written, with {_bytes(header) / 2**20:.0f} MiB free.'
        )
        raise DataError(message) from error
    return CachedDataset(place)


class CachedDataset:
    """A complete cache on disk; opened by each process for itself.

    Raises:
        DataError: The folder holds no complete cache.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        header = _read_header(self.folder)
        if header is None:
            message = f'{self.folder} holds no cache; build one with `cached`.'
            raise DataError(message)
        self._header = header
        self._arrays: dict[str, NDArray[Any]] | None = None
        missing = int((~_open(self.folder, header, 'r')['stored']).sum())
        if missing:
            message = (
                f'the cache in {self.folder} lacks {missing} of {len(self)} samples; '
                'finish it with `cached`.'
            )
            raise DataError(message)

    @property
    def depth_precision(self) -> str:
        """The type depth is stored in: `'float16'` (within 0.05 %) or `'float32'` (exact)."""
        return str(self._header['arrays']['depth_m']['dtype'])

    @property
    def description(self) -> str:
        """What the cache was made from, as JSON."""
        return json.dumps(self._header['dataset'], sort_keys=True)

    def __len__(self) -> int:
        return int(self._header['length'])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_arrays': None}

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; negative indices count from the end."""
        length = len(self)
        if not -length <= index < length:
            message = f'index {index} is outside a cache of {length} samples.'
            raise IndexError(message)
        if self._arrays is None:
            self._arrays = _open(self.folder, self._header, 'r')
        arrays = self._arrays
        values = {
            name: _restore(name, arrays[name][index])
            for name in (*_FIELD_TYPES, 'depth_m')
            if name in arrays
        }
        return Sample(key=bytes(arrays['key'][index]).decode(), **values)


def describe(dataset: object) -> dict[str, Any]:
    """Return the class and the public settings of a dataset, down through datasets it wraps.

    Raises:
        DataError: A setting is of a kind whose value cannot be compared.
    """
    if dataclasses.is_dataclass(dataset) and not isinstance(dataset, type):
        settings = {item.name: getattr(dataset, item.name) for item in dataclasses.fields(dataset)}
    else:
        settings = {
            name: value for name, value in vars(dataset).items() if not name.startswith('_')
        }
    kind = type(dataset)
    return {
        'class': f'{kind.__module__}.{kind.__qualname__}',
        **{name: _plain(name, value) for name, value in sorted(settings.items())},
    }


def _plain(name: str, value: object) -> Any:  # noqa: ANN401 - a JSON value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Path, torch.device)):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(name, item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(name, item) for key, item in sorted(value.items())}
    if dataclasses.is_dataclass(value) or isinstance(value, DepthDataset):
        return describe(value)
    message = (
        f'setting {name!r} of type {type(value).__name__} cannot be compared with that of a '
        'stored cache; give the dataset plain settings, or keep the value private.'
    )
    raise DataError(message)


def _header(dataset: DepthDataset, first: Sample, precision: DepthPrecision) -> dict[str, Any]:
    length = len(dataset)
    arrays: dict[str, dict[str, Any]] = {
        'stored': {'dtype': 'bool', 'shape': [length]},
        'key': {'dtype': f'S{_KEY_BYTES}', 'shape': [length]},
        'depth_m': {'dtype': precision, 'shape': [length, *first.depth_m.shape]},
    }
    for name, dtype in _FIELD_TYPES.items():
        value = getattr(first, name)
        if value is not None:
            arrays[name] = {'dtype': dtype, 'shape': [length, *value.shape]}
    # A dataset whose code or files changed gives another first sample under the same settings.
    digest = hashlib.sha256()
    for values in (first.image, first.depth_m):
        digest.update(np.ascontiguousarray(values.cpu().numpy()).tobytes())
    return {
        'format': _FORMAT,
        'length': length,
        'dataset': describe(dataset),
        'first_sample': digest.hexdigest(),
        'arrays': arrays,
    }


def _bytes(header: dict[str, Any]) -> int:
    return sum(
        int(np.prod(item['shape'])) * np.dtype(item['dtype']).itemsize
        for item in header['arrays'].values()
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The lock goes with the process that holds it, however that ends.
    with (folder / '.lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read_header(folder: Path) -> dict[str, Any] | None:
    path = folder / _HEADER
    if not path.exists():
        return None
    try:
        header = json.loads(path.read_text(encoding='utf-8'))
        known = header['format'] == _FORMAT
    except (ValueError, KeyError, TypeError) as error:
        message = f'{path} is damaged ({error}); delete the folder and build the cache anew.'
        raise DataError(message) from error
    if not known:
        message = (
            f'{path} has format {header["format"]}, this version reads {_FORMAT}; '
            'delete the folder and build the cache anew.'
        )
        raise DataError(message)
    return dict(header)


def _prepare(folder: Path, header: dict[str, Any]) -> None:
    """Make the files of a new cache, or see that those there belong to the same data."""
    stored = _read_header(folder)
    if stored is not None:
        differing = [
            f'{name}: stored {stored.get(name)!r}, asked {header[name]!r}'
            for name in ('length', 'dataset', 'arrays', 'first_sample')
            if stored.get(name) != header[name]
        ]
        if differing:
            message = (
                f'the cache in {folder} was made from other data ({"; ".join(differing)}). '
                'Choose another folder, or delete this one.'
            )
            raise DataError(message)
        return
    for name, item in header['arrays'].items():
        path = folder / f'{name}.npy'
        np.lib.format.open_memmap(
            path, mode='w+', dtype=np.dtype(item['dtype']), shape=tuple(item['shape'])
        ).flush()
        # A full disk must be an error here, not a bus error when a page is written.
        with path.open('rb+') as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    write_text_atomically(folder / _HEADER, json.dumps(header, indent=1))


def _open(
    folder: Path, header: dict[str, Any], mode: Literal['r', 'r+']
) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, item in header['arrays'].items():
        path = folder / f'{name}.npy'
        try:
            array = np.load(path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError) as error:
            message = f'{path} is damaged ({error}); delete {folder} and build it anew.'
            raise DataError(message) from error
        if list(array.shape) != item['shape'] or array.dtype != np.dtype(item['dtype']):
            message = (
                f'{path} holds {array.dtype} {list(array.shape)}, the cache needs '
                f'{item["dtype"]} {item["shape"]}; delete {folder} and build it anew.'
            )
            raise DataError(message)
        arrays[name] = array
    return arrays


def _fill(
    folder: Path,
    dataset: DepthDataset,
    header: dict[str, Any],
    workers: int,
    progress: Progress,
) -> None:
    arrays = _open(folder, header, 'r+')
    stored = arrays['stored']
    missing = np.flatnonzero(~stored).tolist()
    total = len(stored)
    done = total - len(missing)
    waiting: list[int] = []
    try:
        for index, sample in zip(missing, _compute(dataset, missing, workers), strict=True):
            _store(arrays, index, sample)
            waiting.append(index)
            done += 1
            if len(waiting) == _FLUSH_EVERY:
                _mark(arrays, waiting)
            progress(done, total)
    finally:
        _mark(arrays, waiting)


def _mark(arrays: dict[str, NDArray[Any]], waiting: list[int]) -> None:
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


def _compute(dataset: DepthDataset, indices: Sequence[int], workers: int) -> Iterator[Sample]:
    if workers == 0:
        return (dataset[index] for index in indices)
    loader: DataLoader[Sample] = DataLoader(
        dataset,  # type: ignore[arg-type]  # torch names a class where it needs two methods
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        collate_fn=_as_is,
    )
    return iter(loader)


def _as_is(sample: Any) -> Any:  # noqa: ANN401 - torch types it for lists
    return sample


def _store(arrays: dict[str, NDArray[Any]], index: int, sample: Sample) -> None:
    key = str(sample.key).encode()
    if len(key) > _KEY_BYTES:
        message = f'key {sample.key!r} is longer than {_KEY_BYTES} bytes; shorten the keys.'
        raise DataError(message)
    arrays['key'][index] = key
    for name in (*_FIELD_TYPES, 'depth_m'):
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


def _restore(name: str, stored: NDArray[Any]) -> Tensor:
    values = torch.from_numpy(np.array(stored))
    if name in _IMAGES:
        return values.to(torch.float32).div_(255.0)
    if name == 'depth_m':
        return values.to(torch.float32)
    if name == 'semantic':
        return values.to(torch.int64)
    return values


def _log_progress(done: int, total: int) -> None:
    if done % max(total // 10, 1) == 0:
        _LOG.info('cached %d of %d samples', done, total)
