# SPDX-License-Identifier: Apache-2.0
"""TensorRT and TensorRT for RTX: an engine, built on this machine or kept from before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.manifest import Manifest
from depth_core.runtime.backends.base import BackendRequest
from depth_core.runtime.engine.options import EngineIdentity, Flavour
from depth_core.runtime.engine.provide import open_engine
from depth_core.runtime.extra_inputs import ExtraInputs


class TensorRtBackend:
    """An engine on an NVIDIA GPU."""

    flavour: ClassVar[Flavour] = 'tensorrt'

    def __init__(self, request: BackendRequest) -> None:
        self._session = open_engine(request, self.flavour)

    @property
    def manifest(self) -> Manifest:
        """What the model takes and what its numbers mean."""
        return self._session.manifest

    @property
    def engine(self) -> EngineIdentity:
        """The engine in use."""
        return self._session.engine

    @property
    def largest_batch(self) -> int:
        """Most images in one call."""
        return self._session.largest_batch

    @property
    def copy_s(self) -> float:
        """Of the last run: images to the GPU and answers back, seconds."""
        return self._session.copy_s

    def close(self) -> None:
        """Give back what the engine holds of the GPU."""
        self._session.close()

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        return self._session.run(images)

    @property
    def extra_inputs(self) -> ExtraInputs:
        """What fills the inputs beside the image."""
        return self._session.extra_inputs

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Compute a batch from all inputs."""
        return self._session.run_named(inputs)

    def run_images(self, images: Sequence[Uint8Array]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch of images of any size."""
        return self._session.run_images(images)


class TensorRtRtxBackend(TensorRtBackend):
    """The same with TensorRT for RTX."""

    flavour = 'tensorrt-rtx'
