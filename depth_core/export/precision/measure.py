# SPDX-License-Identifier: Apache-2.0
"""How far a graph of lower precision is from the one it was made from, and what is too far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, Float32Array, InputSpec, OutputSpec
from depth_core.data.sample import DepthDataset, known_camera
from depth_core.errors import DataError, ExportError
from depth_core.export.precision.image_sets import ImageSet, codes_of
from depth_core.manifest import ErrorSpread, GateError, PrecisionError
from depth_core.metrics import Align, MetricAccumulator, Protocol
from depth_core.runtime import Precision, Predictor
from depth_core.runtime.backends import Backend
from depth_core.runtime.differences import depth_scale, fractions, sigma_scale, spread_of
from depth_core.runtime.engine import gate
from depth_core.runtime.engine.answers import answer_all
from depth_core.runtime.parity_images import SEED

_ALIGNMENTS: Final[dict[DepthKind, Align]] = {
    DepthKind.METRIC: 'none',
    DepthKind.CANONICAL: 'none',
    DepthKind.UP_TO_SCALE: 'median',
    DepthKind.INVERSE: 'affine_inverse',
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest differences with which a graph is written, as fractions of the reference.

    They hold for depth and for sigma.
    """

    p999: float
    """Of 99.9 % of the pixels."""
    max: float
    """Of every pixel."""

    def or_noise(self, *noise: ErrorSpread, most: ErrorSpread) -> Limits:
        """Allow what noise of the image changes as well, and never more than `most` for that."""
        p999 = max(spread.p999 for spread in noise)
        largest = max(spread.max for spread in noise)
        return Limits(
            p999=max(self.p999, min(p999, most.p999)), max=max(self.max, min(largest, most.max))
        )


DEFAULT_LIMITS: Final = {
    'fp16': Limits(p999=0.03, max=0.1),
    'int8': Limits(p999=0.25, max=1.0),
}
"""`confidence` is the probability that the truth is within a factor of 1.25. In int8 all but one
pixel in a thousand keep to that factor, and none doubles. fp16 has three bits more, so that one
step is an eighth, and so, rounded down, are its limits; 3 % is less than the error of the best
networks.

Some networks answer some images in two ways, as a room or as a street, and noise decides. What
noise of one code in the image changes is therefore allowed as well, up to the limits that no
engine may pass: `gate.LIMITS`."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model answers on some images, one after the other."""

    depths: tuple[Float32Array, ...]
    """Each [H, W]."""
    sigmas: tuple[Float32Array, ...]
    """Each [H, W]; none when the model gives no sigma."""


def answers(backend: Backend, inputs: Iterable[NDArray[Any]]) -> Answers:
    """Run a model on batches that hold one image each."""
    depths, sigmas = [], []
    for value in inputs:
        depth, sigma = backend.run(value)
        depths.append(depth[0].copy())
        if sigma is not None:
            sigmas.append(sigma[0].copy())
    return Answers(depths=tuple(depths), sigmas=tuple(sigmas))


def noisy(images: ImageSet, spec: InputSpec) -> Iterator[NDArray[Any]]:
    """The same images with noise of one 8-bit code at every pixel: -1, 0 or 1, drawn anew."""
    generator = np.random.default_rng(SEED)
    for value in images.inputs:
        yield shaken(value, spec, generator)


def shaken(images: NDArray[Any], spec: InputSpec, generator: np.random.Generator) -> NDArray[Any]:
    """A batch with noise of one 8-bit code at every pixel: -1, 0 or 1."""
    noise = generator.integers(-1, 2, images.shape)
    if spec.dtype == 'uint8':
        return np.clip(images + noise, 0, 255).astype(np.uint8)
    step = spec.scale / np.array(spec.std)
    steps = step if spec.layout == 'NHWC' else step[:, None, None]
    return np.asarray((images + noise * steps).astype(np.float32))


def compare(
    expected: Answers, found: Answers, spec: OutputSpec
) -> tuple[ErrorSpread, ErrorSpread | None]:
    """Measure the relative difference of depth and of sigma at each pixel of all images.

    Returns:
        The differences of the depth, and those of sigma when there is one.

    Raises:
        ExportError: An answer is not finite.
    """
    sizes = [depth_scale(depth, spec) for depth in expected.depths]
    depths = map(_relative, expected.depths, found.depths, sizes, repeat('depth'))
    floors = [
        sigma_scale(sigma, size) for sigma, size in zip(expected.sigmas, sizes, strict=False)
    ]
    sigmas = map(_relative, expected.sigmas, found.sigmas, floors, repeat('sigma'))
    return spread_of(np.concatenate(list(depths))), (
        spread_of(np.concatenate(list(sigmas))) if floors else None
    )


def gate_error(reference: Backend, candidate: Backend, precision: Precision) -> GateError:
    """Compare as an engine will be compared, on the same images.

    Args:
        reference: The fp32 graph.
        candidate: What answers as a device of that precision would.
        precision: What it computes in.

    Raises:
        BackendError: An answer of the fp32 graph is not finite.
        ExportError: One of the converted graph is not: no engine of it would be served.
    """
    known = answer_all(reference, reference='the fp32 graph')
    rounded, noise = (
        gate.compare(backend, known, precision=precision, where={})
        for backend in (candidate, _Shaken(reference))
    )
    if rounded.depth is None or noise.depth is None:
        message = (
            f'on the images that engines are compared on {rounded.complaint or noise.complaint}; '
            'no engine of such a graph would be served, and nothing was written. Calibrate with '
            'images of your camera, or take another precision.'
        )
        raise ExportError(message)
    return GateError(
        depth=rounded.depth,
        sigma=rounded.sigma,
        noise_depth=noise.depth,
        noise_sigma=noise.sigma,
    )


class _Shaken:
    """A backend whose images are noisy by one code."""

    def __init__(self, backend: Backend) -> None:
        self.manifest = backend.manifest
        self._backend = backend
        self._generator = np.random.default_rng(SEED)

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        return self._backend.run(shaken(images, self.manifest.input, self._generator))


def abs_rel(backend: Backend, dataset: DepthDataset, protocol: Protocol) -> tuple[float, int]:
    """Score a model against ground truth, aligned as its kind of depth needs.

    Returns:
        Mean AbsRel over the images, and how many were scored.

    Raises:
        DataError: No image could be scored.
    """
    predictor = Predictor(backend, name='onnxruntime', path=Path(backend.manifest.name))
    scores = MetricAccumulator(protocol, align=_ALIGNMENTS[backend.manifest.output.kind])
    for index in range(len(dataset)):
        sample = dataset[index]
        window = slice(None), slice(None)
        if protocol.window is not None:
            top, left = protocol.window_origin(*sample.depth_m.shape)
            height, width = protocol.window
            window = slice(top, top + height), slice(left, left + width)
        camera = known_camera(sample, window)
        answer = predictor.predict(np.ascontiguousarray(codes_of(sample)[window]), camera)
        near, far = answer.depth_range
        depth = np.clip(answer.depth_m, near, far).astype(np.float32, copy=False)
        target, valid = sample.depth_m.numpy()[window], sample.valid.numpy()[window]
        scores.update(depth, target, valid, key=str(sample.key))
    evaluation = scores.result()
    if evaluation.mean is None:
        message = (
            f'none of the {len(dataset)} images with ground truth could be scored under protocol '
            f'{protocol.name!r}; check the truth and the protocol.'
        )
        raise DataError(message)
    return evaluation.mean.abs_rel, evaluation.images_scored


def check_limits(name: str, error: PrecisionError) -> None:
    """Refuse a graph that is too far from its reference.

    Raises:
        ExportError: With what was measured.
    """
    exceeded = [
        f'{output}: {what} {value:.3g}, allowed {allowed:.3g}'
        for output, spread in (('depth', error.depth), ('sigma', error.sigma))
        if spread is not None
        for what, value, allowed in (
            ('99.9 % of the pixels within', spread.p999, error.max_p999),
            ('largest', spread.max, error.max_max),
        )
        if not value <= allowed
    ]
    if exceeded:
        message = (
            f'{name} differs too much from the fp32 graph on {error.images}, as fractions of its '
            f'answer: {"; ".join(exceeded)}. Nothing was written. Calibrate with images of your '
            'camera, take another precision, or allow more with --max_error.'
        )
        raise ExportError(message)


def _relative(
    expected: Float32Array, found: Float32Array, size: Float32Array, name: str
) -> NDArray[np.float64]:
    for side, plane in (('fp32 graph', expected), ('converted graph', found)):
        if not np.isfinite(plane).all():
            message = (
                f'the {side} gives {name} that is not finite on the images of the comparison; '
                'nothing was written. A number of the graph leaves the range of the precision: '
                'calibrate with images like those that fail.'
            )
            raise ExportError(message)
    return fractions(expected, found, size).ravel()
