# SPDX-License-Identifier: Apache-2.0
"""Which runtime of the processor is the fastest for a model here: measured once, then remembered.

It depends on the model and the processor: OpenVINO is twice as fast on one with AVX-512 and
slower than ONNX Runtime on others. Each runtime that is installed computes the model in turns
with the others for about a second, the fastest then with half of the cores too; what was found is
kept in a private file, for this graph, processor and these versions. `DEPTH_ROS_MEASURE=0` goes
without, and so does naming a backend.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depth_core.errors import BackendError, DepthError
from depth_core.files import write_text_atomically
from depth_core.processes import usable_cpus
from depth_core.runtime.backends.base import Backend, BackendRequest
from depth_core.runtime.engine.folder import (
    FILE_MODE,
    default_folder,
    private_folder,
    read_private,
)
from depth_core.runtime.engine.graph_hash import GraphHashes
from depth_core.runtime.engine.key import key_of
from depth_core.runtime.graph import input_shape
from depth_core.runtime.onnx_reader import read_graph

SWITCH: Final = 'DEPTH_ROS_MEASURE'
"""Variable of the environment; 0 takes the order of the table."""

Opener: TypeAlias = Callable[[str, BackendRequest], Backend]

_FILE: Final = 'fastest.json'
_REMEMBERED: Final = 64
"""Models, the last ones."""
_BUDGET_S: Final = 0.6
"""Of one comparison; there are two, and each candidate computes at least `_LEAST_RUNS` times."""
_LEAST_RUNS: Final = 2
_WORTH: Final = 0.95
"""Fewer cores have to take at most this part of the time to be preferred."""
_LARGEST_BYTES: Final = 256 * 2**20
"""A larger graph is not opened twice at a time."""

_logger = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """A backend and how many threads it computes with."""

    backend: str
    threads: int | None

    def __str__(self) -> str:
        if self.threads is None:
            return self.backend
        return f'{self.backend} on {self.threads} threads'


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The fastest candidate, and what it was compared with."""

    fastest: Candidate
    times_s: Mapping[Candidate, float] = field(default_factory=dict)
    """Median time of one batch."""

    def __str__(self) -> str:
        times = ', '.join(
            f'{candidate} {time_s * 1e3:.1f} ms' for candidate, time_s in self.times_s.items()
        )
        return f'{self.fastest} ({times or "the only one that runs it"})'


def fastest_first(
    rivals: Mapping[str, Sequence[str]], request: BackendRequest, open_named: Opener
) -> list[tuple[str, BackendRequest]]:
    """Put backends in the order in which they should be tried.

    Args:
        rivals: Names of the distributions of each backend, in the order of the table.
        request: What they are to run.
        open_named: Opens one.

    Returns:
        The fastest with the number of threads to open it with, then the others as they were.
    """
    choice = _choice(rivals, request, open_named)
    order = list(rivals)
    if choice is None:
        return [(name, request) for name in order]
    name, threads = choice.fastest
    order.remove(name)
    return [(name, replace(request, threads=threads)), *((other, request) for other in order)]


def _choice(
    rivals: Mapping[str, Sequence[str]], request: BackendRequest, open_named: Opener
) -> Choice | None:
    """What is remembered or measured; None where nothing is to be chosen."""
    path = request.path
    rivals = {name: names for name, names in rivals.items() if _version(names)}
    threads_too = request.threads is None and usable_cpus() > 1
    if os.environ.get(SWITCH, '1') == '0' or request.device is not None:
        return None
    if not rivals or (len(rivals) == 1 and not threads_too):
        return None
    if not path.is_file() or _bytes_of(path) > _LARGEST_BYTES:
        _logger.info('%s is too large to compare backends on; the first of the table runs', path)
        return None
    memory = _Memory.open(request.engine.cache_dir)
    key = _key(rivals, request, memory.hashes)
    remembered = memory.recall(key)
    if remembered is not None and remembered.backend in rivals:
        _logger.info('%s was the fastest for %s when measured here', remembered, path)
        return Choice(fastest=remembered)
    _logger.info(
        'measuring which of %s is the fastest for %s, for about a second (%s=0 or a named '
        'backend goes without)', ', '.join(rivals), path, SWITCH,
    )  # fmt: skip
    try:
        choice = measure(list(rivals), request, open_named)
    except BackendError as error:
        _logger.info('measuring for %s is given up: %s', path, error)
        return None
    if choice is not None:
        _logger.info('the fastest for %s is %s', path, choice)
        memory.remember(key, choice, path)
    return choice


def _bytes_of(graph: Path) -> int:
    """Of a graph with the weights that lie beside it.

    Raises:
        ModelError: It is damaged.
    """
    beside = (graph.with_name(name) for name in read_graph(graph).external_files)
    return sum(file.stat().st_size for file in (graph, *beside) if file.is_file())


def measure(names: Sequence[str], request: BackendRequest, open_named: Opener) -> Choice | None:
    """Measure backends, each in turns with the fastest so far; None where none runs the model.

    Two are open at a time and no more: each holds the weights of the model.
    """
    duels = _Duels(request, open_named)
    for name in names:
        duels.challenge(Candidate(name, request.threads), worth=1.0)
    cores = usable_cpus()
    if duels.fastest is not None and request.threads is None and cores > 1:
        duels.challenge(Candidate(duels.fastest.backend, cores // 2), worth=_WORTH)
    if duels.fastest is None:
        return None
    return Choice(fastest=duels.fastest, times_s=duels.times_s)


class _Duels:
    """The fastest candidate so far, kept open, and what was measured to find it."""

    def __init__(self, request: BackendRequest, open_named: Opener) -> None:
        self.fastest: Candidate | None = None
        self.times_s: dict[Candidate, float] = {}
        self._request, self._open_named = request, open_named
        self._backend: Backend | None = None

    def challenge(self, candidate: Candidate, *, worth: float) -> None:
        """Compare a candidate with the fastest.

        Args:
            candidate: Opened for this, and closed unless it is the faster one.
            worth: Part of the time of the fastest that it has to stay below.
        """
        wanted = replace(self._request, threads=candidate.threads)
        backend = _opened(candidate.backend, wanted, self._open_named)
        if backend is None:
            return
        if self.fastest is None or self._backend is None:
            if _time_s(candidate, backend, _batch_for(backend)) is not None:
                self.fastest, self._backend = candidate, backend
            return
        found_s = _in_turns({self.fastest: self._backend, candidate: backend})
        self.times_s |= found_s
        champion_s = found_s.get(self.fastest, np.inf)
        challenger_s = found_s.get(candidate, np.inf)
        if challenger_s < champion_s * worth:
            self.fastest, self._backend = candidate, backend


def _opened(name: str, request: BackendRequest, open_named: Opener) -> Backend | None:
    try:
        return open_named(name, request)
    except BackendError as error:
        _logger.debug('%s is not measured: %s', name, error)
        return None


def _in_turns(opened: Mapping[Candidate, Backend]) -> dict[Candidate, float]:
    """Median times of one batch; whatever else the machine does meets all alike.

    A backend that fails takes no further part, and has no time.
    """
    batches = {candidate: _batch_for(backend) for candidate, backend in opened.items()}
    running = {one for one in opened if _time_s(one, opened[one], batches[one]) is not None}
    times_s: dict[Candidate, list[float]] = {one: [] for one in opened if one in running}
    began = time.perf_counter()
    rounds = 0
    while times_s and (rounds < _LEAST_RUNS or time.perf_counter() - began < _BUDGET_S):
        for candidate in tuple(times_s):
            taken_s = _time_s(candidate, opened[candidate], batches[candidate])
            if taken_s is None:
                del times_s[candidate]
            else:
                times_s[candidate].append(taken_s)
        rounds += 1
    return {candidate: float(np.median(taken)) for candidate, taken in times_s.items()}


def _batch_for(backend: Backend) -> NDArray[Any]:
    """Noise, as the graph takes it."""
    manifest = backend.manifest
    codes = np.random.default_rng(0).integers(0, 256, input_shape(manifest), dtype=np.uint8)
    return codes if manifest.input.dtype == 'uint8' else codes.astype(np.float32) / 255.0


def _time_s(candidate: Candidate, backend: Backend, batch: NDArray[Any]) -> float | None:
    """Of one run; None when it fails."""
    before = time.perf_counter()
    try:
        backend.run(batch)
    except BackendError as error:
        _logger.info('%s takes no part: %s', candidate, error)
        return None
    return time.perf_counter() - before


def _key(rivals: Mapping[str, Sequence[str]], request: BackendRequest, hashes: GraphHashes) -> str:
    """Of everything the choice depends on."""
    return key_of(
        {
            'graph': hashes.of(request.path),
            'precision': request.precision,
            'threads': request.threads,
            'processor': _processor(),
            'cores': usable_cpus(),
            'runtimes': {name: _version(names) for name, names in rivals.items()},
        }
    )


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return ascii(names[0] if names else platform.processor() or platform.machine())


def _version(distributions: Sequence[str]) -> str:
    """Of the first distribution that is installed; '' when none is."""
    return next(filter(None, map(_version_of, distributions)), '')


def _version_of(distribution: str) -> str:
    try:
        return f'{distribution} {metadata.version(distribution)}'
    except metadata.PackageNotFoundError:
        return ''


class _Memory:
    """The choices of earlier times; nothing that goes wrong with it stops a model."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / _FILE
        self.hashes = GraphHashes(folder)

    @classmethod
    def open(cls, folder: Path | None) -> _Memory:
        """In the private folder of engines; in none where that cannot be had."""
        try:
            return cls(private_folder(folder or default_folder()))
        except DepthError as error:
            _logger.info('the fastest backend is not remembered: %s', error)
            return cls(None)

    def recall(self, key: str) -> Candidate | None:
        """The fastest candidate, where it is known."""
        entry = self._entries().get(key)
        if not isinstance(entry, dict):
            return None
        backend, threads = entry.get('backend'), entry.get('threads')
        whole = isinstance(threads, int) and not isinstance(threads, bool) and threads > 0
        if not isinstance(backend, str) or not (threads is None or whole):
            return None
        return Candidate(backend, threads)

    def remember(self, key: str, choice: Choice, model: Path) -> None:
        """Keep a choice among the last ones."""
        if self._file is None:
            return
        entries = self._entries()
        entries.pop(key, None)
        entries[key] = {
            'backend': choice.fastest.backend,
            'threads': choice.fastest.threads,
            'model': model.name,
            'ms': {str(one): round(time_s * 1e3, 3) for one, time_s in choice.times_s.items()},
        }
        newest = dict(list(entries.items())[-_REMEMBERED:])
        try:
            write_text_atomically(self._file, json.dumps(newest, indent=1) + '\n', mode=FILE_MODE)
        except DepthError as error:
            _logger.info('the fastest backend is not remembered: %s', error)

    def _entries(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            content = json.loads(read_private(self._file))
        except FileNotFoundError:
            return {}
        except (DepthError, ValueError) as error:
            _logger.warning('%s is ignored and written anew: %s', self._file, error)
            return {}
        if not isinstance(content, dict):
            _logger.warning('%s is ignored and written anew: it is no object', self._file)
            return {}
        return content
