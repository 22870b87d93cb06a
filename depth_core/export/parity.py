# SPDX-License-Identifier: Apache-2.0
"""Whether a graph answers as the network it came from, on `parity_images`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, OutputSpec, Uint8Array
from depth_core.errors import ExportError
from depth_core.manifest import Manifest, Parity
from depth_core.runtime.backends import Backend
from depth_core.runtime.parity_images import SEED, parity_images

TOLERANCE: Final = 1e-3
"""Largest difference as a fraction of the depth. Two fp32 runtimes differ by the order of their
sums, some 1e-5 over a deep network; a graph that is wrong differs by a tenth and more."""


_TOGETHER: Final = 3
"""Images in the batch that a graph of free batch is proven on."""

Answer: TypeAlias = tuple[Float32Array, Float32Array | None]
"""Depth and sigma, as a backend gives them."""


class Recorder:
    """A backend whose answers are kept, so that an image need not be answered again."""

    def __init__(self, backend: Backend) -> None:
        self.manifest = backend.manifest
        self._backend = backend
        self._answers: dict[bytes, Answer] = {}

    def run(self, images: NDArray[Any]) -> Answer:
        """Compute a batch."""
        depth, sigma = self._backend.run(images)
        for place, image in enumerate(images):
            own = None if sigma is None else sigma[place].copy()
            self._answers[_digest(image)] = (depth[place].copy(), own)
        return depth, sigma

    def replay(self) -> Backend:
        """A backend that computes only what it has not computed before."""
        return _Replay(self.manifest, self, self._answers)


@dataclass(frozen=True)
class _Replay:
    manifest: Manifest
    recorder: Recorder
    answers: Mapping[bytes, Answer]

    def run(self, images: NDArray[Any]) -> Answer:
        digests = [_digest(image) for image in images]
        if not self.answers.keys() >= set(digests):
            return self.recorder.run(images)
        found = [self.answers[digest] for digest in digests]
        sigmas = [sigma for _, sigma in found if sigma is not None]
        return np.stack([depth for depth, _ in found]), np.stack(sigmas) if sigmas else None


def _digest(image: NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


def measure_parity(
    reference: Backend,
    candidate: Backend,
    *others: Backend,
    seed: int = SEED,
    places: Sequence[int] | None = None,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Compare two backends on `parity_images` of the candidate's size, or of several.

    The reference sees one image at a time. A candidate sees as many as its batch is; where that
    is free it sees three together and others alone, so that both are proven.

    Args:
        reference: What the answer should be; it takes images of all these sizes.
        candidate: What is to be proven; it takes uint8 RGB, NHWC, as our graphs do.
        others: The same, opened at other sizes.
        seed: Seed of the images.
        places: Which of the images; None for all of them.
        tolerance: Largest difference allowed, as a fraction of the reference's depth.

    Returns:
        What was measured.

    Raises:
        ExportError: An answer is not finite, or a difference is above `tolerance`.
    """
    depth, sigma = _Difference('depth'), _Difference('sigma')
    digest = hashlib.sha256()
    sizes = []
    count = 0
    for sized in (candidate, *others):
        spec = sized.manifest.input
        images = parity_images(seed=seed, height=spec.height, width=spec.width)
        images = images if places is None else images[list(places)]
        digest.update(images.tobytes())
        sizes.append((spec.height, spec.width))
        count += len(images)
        _compare(reference, sized, images, (depth, sigma))
    differing = [str(item) for item in (depth, sigma) if not item.largest_rel <= tolerance]
    if differing:
        name = candidate.manifest.name
        message = (
            f'the exported graph does not answer as {name} does: {"; ".join(differing)}, '
            f'on {count} images of seed {seed}; at most {tolerance:g} of the depth is '
            'allowed. Nothing was written. Try another version of torch or onnxscript, or find '
            'the layer that differs.'
        )
        raise ExportError(message)
    return Parity(
        images=count,
        seed=seed,
        inputs_sha256=digest.hexdigest(),
        depth_max_abs=depth.largest_abs,
        depth_max_rel=depth.largest_rel,
        sigma_max_abs=sigma.largest_abs,
        sigma_max_rel=sigma.largest_rel,
        tolerance=tolerance,
        sizes=tuple(sizes) if len(sizes) > 1 else (),
    )


def _compare(
    reference: Backend,
    candidate: Backend,
    images: Uint8Array,
    differences: tuple[_Difference, _Difference],
) -> None:
    """Take note of how depth and sigma of `candidate` differ on `images`."""
    depth, sigma = differences
    manifest = candidate.manifest
    expected = [_copied(reference.run(image[None])) for image in images]
    for group in _groups(len(images), manifest.input.batch):
        found_depth, found_sigma = candidate.run(images[list(group)])
        for place, image in enumerate(group):
            expected_depth, expected_sigma = expected[image]
            # Near zero a fraction says nothing; no depth below min_depth is ever stated.
            size = np.maximum(np.abs(expected_depth), _floor(manifest.output))
            depth.update(expected_depth, found_depth[place], size)
            if expected_sigma is not None and found_sigma is not None:
                sigma.update(expected_sigma, found_sigma[place], size)


def _groups(images: int, batch: int) -> list[tuple[int, ...]]:
    """Which images are answered together: each at least once, one both in company and alone."""
    if batch == 0:
        together = tuple(range(min(_TOGETHER, images)))
        return [together, *((image,) for image in (0, *range(_TOGETHER, images)))]
    starts = range(0, images, batch)
    return [tuple((start + place) % images for place in range(batch)) for start in starts]


def _copied(answer: Answer) -> Answer:
    """One image of what a backend gave, in memory that its next run does not write to."""
    depth, sigma = answer
    return depth[0].copy(), None if sigma is None else sigma[0].copy()


@dataclass
class _Difference:
    """The largest difference seen of one output."""

    name: str
    largest_abs: float = 0.0
    largest_rel: float = 0.0

    def update(self, expected: Float32Array, found: Float32Array, size: Float32Array) -> None:
        for side, plane in (('network', expected), ('graph', found)):
            if not np.isfinite(plane).all():
                message = (
                    f'the {side} gives {self.name} that is not finite; such a model cannot be '
                    'proven or used: check its training.'
                )
                raise ExportError(message)
        difference = np.abs(found.astype(np.float64) - expected)
        self.largest_abs = max(self.largest_abs, float(difference.max()))
        self.largest_rel = max(self.largest_rel, float((difference / size).max()))

    def __str__(self) -> str:
        return f'{self.name} differs by up to {self.largest_rel:.3g} ({self.largest_abs:.3g})'


def _floor(spec: OutputSpec) -> np.float32:
    return np.float32(spec.min_depth)
