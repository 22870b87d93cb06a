# SPDX-License-Identifier: Apache-2.0
"""What a backend is given and what it does."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import BackendError
from depth_core.manifest import Manifest, read_manifest
from depth_core.runtime.engine.options import EngineOptions
from depth_core.runtime.extra_inputs import ExtraInputs
from depth_core.runtime.sizes import at_size

Precision: TypeAlias = Literal['fp32', 'bf16', 'fp16', 'int8']
"""The type a backend computes in. Inputs and outputs keep theirs."""


@dataclass(frozen=True, kw_only=True)
class BackendRequest:
    """A model file and how to run it."""

    path: Path
    precision: Precision = 'fp32'
    threads: int | None = None
    """Most threads to compute with; None leaves the choice to the runtime: all cores."""
    device: str | None = None
    """Which device, as the runtime calls it (`GPU.0`, `NPU`, `cuda:1`); None takes its first."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """For backends that build an engine first."""
    manifest: Manifest | None = None
    """What counts in place of the manifest that the graph has with it."""
    size: tuple[int, int] | None = None
    """(height, width) to open a graph at that leaves its size free; None for the one that its
    manifest states."""

    def manifest_of(self, graph: Path) -> Manifest:
        """The manifest of the ONNX file `graph`, at the size that is asked for.

        Raises:
            ConfigError: The manifest is not valid.
            ModelError: The file is missing or corrupt, or has no manifest.
        """
        manifest = self.manifest or read_manifest(graph)
        return manifest if self.size is None else at_size(manifest, self.size)


@runtime_checkable
class Closes(Protocol):
    """A backend that holds what is to be given back as soon as it is no longer used."""

    def close(self) -> None:
        """Give everything back; no call may follow."""


@runtime_checkable
class MeasuresCopies(Protocol):
    """A backend on a device of its own that knows what copying to it and back took."""

    @property
    def copy_s(self) -> float:
        """Of the last run: images to the device and answers back, seconds."""


class Backend(Protocol):
    """A model made ready to run on one runtime and device."""

    @property
    def manifest(self) -> Manifest:
        """What the model takes and what its numbers mean."""

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch.

        Args:
            images: N images exactly as `manifest.input` states them, C-contiguous; N is
                `manifest.input.batch`, any number where that is 0.

        Returns:
            Depth and sigma (None when the model gives none), [N, H, W] in the model's unit.
            They may be views of memory that the next call writes to.
        """


@runtime_checkable
class ResizesImages(Protocol):
    """A backend that also takes images as the camera gives them, and resizes them itself."""

    def run_images(self, images: Sequence[Uint8Array]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch of N images as `Backend.run` does.

        Args:
            images: [H, W, 3] uint8 RGB, C-contiguous, each of any size. They are brought to the
                input of the graph as `runtime.preprocessing` does, within one code; N is as in
                `Backend.run`, and may be less than a fixed batch.
        """


@runtime_checkable
class RunsNamed(Protocol):
    """A backend that takes every input and gives every output of a graph by its name."""

    @property
    def extra_inputs(self) -> ExtraInputs:
        """What fills the inputs beside the image; `Backend.run` fills in a usual camera."""

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Compute a batch.

        Args:
            inputs: The images, as `Backend.run` takes them, and all extra inputs.

        Returns:
            What `manifest.outputs` names, as the graph gives it. It may be views of memory that
            the next call writes to.
        """


@runtime_checkable
class LimitsBatch(Protocol):
    """A backend with a free batch that cannot take every number of images at once."""

    @property
    def largest_batch(self) -> int:
        """Most images in one call, at least 1."""


def computed_precision(asked: Precision, manifest: Manifest) -> Precision:
    """What a model computes in: a graph in fp16 stays one where fp32, the default, is asked for.

    A runtime of the processor may compute parts of it in fp32; its weights are rounded all the
    same.
    """
    return manifest.precision if asked == 'fp32' else asked


def check_allowed_precision(precision: Precision, manifest: Manifest) -> None:
    """Refuse a precision that the manifest of a graph does not allow it to be computed in.

    Raises:
        BackendError: Names those that are allowed.
    """
    allowed = manifest.graph.precision
    if allowed and precision not in allowed:
        message = (
            f'graph.precision of {manifest.name} allows {" or ".join(allowed)}, not {precision}: '
            'it is known to answer wrong there; ask for another precision.'
        )
        raise BackendError(message)


def nvidia_driver_loads() -> bool:
    """Whether the library of the NVIDIA driver is here; asked before a large runtime is loaded."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True


def cuda_index(device: str | None) -> int:
    """The number of the CUDA device called `device`: `cuda:1`, `1`; None and `cuda` are the first.

    Raises:
        BackendError: It is no such name.
    """
    if device is None:
        return 0
    found = re.fullmatch(r'(?:cuda:)?(\d+)|cuda', device.strip().lower())
    if found is None:
        message = f'device {device!r} is no CUDA device; give cuda:0, cuda:1, ... or none.'
        raise BackendError(message)
    return int(found[1] or 0)


def refuse_device(device: str | None, only: str) -> None:
    """Refuse every device but `only`, the one of the backend.

    Raises:
        BackendError: Another one was asked for.
    """
    if device is not None and device.strip().upper() != only:
        message = f'it runs on {only} alone, and device {device!r} was asked for; give none.'
        raise BackendError(message)


def is_same_memory(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays are the same memory, of one shape and type."""
    return bool(one.__array_interface__ == other.__array_interface__)


def reason(error: Exception) -> str:
    """The last line of what a runtime complains of, shortened to be read in a log."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f'{text[:_LONGEST_REASON]}...'


_LONGEST_REASON = 240
_DRIVER = 'libcuda.so.1'
