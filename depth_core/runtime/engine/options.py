# SPDX-License-Identifier: Apache-2.0
"""How engines are built and kept, and what is reported meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from depth_core.errors import BackendError

Flavour: TypeAlias = Literal['tensorrt', 'tensorrt-rtx']
"""TensorRT proper (Jetson, data centre, desktop), or TensorRT for RTX (desktop GPUs only)."""


class BuildCancelledError(BackendError):
    """A build was cancelled before its plan was complete; nothing of it is kept."""


class EngineRefusedError(BackendError):
    """An engine was built and does not answer as its graph; it is not served."""


@dataclass(frozen=True, kw_only=True)
class BuildProgress:
    """How far the preparation of an engine is."""

    phase: str
    """What is done now, in a few words: `parsing`, `building`, the builder's own phase,
    `comparing with the graph`."""
    fraction: float | None
    """Of the phase, 0 to 1; None when the builder does not say."""
    elapsed_s: float
    """Since the preparation began, seconds."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How an engine is built and kept; other backends take no notice."""

    cache_dir: Path | None = None
    """Where plans are kept; None takes `folder.default_folder()`."""
    workspace_bytes: int | None = None
    """Most GPU memory the builder may use for scratch; None leaves it to TensorRT, which gets half
    of what is left where the GPU shares the memory of the machine."""
    max_batch: int = 1
    """Images answered at once at most; more than 1 needs a graph whose batch is free."""
    cuda_graph: bool = False
    """Record the work of one inference once and replay it, which saves launches."""
    report: Callable[[BuildProgress], None] | None = None
    """Called every few seconds while an engine is prepared, from any thread; it returns at
    once."""
    cancelled: threading.Event | None = None
    """Set by the caller to give up a build, which then raises `BuildCancelledError`."""


@dataclass(frozen=True, kw_only=True)
class EngineIdentity:
    """Which engine answers, for logs and diagnostics."""

    key: str
    """Of its entry in the cache, hexadecimal."""
    tensorrt: str
    """Flavour and version that built it, such as `tensorrt 10.3.0`."""
    gpu: str
    """Name of the GPU it runs on."""
    agreement: str
    """How it compared with the graph it came from when that was last measured, in words."""
    kept: bool = True
    """Whether it is in the cache, so that the next start is quick."""

    def check_kept(self) -> None:
        """Refuse an engine that was built ahead in vain.

        Raises:
            BackendError: It is not in the cache.
        """
        if not self.kept:
            message = (
                'the engine was built and answers as its graph, but could not be kept, so that '
                'the next start builds it again; what was logged before says why. Free space, or '
                'name another folder for the engine cache.'
            )
            raise BackendError(message)


@runtime_checkable
class RunsEngine(Protocol):
    """A backend that runs an engine built on this machine."""

    @property
    def engine(self) -> EngineIdentity:
        """The engine in use."""
