# SPDX-License-Identifier: Apache-2.0
"""An engine for a model: from the cache or built now, and compared before it answers anybody.

The driver is asked first, for without one some versions of TensorRT end the process. Then the
key is made of everything the plan depends on, and whoever has the lock of that key loads or
builds, opens, and compares; others wait and load. An engine that does not answer as its graph is
not served, and remembered, so that it is not built again at every start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import platform
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from depth_core.errors import DepthError, ModelError
from depth_core.manifest import Manifest
from depth_core.runtime.backends.base import BackendRequest, Precision
from depth_core.runtime.engine.answers import expected_answers
from depth_core.runtime.engine.api import TensorRt, load_tensorrt
from depth_core.runtime.engine.build import build_plan
from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.device import Device, device_index, open_device
from depth_core.runtime.engine.execution import PlanRefusedError
from depth_core.runtime.engine.folder import UnavailableError
from depth_core.runtime.engine.gate import compare, recorded_result
from depth_core.runtime.engine.graph_hash import GraphHashes
from depth_core.runtime.engine.graphs import Graph, graph_for
from depth_core.runtime.engine.kernel import KERNEL_SHA256
from depth_core.runtime.engine.key import EngineKey
from depth_core.runtime.engine.options import (
    BuildProgress,
    EngineIdentity,
    EngineOptions,
    EngineRefusedError,
    Flavour,
)
from depth_core.runtime.engine.session import EngineSession
from depth_core.runtime.graph import input_shape
from depth_core.runtime.sizes import at_size

_GIB: Final = 1 << 30
_COMMAND: Final = 'python -m depth_core.runtime.engine'

_logger = logging.getLogger(__name__)


def open_engine(request: BackendRequest, flavour: Flavour) -> EngineSession:
    """Open the engine of a model on the GPU that is here, after building it where need be.

    Args:
        request: The model and how to run it.
        flavour: Which TensorRT.

    Raises:
        BackendError: There is no driver, GPU or TensorRT, the graph of this precision is missing,
            the build failed, or the engine does not answer as its graph.
        BuildCancelledError: The caller gave up.
        ConfigError: More images at once were asked for than the graph takes.
        ModelError: The model is missing, corrupt or contradicts its manifest.
    """
    device = open_device(device_index(request.device), to_record=request.engine.cuda_graph)
    trt = load_tensorrt(flavour)
    cache = _open_cache(request.engine.cache_dir)
    hashes = GraphHashes(None if cache is None else cache.folder)
    work = _Work(
        trt=trt,
        device=device,
        graph=_at_size(
            graph_for(request.path, request.precision, hashes, manifest=request.manifest),
            request.size,
        ),
        described=request.manifest,
        precision=request.precision,
        options=request.engine,
        cache=cache,
        hashes=hashes,
    )
    return work.open()


def _at_size(graph: Graph, size: tuple[int, int] | None) -> Graph:
    """The graph with its input fixed to (height, width) `size`."""
    if size is None:
        return graph
    return dataclasses.replace(graph, manifest=at_size(graph.manifest, size))


def _open_cache(folder: Path | None) -> EngineCache | None:
    """The cache; None where none can be kept, which costs a build at each start."""
    try:
        return EngineCache(folder)
    except UnavailableError as error:
        _logger.warning('engines are not kept, and built at each start: %s', error)
        return None


@dataclass(frozen=True, kw_only=True)
class _Work:
    """One engine that is wanted."""

    trt: TensorRt
    device: Device
    graph: Graph
    described: Manifest | None
    """The manifest that counts in place of the graph's own."""
    precision: Precision
    options: EngineOptions
    cache: EngineCache | None
    hashes: GraphHashes
    since: float = dataclasses.field(default_factory=time.monotonic)

    def open(self) -> EngineSession:
        """Load or build the engine, and compare it unless that was done here before."""
        with self._locked() as cache:
            known = None if cache is None else cache.entry(self.key.digest)
            result = self._result(None if known is None else known.parity)
            if known is not None and known.is_refused and result is False:
                raise self._refusal(dict(known.parity or {}).get('complaint'), earlier=True)
            session = self._load(cache)
            fresh = session is None
            session = session or self._build(cache)
            if fresh or result is not True:
                agreement = self._prove(session, cache)
            else:
                agreement = str(dict(known.parity or {}).get('summary') if known else '')
            if cache is not None:
                weakref.finalize(session, cache.keep(self.key.digest))
            kept = cache is not None and cache.entry(self.key.digest) is not None
        session.engine = EngineIdentity(
            key=self.key.digest,
            tensorrt=str(self.trt),
            gpu=self.device.info.name,
            agreement=agreement,
            kept=kept,
        )
        return session

    @contextlib.contextmanager
    def _locked(self) -> Iterator[EngineCache | None]:
        """Have the lock of the key, where there is a cache that can be written to."""
        with contextlib.ExitStack() as stack:
            if self.cache is not None:
                lock = self.cache.locked(
                    self.key.digest, cancelled=self.options.cancelled, waiting=self._wait
                )
                try:
                    stack.enter_context(lock)
                except UnavailableError as error:  # what is there can be read all the same
                    _logger.warning('engines built now may not be kept: %s', error)
            yield self.cache

    def _wait(self, waited_s: float) -> None:
        self._report('waiting for another process that prepares the same engine')
        _logger.info('%s: another process prepares its engine, %.0f s', self.graph.path, waited_s)

    def _load(self, cache: EngineCache | None) -> EngineSession | None:
        """The engine as it is kept; None where none is, or TensorRT refuses it."""
        plan = None if cache is None else cache.load(self.key.digest)
        if plan is None:
            return None
        with contextlib.suppress(PlanRefusedError):
            return self._session(plan, cache)
        return None

    def _build(self, cache: EngineCache | None) -> EngineSession:
        plan = build_plan(
            self.trt,
            self.graph.path,
            self.graph.manifest,
            precision=self.precision,
            options=self.options,
            gpu=self.device.info,
        )
        self._check_unchanged()
        if cache is not None:  # before it is opened, which memory may not suffice for now
            try:
                cache.store(self.key.digest, plan, self.key.fields(), self._notes)
            except DepthError as error:
                _logger.warning('the engine is used, but not kept: %s', error)
        return self._session(plan, cache)

    def _session(self, plan: bytes, cache: EngineCache | None) -> EngineSession:
        try:
            return EngineSession(
                self.trt,
                plan,
                self.device,
                self.graph.manifest,
                self.options,
                path=self.graph.path,
            )
        except PlanRefusedError as error:
            if cache is not None:
                cache.quarantine(self.key.digest, str(error))
            raise

    def _check_unchanged(self) -> None:
        """Refuse what was built of, or compared with, another content than the key names.

        Raises:
            ModelError: A file was written meanwhile.
        """
        if self._hashes() != self._content:
            message = (
                f'{self.graph.path} was changed while its engine was prepared; what was built is '
                'not used: open the model again.'
            )
            raise ModelError(message)

    def _hashes(self) -> list[str]:
        """Of the graph, and of the one that it has to agree with where that is another."""
        return [
            self.hashes.of(path) for path in dict.fromkeys((self.graph.path, self.graph.reference))
        ]

    @cached_property
    def _content(self) -> list[str]:
        """`_hashes` before anything was built or compared."""
        return self._hashes()

    def _result(self, parity: object) -> bool | None:
        recorded = parity if isinstance(parity, dict) else None
        return recorded_result(
            recorded, self.graph.manifest, precision=self.precision, where=self._where
        )

    def _prove(self, session: EngineSession, cache: EngineCache | None) -> str:
        """Compare the engine with its graph.

        Returns:
            How it compared, in words.

        Raises:
            BackendError: It does not answer as its graph, or cannot be compared.
        """
        self._report('comparing with the graph')
        spec = self.graph.manifest.input
        answers = expected_answers(
            self.graph.reference, size=(spec.height, spec.width), manifest=self.described
        )
        report = compare(session, answers, precision=self.precision, where=self._where)
        self._check_unchanged()
        parity = {**report.to_mapping(), 'summary': report.summary}
        if report.passed:
            _logger.info('the engine of %s agrees: %s', self.graph.path, report.summary)
            if cache is not None:
                cache.record(self.key.digest, parity, self._notes)
            return report.summary
        session.close()
        if cache is not None:
            cache.refuse(self.key.digest, self.key.fields(), parity, self._notes)
        raise self._refusal(report.complaint)

    def _refusal(self, complaint: object, *, earlier: bool = False) -> EngineRefusedError:
        again = (
            f'; this was found earlier, and it is built again after {_COMMAND} clear'
            if earlier
            else ''
        )
        return EngineRefusedError(
            f'the {self.precision} engine that {self.trt} built of {self.graph.path} for '
            f'{self.device.info.name} does not answer as the graph and is not used: {complaint}'
            f'{again}. Use another precision, another version of TensorRT, or another backend.'
        )

    def _report(self, phase: str) -> None:
        if self.options.report is not None:
            elapsed_s = time.monotonic() - self.since
            self.options.report(BuildProgress(phase=phase, fraction=None, elapsed_s=elapsed_s))

    @cached_property
    def key(self) -> EngineKey:
        """Of everything that the plan depends on."""
        info, manifest = self.device.info, self.graph.manifest
        return EngineKey(
            graph_sha256=self._content[0],
            input_shape=input_shape(manifest, 1)[1:],
            max_batch=self.options.max_batch,
            precision=self.precision,
            tensorrt=self.trt.version,
            flavour=self.trt.flavour,
            gpu=info.name,
            compute_capability='{}.{}'.format(*info.compute_capability),
            multiprocessors=info.multiprocessors,
            memory_gib=round(info.memory_bytes / _GIB),
            platform=f'{platform.system()}-{platform.machine()}',
            workspace_bytes=self.options.workspace_bytes,
        )

    @cached_property
    def _where(self) -> dict[str, str]:
        """Where the engine runs, and how: otherwise it is compared again."""
        info = self.device.info
        return {
            'tensorrt': str(self.trt),
            'gpu': f'{info.name} {info.identity}',
            'cuda': '{}.{}'.format(*info.cuda),
            'resizing': KERNEL_SHA256,
            'cuda_graph': str(self.options.cuda_graph),
            'manifest': hashlib.sha256(self.graph.manifest.to_json().encode()).hexdigest(),
        }

    @property
    def _notes(self) -> dict[str, str]:
        return {'model': str(self.graph.path), **self._where}
