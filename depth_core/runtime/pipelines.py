# SPDX-License-Identifier: Apache-2.0
"""A network opened at the sizes that its cameras need; the last few are kept.

A camera does not change its size, so that its images find what they need open. Each size is a
backend of its own: runtimes plan memory and kernels for one.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from depth_core.contracts import Intrinsics
from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime.backends import (
    Backend,
    Closes,
    LimitsBatch,
    MeasuresCopies,
    ResizesImages,
    RunsNamed,
)
from depth_core.runtime.decoding import Answer, Decoder
from depth_core.runtime.extra_inputs import FrameCamera
from depth_core.runtime.framing import Framing
from depth_core.runtime.placement import Placement
from depth_core.runtime.preprocessing import Preprocessor
from depth_core.runtime.sizes import at_size, input_size, reflect_padding

MOST_OPEN: Final = 4
"""Sizes that are kept open; opening one more closes the one that was not used for longest."""

Size = tuple[int, int]
"""(height, width), pixels."""

_logger = logging.getLogger(__name__)


class Pipeline:
    """A backend at one size, and what brings images to it."""

    def __init__(self, backend: Backend, manifest: Manifest, *, padding: bool) -> None:
        self.backend = backend
        self.manifest = manifest
        """Of this size."""
        self.preprocess = Preprocessor(manifest, padding=padding)
        self.decode = Decoder(manifest)
        self.named = _by_name(backend, manifest)
        """The backend, where it takes or gives more than images and two planes."""
        stretches = manifest.input.resize == 'stretch' and self.named is None
        self.resizes = (
            backend.run_images if stretches and isinstance(backend, ResizesImages) else None
        )
        """Where the backend takes images of any size and stretches them itself."""
        self.largest_batch = backend.largest_batch if isinstance(backend, LimitsBatch) else None
        self.copies = backend if isinstance(backend, MeasuresCopies) else None
        self._last_seen: tuple[Placement, FrameCamera] | None = None

    def seen(
        self, cameras: Sequence[Intrinsics | None], placements: Sequence[Placement]
    ) -> list[FrameCamera | None]:
        """The camera of each image with that of the network's image, where they are used."""
        if not self.decode.uses_camera:
            return [None] * len(placements)
        return [
            None if camera is None else self._seen(camera, placement)
            for camera, placement in zip(cameras, placements, strict=True)
        ]

    def _seen(self, camera: Intrinsics, placement: Placement) -> FrameCamera:
        """One of them; the last is kept, cameras do not change."""
        if self._last_seen is not None:
            where, last = self._last_seen
            if where is placement and last.image == camera:
                return last
        found = FrameCamera(camera, placement.intrinsics(camera))
        self._last_seen = placement, found
        return found

    def run(self, taken: Any, seen: Sequence[FrameCamera | None]) -> Answer:  # noqa: ANN401  below
        """Compute a batch.

        Args:
            taken: What `preprocess` gave, or the images themselves where the backend `resizes`.
            seen: The camera of each image; a camera that an input needs is there.

        Raises:
            BackendError: The backend failed.
            ModelError: The outputs are not what the manifest says.
        """
        if self.resizes is not None:
            return Answer(*self.resizes(taken), {})
        if self.named is None:
            return Answer(*self.backend.run(taken), {})
        known = [camera for camera in seen if camera is not None]
        extra = self.named.extra_inputs.fill(known, len(taken))
        outputs = self.named.run_named({self.manifest.input.name: taken, **extra})
        return self.decode.answer(outputs, len(taken))


def _by_name(backend: Backend, manifest: Manifest) -> RunsNamed | None:
    if manifest.is_plain:
        return None
    if not isinstance(backend, RunsNamed):
        message = (
            f'{type(backend).__name__} takes images and gives depth and sigma alone, and '
            f'{manifest.name} has other inputs or outputs; use another backend.'
        )
        raise BackendError(message)
    return backend


def framed_size(manifest: Manifest, framing: Framing, height: int, width: int) -> Size:
    """The input size of a network that takes several, for images of `height` x `width`."""
    rows, columns = reflect_padding(height, width) if framing.padding else (0, 0)
    bordered = height + 2 * rows, width + 2 * columns
    return input_size(manifest, bordered, keep_aspect=framing.keep_aspect)


class Pipelines:
    """The pipelines of one network by the size of its input; not for several threads at once."""

    def __init__(
        self,
        first: Backend,
        manifest: Manifest,
        framing: Framing,
        reopen: Callable[[Size], Backend] | None = None,
    ) -> None:
        """Take the backend that is open, at the size that its own manifest states.

        Args:
            first: The backend.
            manifest: Of the network, with the rule by which its size is chosen.
            framing: How images are brought to the network.
            reopen: Opens it at another size, or gives the same one where it takes every size;
                None when it has only this one.
        """
        self.manifest = framing.applied_to(manifest, any_size=reopen is not None)
        """Of the network, before a camera has chosen its size."""
        self._framing = framing
        self._reopen = reopen
        self._open: OrderedDict[Size, Pipeline] = OrderedDict()
        self._last_chosen: tuple[Size, Size] | None = None
        self.current = self._keep(_size_of(first.manifest), first)
        """The one in use, or used last."""

    def for_image(self, height: int, width: int) -> Pipeline:
        """The pipeline for images of `height` x `width`, opened where it is not.

        Raises:
            BackendError: It cannot be opened at the size of these images.
            ModelError: The graph does not take this size.
        """
        size = self.size_for(height, width)
        if size not in self._open:
            _logger.info(
                'images of %dx%d: %s is opened at %dx%d',
                *(height, width, self.manifest.name, *size),
            )
            self.current = self._opened(size)
        elif self._open[size] is not self.current:
            self._open.move_to_end(size)
            self.current = self._open[size]
        return self.current

    def size_for(self, height: int, width: int) -> Size:
        """The input size for images of `height` x `width`."""
        if self._reopen is None:
            return self.current.preprocess.size
        if self._last_chosen is None or self._last_chosen[0] != (height, width):
            chosen = framed_size(self.manifest, self._framing, height, width)
            self._last_chosen = (height, width), chosen
        return self._last_chosen[1]

    def close(self) -> None:
        """Close all of them; no call may follow."""
        while self._open:
            self._close_oldest()

    def _opened(self, size: Size) -> Pipeline:
        while len(self._open) >= MOST_OPEN:  # before, for there may be no memory for one more
            self._close_oldest()
        assert self._reopen is not None  # noqa: S101  else there is one size
        return self._keep(size, self._reopen(size))

    def _keep(self, size: Size, backend: Backend) -> Pipeline:
        fixed = at_size(self.manifest, size)
        pipeline = Pipeline(backend, fixed, padding=self._framing.padding)
        self._open[size] = pipeline
        return pipeline

    def _close_oldest(self) -> None:
        _, oldest = self._open.popitem(last=False)
        shared = any(other.backend is oldest.backend for other in self._open.values())
        if isinstance(oldest.backend, Closes) and not shared:
            oldest.backend.close()


def _size_of(manifest: Manifest) -> Size:
    return manifest.input.height, manifest.input.width
