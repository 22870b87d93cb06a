# SPDX-License-Identifier: Apache-2.0
"""A model file whose input size may follow from the camera, and how it is opened at one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from depth_core.errors import ConfigError, ModelError
from depth_core.files import state_of
from depth_core.manifest import Manifest, read_manifest
from depth_core.presets import find
from depth_core.runtime.backends import (
    BACKENDS,
    Backend,
    BackendRequest,
    OpenedBackend,
    open_warm,
)
from depth_core.runtime.fixed_shapes import leaves_size_free
from depth_core.runtime.framing import Framing
from depth_core.runtime.pipelines import Size, framed_size
from depth_core.runtime.weights_beside import refuse_missing_weights


class SizedModel:
    """What is known of the sizes of a model before a backend has it."""

    def __init__(self, request: BackendRequest, framing: Framing) -> None:
        """Look at the file of a graph; what a checkpoint takes its backend knows.

        Args:
            request: The model and how to run it, at its usual size.
            framing: How images are brought to the network.

        Raises:
            ConfigError: The manifest is not valid.
            ModelError: The file is missing or corrupt, or its manifest states a rule for the size
                of a graph that has only one.
        """
        self._request = request
        self._state = state_of(request.path)
        self._framing = framing
        self.manifest: Manifest | None = None
        """Of a graph; None for a checkpoint."""
        self._follows = False
        if request.path.suffix != '.onnx':
            return
        refuse_missing_weights(request.path)  # runtimes read what older versions of them allow
        self.manifest = manifest = request.manifest_of(request.path)
        rule = manifest.input.size
        if rule is None and not framing.keep_aspect:
            return
        self._follows = leaves_size_free(request.path, manifest.input)
        if rule is not None and not self._follows:
            message = (
                f'{request.path} takes images of one size alone, and the manifest states a rule '
                f'for it (input.size: {rule.mode} {rule.target}); state that size as fixed, with '
                'resize letterbox where the aspect is to be kept.'
            )
            raise ModelError(message)

    def request_for(self, image: Size | None) -> BackendRequest:
        """The request for images of (height, width) `image`; None for those of the usual size."""
        if image is None or self.manifest is None or not self._follows:
            return self._request
        return replace(self._request, size=framed_size(self.manifest, self._framing, *image))

    def reopener(self, opened: OpenedBackend) -> Callable[[Size], Backend] | None:
        """What opens the backend at another size; None when it has only one."""
        if BACKENDS[opened.name].any_size:
            return lambda _: opened.backend
        if not self._follows:
            return None

        def reopen(size: Size) -> Backend:
            if state_of(self._request.path) != self._state:
                message = (
                    f'{self._request.path} was changed after it was opened, and cannot be opened '
                    f'at {size[0]}x{size[1]} as what it was; open the model again.'
                )
                raise ModelError(message)
            return open_warm(opened.name, replace(opened.request, size=size))

        return reopen


def chosen_manifest(manifest: Manifest | Path | str, model: Path) -> Manifest:
    """The manifest that is to count for a graph.

    Args:
        manifest: The manifest itself, its path, or the name of a preset.
        model: The file it is for.

    Raises:
        ConfigError: The manifest is not valid, there is no preset of this name, or the model is
            a checkpoint, which says itself what it is.
        ModelError: The file of the manifest is missing.
    """
    if model.suffix != '.onnx':
        message = f'{model} is no ONNX graph, and takes no manifest; leave it out.'
        raise ConfigError(message)
    return manifest if isinstance(manifest, Manifest) else read_manifest(find(manifest))
