# SPDX-License-Identifier: Apache-2.0
"""What one row of the table measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from depth_core.contracts import Intrinsics
from depth_core.errors import ConfigError
from depth_core.focal_options import FOCAL_OPTIONS
from depth_core.manifest import Manifest, read_manifest
from depth_core.runtime import Framing, Precision
from depth_core.runtime.backends import BackendRequest
from depth_core.runtime.engine import EngineOptions
from depth_core.runtime.sized_model import SizedModel, chosen_manifest
from depth_core.runtime.sizes import at_size, input_size

Loop: TypeAlias = Literal['predictor', 'raw']
"""What is called: `Predictor.predict`, or the runtime itself on an image that is ready for it."""


def stated_manifest(model: Path, manifest: str | None) -> Manifest:
    """What a graph takes and gives; a checkpoint is asked when it is open.

    Args:
        model: The ONNX file.
        manifest: Path of a manifest, or name of a preset; None for the graph's own.

    Raises:
        ConfigError: The manifest is not valid, there is no such preset, or the model is no graph.
        ModelError: The graph or its manifest is missing or corrupt.
    """
    return read_manifest(model) if manifest is None else chosen_manifest(manifest, model)


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What is measured."""

    model: Path
    manifest: str | None = None
    """Path of the manifest, or name of a preset, that counts in place of the graph's own."""
    backend: str
    precision: Precision
    threads: int | None
    image_height: int
    image_width: int
    frames: int
    """Calls that are measured, in all rounds together."""
    batch: int = 1
    """Images of one call."""
    camera: Intrinsics | None = None
    """Of the images; None where it is not given."""
    loop: Loop = 'predictor'
    device: str | None = None
    """By the name its runtime gives it; None takes the first."""
    cuda_graph: bool = False
    """Whether an engine replays its work as recorded."""
    name: str = ''
    """Of the model, where rows of several are measured: it stands before the label."""
    network_size: tuple[int, int] | None = None
    """Height and width inside, for a checkpoint that is compared with a graph; None takes those
    that the model is made for."""

    @property
    def label(self) -> str:
        """The name of the row: `openvino`, `openvino/bf16/2t`, `raw onnxruntime/x4`."""
        parts = [self.backend if self.loop == 'predictor' else f'{self.loop} {self.backend}']
        if self.precision != 'fp32':
            parts.append(self.precision)
        if self.threads is not None:
            parts.append(f'{self.threads}t')
        if self.batch > 1:
            parts.append(f'x{self.batch}')
        return f'{self.name} ' * bool(self.name) + '/'.join(parts)

    @property
    def wanted(self) -> BackendRequest:
        """What a backend is asked for."""
        return BackendRequest(
            path=self.model,
            manifest=None if self.manifest is None else self.stated(),
            precision=self.precision,
            threads=self.threads,
            device=self.device,
            engine=EngineOptions(max_batch=self._free_batch(), cuda_graph=self.cuda_graph),
        )

    @property
    def sized(self) -> BackendRequest:
        """The same at the size that a `Predictor` chooses for the images of the request.

        Raises:
            ModelError: The graph or its manifest is missing, corrupt or contradicts the other.
        """
        model = SizedModel(self.wanted, Framing())
        return model.request_for((self.image_height, self.image_width))

    def seen_by(self, manifest: Manifest) -> Manifest:
        """The manifest of a network that takes every size, at the one of these images."""
        return at_size(manifest, input_size(manifest, (self.image_height, self.image_width)))

    def stated(self) -> Manifest:
        """What the graph takes and gives, see `stated_manifest`."""
        return stated_manifest(self.model, self.manifest)

    def check_camera(self, manifest: Manifest) -> None:
        """Refuse to time a model that needs a camera without one.

        Raises:
            ConfigError: It needs one, and none is given.
        """
        if manifest.needs_intrinsics and self.camera is None:
            message = (
                f'{self.model} needs the focal length of the camera; give {FOCAL_OPTIONS}, any '
                'usual one: the time does not depend on it.'
            )
            raise ConfigError(message)

    def check_batch(self, manifest: Manifest) -> None:
        """Refuse a batch that the graph of `manifest` does not take at once.

        Raises:
            ConfigError: It takes another number of images.
        """
        taken = manifest.input.batch
        if self.batch in {1, taken} or taken == 0:
            return
        message = (
            f'{self.model} takes {taken} image{"s" if taken > 1 else ""} at once, and a batch of '
            f'{self.batch} is asked for; export it with --batch {self.batch}, or with --batch '
            'free for any number.'
        )
        raise ConfigError(message)

    def _free_batch(self) -> int:
        """Most images that an engine is built for; a graph of a fixed batch says it itself."""
        if self.batch == 1 or self.model.suffix != '.onnx':
            return 1
        return self.batch if self.stated().input.batch == 0 else 1
