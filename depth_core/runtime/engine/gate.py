# SPDX-License-Identifier: Apache-2.0
"""Whether an engine answers as the graph that it was built from.

Builders have made engines that run, and are wrong: whole networks that answer nonsense in fp16 on
one version of TensorRT. So each engine answers known images before it answers a camera's, one by
one and in batches, and every pixel of depth and of sigma is compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.manifest import ErrorSpread, Manifest, plain
from depth_core.runtime.backends.base import Backend, LimitsBatch, Precision, ResizesImages
from depth_core.runtime.differences import depth_scale, fractions, sigma_scale, spread_of
from depth_core.runtime.engine.answers import Answers
from depth_core.runtime.preprocessing import Preprocessor

LIMITS: Final[Mapping[Precision, ErrorSpread]] = {
    # Runtimes add in another order: between two of them on the processor the small networks were
    # 3e-7 to 6e-6 off on average, and at one pixel up to 5e-4 where edges of depth are sharp. The
    # fast convolutions of GPUs round some ten times more. TF32, which keeps ten bits and was not
    # asked for, is off by 3e-4 on average, as fp16 is.
    'fp32': ErrorSpread(mean=1e-4, p999=5e-3, max=5e-2),
    # Rounding after every node takes networks with random weights up to 6e-3 off on average on
    # the worst image, 3e-2 at 0.1 % of its pixels, 4e-2 at one. Three to four times that, seven
    # at one pixel, for another order of sums; nonsense is off by more than a tenth everywhere.
    'fp16': ErrorSpread(mean=2e-2, p999=1e-1, max=3e-1),
    # bf16 is eight times coarser, and pixels move by 1.6 to 6 % on average between good networks
    # in int8 and their originals.
    'bf16': ErrorSpread(mean=1e-1, p999=6e-1, max=2.0),
    'int8': ErrorSpread(mean=1e-1, p999=6e-1, max=2.0),
}
"""Most that an engine may differ on any image, where its graph does not say what its precision
costs on these images."""

FACTOR: Final = 4.0
"""An engine adds in another order than the emulation that the manifest's numbers come from."""
_AT_LEAST: Final = 2.0
"""Times the measured error that are allowed in any case."""

RESIZED_MEAN: Final = 5e-2
"""Of the depth: the device's resizing may give codes one off, which a network answers with a
fraction of a percent; swapped colours or shifted pixels change much more."""

_LARGEST_BATCH: Final = 16
"""Batches are compared up to this size."""


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """How far the answers of an engine were from those of its graph."""

    passed: bool
    complaint: str
    """What differs by how much; empty when nothing does."""
    depth: ErrorSpread | None
    """Largest of all comparisons, as fractions of the depth; None where it is not finite."""
    sigma: ErrorSpread | None
    """As fractions of sigma; also None when the graph gives none."""
    depth_limit: ErrorSpread
    sigma_limit: ErrorSpread
    images: int
    batch: int
    """Most images in one call that were compared."""
    reference: str
    """What gave the answers that were expected."""
    where: Mapping[str, str]
    """TensorRT, GPU and driver that the engine ran on."""

    @property
    def summary(self) -> str:
        """The result in a few words, for logs and tables."""
        if self.depth is None:
            return self.complaint
        text = f'depth within {self.depth.max:.2g} (mean {self.depth.mean:.2g})'
        if self.sigma is not None:
            text += f', sigma within {self.sigma.max:.2g} (mean {self.sigma.mean:.2g})'
        return f'{text} of {self.reference}'

    def to_mapping(self) -> dict[str, Any]:
        """Return the report in the types that reading its JSON gives back."""
        report: dict[str, Any] = plain(self)
        return report


def recorded_result(
    parity: Mapping[str, Any] | None,
    manifest: Manifest,
    *,
    precision: Precision,
    where: Mapping[str, str],
) -> bool | None:
    """Whether an engine passed, by the mapping of an earlier report.

    Returns:
        None when it has to be compared again: there is no report, or it is of another GPU, driver
        or TensorRT, or was held to other limits.
    """
    depth, sigma = limits_of(manifest, precision)
    same = {'depth_limit': plain(depth), 'sigma_limit': plain(sigma), 'where': dict(where)}
    if parity is None or any(parity.get(key) != value for key, value in same.items()):
        return None
    return parity.get('passed') is True


def limits_of(manifest: Manifest, precision: Precision) -> tuple[ErrorSpread, ErrorSpread]:
    """Most that depth and sigma of an engine of the graph of `manifest` may differ.

    Where the manifest states what the precision costs this network on these images, that times
    `FACTOR`, but no less than fp32 is granted or noise of one code in the image changes, and no
    more than `LIMITS` unless the precision costs this network more.

    Args:
        manifest: Of the graph that the engine is built from.
        precision: What it computes in.
    """
    error, ceiling = manifest.precision_error, _ceiling(manifest, precision)
    if error is None or error.gate is None:
        return ceiling, ceiling
    measured = error.gate
    return (
        _limit(measured.depth, measured.noise_depth, ceiling),
        _limit(measured.sigma, measured.noise_sigma, ceiling),
    )


def _ceiling(manifest: Manifest, precision: Precision) -> ErrorSpread:
    """The limits of the precision, as far as the manifest does not ask for less."""
    limit, check = LIMITS[precision], manifest.graph.selfcheck
    if check is None:
        return limit
    return ErrorSpread(
        mean=min(limit.mean, check.rtol),
        p999=min(limit.p999, check.rtol),
        max=min(limit.max, check.rtol),
    )


def compare(
    engine: Backend, answers: Answers, *, precision: Precision, where: Mapping[str, str]
) -> GateReport:
    """Let `engine` answer the images of `answers`, and compare.

    Args:
        engine: A backend ready to run.
        answers: What it should answer.
        precision: What it computes in.
        where: TensorRT, GPU and driver that it runs on.

    Raises:
        BackendError: The engine failed to run.
    """
    manifest = engine.manifest
    depth_limit, sigma_limit = limits_of(manifest, precision)
    depth = _Comparison('depth', depth_limit)
    sigma = _Comparison('sigma', sigma_limit)
    largest = 1
    for found in _runs(engine, answers.images):
        largest = max(largest, found.batch)
        expected_depth, expected_sigma = answers.at(found.indices)
        scale = np.stack([depth_scale(plane, manifest.output) for plane in expected_depth])
        depth.update(found.how, expected_depth, answers.sample(found.depth), scale)
        if expected_sigma is None:
            continue
        if found.sigma is None:
            sigma.fail('gives no sigma')
            continue
        scale = sigma_scale(expected_sigma, scale)
        sigma.update(found.how, expected_sigma, answers.sample(found.sigma), scale)
    complaints = [*depth.complaints(), *sigma.complaints()]
    complaints += _resized_complaints(engine, answers.images)
    return GateReport(
        passed=not complaints,
        complaint='; '.join(complaints),
        depth=depth.largest,
        sigma=sigma.largest,
        depth_limit=depth_limit,
        sigma_limit=sigma_limit,
        images=len(answers.images),
        batch=largest,
        reference=answers.reference,
        where=dict(where),
    )


@dataclass(frozen=True)
class _Run:
    """One answer of the engine."""

    how: str
    batch: int
    indices: list[int]
    """Images that the rows of the answer belong to."""
    depth: Float32Array
    sigma: Float32Array | None


def _runs(engine: Backend, images: Uint8Array) -> Iterator[_Run]:
    """Every image alone, every image in a batch, and as the camera gives it."""
    manifest = engine.manifest
    prepare = _prepared(manifest)
    inputs = [prepare(image) for image in images]
    fixed = manifest.input.batch
    largest = engine.largest_batch if isinstance(engine, LimitsBatch) else len(inputs)
    together = fixed or min(largest, _LARGEST_BATCH)
    for index, one in enumerate(inputs):
        indices = [index] * max(fixed, 1)
        depth, sigma = engine.run(np.concatenate([one] * len(indices)))
        yield _Run('', len(indices), indices, depth, sigma)
    if together > 1:
        for indices in _batches(len(inputs), together):
            depth, sigma = engine.run(np.concatenate([inputs[index] for index in indices]))
            yield _Run(f'in a batch of {together}', together, indices, depth, sigma)
    if isinstance(engine, ResizesImages):
        for index, image in enumerate(images):
            depth, sigma = engine.run_images([np.ascontiguousarray(image)])
            yield _Run('when it takes the pixels itself', 1, [index], depth[:1], _first(sigma))


def _batches(count: int, size: int) -> Iterator[list[int]]:
    """Rows of `size` images of `count`, in which every image has its place."""
    cycle = itertools.cycle(range(count))
    for _ in range(-(-count // size)):
        yield list(itertools.islice(cycle, size))


def _prepared(manifest: Manifest) -> Callable[[Uint8Array], NDArray[Any]]:
    preprocess = Preprocessor(manifest)
    return lambda image: np.array(preprocess([image])[:1])


def _resized_complaints(engine: Backend, images: Uint8Array) -> Sequence[str]:
    """What is wrong with how the engine resizes a larger picture itself."""
    if not isinstance(engine, ResizesImages):
        return ()
    picture = np.ascontiguousarray(images[0].repeat(2, axis=0).repeat(2, axis=1))
    inputs = _prepared(engine.manifest)(picture)
    expected, _ = engine.run(np.concatenate([inputs] * max(engine.manifest.input.batch, 1)))
    expected = np.array(expected[:1])
    found, _ = engine.run_images([picture])
    scale = depth_scale(expected[0], engine.manifest.output)
    mean = float(fractions(expected[0], found[0], scale).mean())
    if mean <= RESIZED_MEAN:
        return ()
    how = 'on average when it resizes the image itself'
    return (f'depth differs by {mean:.3g} {how} (at most {RESIZED_MEAN:g})',)


class _Comparison:
    """The largest differences seen of one output, and those that are too large."""

    def __init__(self, name: str, limit: ErrorSpread) -> None:
        self.name = name
        self.largest: ErrorSpread | None = None
        self._limit = limit
        self._worst: dict[str, ErrorSpread] = {}
        self._failures: dict[str, str] = {}
        self._is_finite = True

    def fail(self, complaint: str) -> None:
        """Note what is wrong otherwise."""
        self._failures.setdefault(complaint, complaint)
        self._is_finite, self.largest = False, None

    def update(
        self, how: str, expected: Float32Array, found: Float32Array, scale: Float32Array
    ) -> None:
        """Compare one answer, all [N, H, W]."""
        if found.shape != expected.shape:
            shapes = f'{list(found.shape)} instead of {list(expected.shape)}'
            self.fail(f'gives {self.name} of shape {shapes} {how}'.rstrip())
            return
        wrong = int(np.count_nonzero(~np.isfinite(found)))
        if wrong:
            share = f'{wrong} of {found.size} pixels'
            self.fail(f'gives {self.name} that is not finite {how}'.rstrip() + f' ({share})')
            return
        for image in fractions(expected, found, scale):
            spread = spread_of(image)
            self._worst[how] = _larger(self._worst.get(how), spread)
            if self._is_finite:
                self.largest = _larger(self.largest, spread)

    def complaints(self) -> list[str]:
        """What is too large, in words."""
        found = [f'it {failure}' for failure in self._failures]
        for how, spread in self._worst.items():
            exceeded = [
                f'{getattr(spread, key):.3g} {words} (at most {getattr(self._limit, key):.3g})'
                for key, words in _WORDS.items()
                if not getattr(spread, key) <= getattr(self._limit, key)
            ]
            if exceeded:
                found.append(
                    f'{self.name} differs {how} by '.replace('  ', ' ') + ', '.join(exceeded)
                )
        return found


_WORDS: Final = {'mean': 'on average', 'p999': 'at 0.1 % of the pixels', 'max': 'at most'}


def _larger(one: ErrorSpread | None, other: ErrorSpread) -> ErrorSpread:
    if one is None:
        return other
    return ErrorSpread(
        mean=max(one.mean, other.mean),
        p999=max(one.p999, other.p999),
        max=max(one.max, other.max),
    )


def _limit(
    measured: ErrorSpread | None, noise: ErrorSpread | None, ceiling: ErrorSpread
) -> ErrorSpread:
    if measured is None or noise is None:
        return ceiling
    least = LIMITS['fp32']

    def one(key: str) -> float:
        error, tipped = getattr(measured, key), getattr(noise, key)
        wanted = max(getattr(least, key), FACTOR * error, tipped)
        return float(min(wanted, max(getattr(ceiling, key), _AT_LEAST * error)))

    return ErrorSpread(mean=one('mean'), p999=one('p999'), max=one('max'))


def _first(sigma: Float32Array | None) -> Float32Array | None:
    return None if sigma is None else sigma[:1]
