# SPDX-License-Identifier: Apache-2.0
"""A disk cache of any dataset: computed once, then read through memory maps.

Precision: images are stored as uint8 (steps of 1/255, exact for cameras and for the synthetic
scenes), depth as float16 (relative rounding of at most 2^-11, 0.05 %) or float32 (exact),
intrinsics and poses as float32, labels as uint8.

A folder belongs to one dataset and its settings. Building may be interrupted at any moment, even
by a kill, and goes on where it stopped; a second process waits for the first. A sample whose
files have changed since it was stored is made again: a file counts as changed when its size or its
times differ and its content does too.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import reprlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from depth_core.data.cache_files import (
    FIELD_TYPES,
    KEY_BYTES,
    make_arrays,
    mark_stored,
    open_arrays,
    restore_field,
    size_of,
    store_sample,
)
from depth_core.data.fingerprints import DIGEST_BYTES, Fingerprints
from depth_core.data.sample import DepthDataset, Sample
from depth_core.documents import parse_json
from depth_core.errors import DataError
from depth_core.files import read_text, write_text_atomically
from depth_core.processes import begin_child, signals_blocked

_LOG = logging.getLogger(__name__)

DepthPrecision: TypeAlias = Literal['float16', 'float32']
"""How depth is stored."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of samples stored so far and the number of all."""

_FORMAT = 2
_FLUSH_EVERY = 64
_SHORT = reprlib.Repr()
"""Names a few of many images."""
_SHORT.maxstring = _SHORT.maxother = 200
_HEADER = 'cache.json'
_FINGERPRINTS = ('stored', 'file_states', 'file_contents')


def cached(
    dataset: DepthDataset,
    folder: Path | str,
    *,
    depth_precision: DepthPrecision = 'float16',
    workers: int = 0,
    progress: Progress | None = None,
) -> CachedDataset:
    """Return `dataset` read from `folder`, after storing there what is not.

    Args:
        dataset: Its samples must all have one size and the same fields.
        folder: Made if missing. One folder for one dataset and its settings.
        depth_precision: `'float16'` halves the size; `'float32'` keeps depth exact.
        workers: Processes that compute samples; 0 computes in this one.
        progress: Called as the building goes on; by default it is logged now and then.

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
            _prepare(place, header, Fingerprints(dataset))
            _fill(place, dataset, header, workers, progress or _log_progress)
    except OSError as error:
        message = (
            f'cannot keep a cache in {place}: {error.strerror or error}. Give a folder that can '
            f'be written, with {size_of(header) / 2**20:.0f} MiB free.'
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
        missing = int((~open_arrays(self.folder, header, 'r')['stored']).sum())
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

    def scene_classes(self) -> list[int]:
        """The scene class of every sample; none where they have none."""
        arrays = open_arrays(self.folder, self._header, 'r')
        return [int(number) for number in arrays.get('scene_class', ())]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_arrays': None}

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; negative indices count from the end."""
        length = len(self)
        if not -length <= index < length:
            message = f'index {index} is outside a cache of {length} samples.'
            raise IndexError(message)
        if self._arrays is None:
            self._arrays = open_arrays(self.folder, self._header, 'r')
        arrays = self._arrays
        values = {
            name: restore_field(name, arrays[name][index])
            for name in (*FIELD_TYPES, 'depth_m')
            if name in arrays
        }
        return Sample(key=os.fsdecode(bytes(arrays['key'][index])), **values)


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
        'key': {'dtype': f'S{KEY_BYTES}', 'shape': [length]},
        'file_states': {'dtype': 'uint8', 'shape': [length, DIGEST_BYTES]},
        'file_contents': {'dtype': 'uint8', 'shape': [length, DIGEST_BYTES]},
        'depth_m': {'dtype': precision, 'shape': [length, *first.depth_m.shape]},
    }
    for name, dtype in FIELD_TYPES.items():
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
        header = parse_json(read_text(path))
        form = int(header['format'])
    except (ValueError, KeyError, TypeError) as error:
        message = f'{path} is damaged ({error}); delete the folder and build the cache again.'
        raise DataError(message) from error
    if form > _FORMAT:
        message = (
            f'{path} has format {form}, this version reads {_FORMAT}; choose another folder, or '
            'delete this one.'
        )
        raise DataError(message)
    if form < _FORMAT:
        _LOG.info('the cache in %s has the older format %d and is made again', folder, form)
        return None
    return dict(header)


def _prepare(folder: Path, header: dict[str, Any], fingerprints: Fingerprints) -> None:
    """Make the files of a new cache, or see that those there belong to the same data.

    In those there, samples whose files have changed become missing.
    """
    stored = _read_header(folder)
    if stored is None:
        make_arrays(folder, header)
        write_text_atomically(folder / _HEADER, json.dumps(header, indent=1))
        return
    differing = _differing(stored, header, ('length', 'dataset', 'arrays'))
    if not differing:
        arrays = open_arrays(folder, header, 'r+')
        _forget_changed(arrays, fingerprints, folder)
        if not arrays['stored'][0]:
            # What identifies the data was itself made from files that have changed.
            write_text_atomically(folder / _HEADER, json.dumps(header, indent=1))
        else:
            differing = _differing(stored, header, ('first_sample',))
    if differing:
        message = (
            f'the cache in {folder} was made from other data ({"; ".join(differing)}). '
            'Choose another folder, or delete this one.'
        )
        raise DataError(message)


def _differing(
    stored: dict[str, Any], header: dict[str, Any], names: Sequence[str]
) -> Sequence[str]:
    differing: list[str] = []
    for name in names:
        before, now = stored.get(name), header.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            inside = _differing(before, now, sorted(before | now))
            differing += [f'{name}.{item}' for item in inside]
        elif before != now:
            differing.append(f'{name}: stored {_SHORT.repr(before)}, asked {_SHORT.repr(now)}')
    return differing


def _forget_changed(
    arrays: dict[str, NDArray[Any]], fingerprints: Fingerprints, folder: Path
) -> None:
    """Declare missing the samples whose files have changed."""
    stored, states, contents = (arrays[name] for name in _FINGERPRINTS)
    changed = np.zeros(len(stored), np.bool_)
    for index in np.flatnonzero(stored).tolist():
        state = fingerprints.state(index)
        if np.array_equal(state, states[index]):
            continue
        changed[index] = not np.array_equal(fingerprints.content(index), contents[index])
        if not changed[index]:
            states[index] = state
    if changed.any():
        _LOG.info(
            'files of %d of %d samples in the cache %s have changed: these are made again',
            changed.sum(),
            len(changed),
            folder,
        )
    stored[changed] = False


def _fill(
    folder: Path,
    dataset: DepthDataset,
    header: dict[str, Any],
    workers: int,
    progress: Progress,
) -> None:
    arrays = open_arrays(folder, header, 'r+')
    stored = arrays['stored']
    missing = np.flatnonzero(~stored).tolist()
    total = len(stored)
    done = total - len(missing)
    waiting: list[int] = []
    try:
        for index, item in zip(missing, _compute(dataset, missing, workers), strict=True):
            arrays['file_states'][index], arrays['file_contents'][index] = item.state, item.content
            store_sample(arrays, index, item.sample)
            waiting.append(index)
            done += 1
            if len(waiting) == _FLUSH_EVERY:
                mark_stored(arrays, waiting)
            progress(done, total)
    finally:
        mark_stored(arrays, waiting)


class _Computed(NamedTuple):
    """A sample, with what its files were before it was made."""

    state: NDArray[np.uint8]
    content: NDArray[np.uint8]
    sample: Sample


class _Computing:
    """The samples of a dataset with the fingerprints of their files."""

    def __init__(self, dataset: DepthDataset) -> None:
        self._dataset = dataset
        self._fingerprints = Fingerprints(dataset)

    def __getitem__(self, index: int) -> _Computed:
        state, content = self._fingerprints.state(index), self._fingerprints.content(index)
        return _Computed(state, content, self._dataset[index])


def _compute(dataset: DepthDataset, indices: Sequence[int], workers: int) -> Iterator[_Computed]:
    computing = _Computing(dataset)
    if workers == 0:
        return (computing[index] for index in indices)
    loader: DataLoader[_Computed] = DataLoader(
        computing,  # type: ignore[arg-type]  # torch names a class where it needs one method
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        collate_fn=_as_is,
        worker_init_fn=partial(_begin, os.getpid()),
    )
    with signals_blocked():
        return iter(loader)


def _begin(parent: int, _worker: int) -> None:
    begin_child(parent)


def _as_is(sample: Any) -> Any:  # noqa: ANN401 - torch types it for lists
    return sample


def _log_progress(done: int, total: int) -> None:
    if done % max(total // 10, 1) == 0:
        _LOG.info('cached %d of %d samples', done, total)
