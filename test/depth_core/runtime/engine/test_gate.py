# SPDX-License-Identifier: Apache-2.0
"""The parity gate: engines that are wrong in one way each, and those that only round."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from depth_core.contracts import DepthKind, Float32Array, InputSpec, OutputSpec, Uint8Array
from depth_core.errors import ConfigError
from depth_core.manifest import (
    ErrorSpread,
    GateError,
    GraphSection,
    Manifest,
    PrecisionError,
    SelfCheck,
)
from depth_core.runtime.backends.base import Precision
from depth_core.runtime.engine.answers import Answers
from depth_core.runtime.engine.gate import (
    LIMITS,
    GateReport,
    compare,
    limits_of,
    recorded_result,
)
from depth_core.runtime.parity_images import parity_images

pytestmark = pytest.mark.numeric

HEIGHT, WIDTH = 32, 48
MANIFEST = Manifest(
    name='plain',
    input=InputSpec(height=HEIGHT, width=WIDTH),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0),
)
WHERE = {'tensorrt': 'tensorrt 10.3.0', 'gpu': 'a GPU'}
IMAGES = parity_images(seed=1, height=HEIGHT, width=WIDTH)

Planes = tuple[Float32Array, Float32Array]
Fault = Callable[[Float32Array, Float32Array], None]


def answer(images: Uint8Array) -> Planes:
    """2 to 12 m by the first colour, sigma a twentieth of it."""
    depth = 2.0 + images[..., 0].astype(np.float32) / 25.5
    return depth.astype(np.float32), (0.05 * depth).astype(np.float32)


EXPECTED = Answers(
    images=IMAGES, depth=answer(IMAGES)[0], sigma=answer(IMAGES)[1], reference='a formula'
)


def right(depth: Float32Array, sigma: Float32Array) -> None:
    del depth, sigma


@dataclass
class Engine:
    """Answers as it should, but for one fault."""

    fault: Fault = right
    together: Fault = right
    """A fault of batches only."""
    manifest: Manifest = MANIFEST
    largest_batch: int = 1
    batches: list[int] = field(default_factory=list)

    def run(self, images: Any) -> Planes:
        self.batches.append(len(images))
        depth, sigma = answer(images)
        self.fault(depth, sigma)
        if len(images) > 1:
            self.together(depth, sigma)
        return depth, sigma


def report_of(engine: Any, precision: Precision = 'fp16') -> GateReport:
    return compare(engine, EXPECTED, precision=precision, where=WHERE)


def test_an_engine_that_answers_as_its_graph_passes() -> None:
    report = report_of(Engine())
    assert report.passed
    assert report.complaint == ''
    assert report.depth == report.sigma == ErrorSpread(mean=0.0, p999=0.0, max=0.0)
    assert (report.images, report.batch, report.reference) == (5, 1, 'a formula')
    assert report.summary == 'depth within 0 (mean 0), sigma within 0 (mean 0) of a formula'


def test_what_is_measured_is_stated() -> None:
    def one_pixel(depth: Float32Array, sigma: Float32Array) -> None:
        depth[0, 3, 5] *= 1.05
        sigma *= 1.002

    report = report_of(Engine(one_pixel))
    assert report.passed
    assert report.depth is not None
    assert report.sigma is not None
    pixels = HEIGHT * WIDTH
    assert report.depth.max == pytest.approx(0.05, rel=1e-4)
    assert report.depth.mean == pytest.approx(0.05 / pixels, rel=1e-4)
    assert report.depth.p999 == 0.0 or report.depth.p999 < 0.05
    assert report.sigma.mean == pytest.approx(0.002, rel=1e-3)


def one_corner(depth: Float32Array, sigma: Float32Array) -> None:
    del sigma
    depth[:, -4:, -4:] *= 1.2


def one_pixel_of_one(depth: Float32Array, sigma: Float32Array) -> None:
    del sigma
    depth[0, -1, -1] *= 0.5


def not_a_number(depth: Float32Array, sigma: Float32Array) -> None:
    del sigma
    depth[0, 3, 5] = np.nan


def overflow(depth: Float32Array, sigma: Float32Array) -> None:
    del depth
    sigma[:] = np.inf


def sigma_only(depth: Float32Array, sigma: Float32Array) -> None:
    del depth
    sigma *= 1.1


def nothing(depth: Float32Array, sigma: Float32Array) -> None:
    del sigma
    depth[:] = 0.0


def a_little_everywhere(depth: Float32Array, sigma: Float32Array) -> None:
    del sigma
    depth *= 1.03


def shifted(depth: Float32Array, sigma: Float32Array) -> None:
    depth[:], sigma[:] = np.roll(depth, 1, axis=2), np.roll(sigma, 1, axis=2)


@pytest.mark.parametrize(
    ('fault', 'said'),
    [
        (one_corner, 'depth differs by .*0.2 at 0.1 % of the pixels'),
        (one_pixel_of_one, 'depth differs by 0.5 at most [(]at most 0.3[)]'),
        (not_a_number, r'gives depth that is not finite \(1 of 1536 pixels\)'),
        (overflow, 'gives sigma that is not finite .1536 of 1536'),
        (sigma_only, 'sigma differs by 0.1 on average .at most 0.02.'),
        (nothing, 'depth differs by 1 on average'),
        (a_little_everywhere, 'depth differs by 0.03 on average'),
        (shifted, 'depth differs'),
    ],
    ids=lambda item: getattr(item, '__name__', ''),
)
def test_an_engine_that_is_wrong_is_refused_with_how_much(fault: Fault, said: str) -> None:
    report = report_of(Engine(fault))
    assert not report.passed
    assert re.search(said, report.complaint), report.complaint


def test_a_fault_of_batches_is_found_and_named() -> None:
    manifest = dataclasses.replace(MANIFEST, input=dataclasses.replace(MANIFEST.input, batch=0))

    def second(depth: Float32Array, sigma: Float32Array) -> None:
        del sigma
        depth[1] = depth[0]

    engine = Engine(together=second, manifest=manifest, largest_batch=3)
    report = report_of(engine)
    assert 'depth differs in a batch of 3 by' in report.complaint
    assert report.batch == 3
    assert engine.batches == [1] * 5 + [3] * 2  # each alone, and each in a batch
    assert report_of(Engine(manifest=manifest, largest_batch=3)).passed


def test_a_fixed_batch_is_filled() -> None:
    manifest = dataclasses.replace(MANIFEST, input=dataclasses.replace(MANIFEST.input, batch=4))
    engine = Engine(manifest=manifest)
    assert report_of(engine).passed
    assert set(engine.batches) == {4}


@dataclass
class Resizing(Engine):
    """Takes images of any size itself."""

    swaps: bool = False
    shifts: bool = False

    def run_images(self, images: Sequence[Uint8Array]) -> Planes:
        steps = [image.shape[0] // HEIGHT for image in images]
        kept = [image[::step, ::step] for image, step in zip(images, steps, strict=True)]
        batch = np.stack(kept)
        if self.swaps:
            batch = batch[..., ::-1]
        if self.shifts and max(steps) > 1:
            batch = np.roll(batch, HEIGHT // 4, axis=1)
        return answer(batch)


def test_what_the_engine_does_with_pixels_itself_is_compared() -> None:
    assert report_of(Resizing()).passed
    swapped = report_of(Resizing(swaps=True))
    assert 'depth differs when it takes the pixels itself by' in swapped.complaint
    shifted_ones = report_of(Resizing(shifts=True))
    assert 'when it resizes the image itself' in shifted_ones.complaint


def test_an_engine_that_lost_its_sigma_is_refused() -> None:
    class WithoutSigma(Engine):
        def run(self, images: Any) -> Any:
            return answer(images)[0], None

    report = report_of(WithoutSigma())
    assert report.complaint == 'it gives no sigma'
    assert report.sigma is None


def test_a_graph_without_sigma_needs_none() -> None:
    expected = dataclasses.replace(EXPECTED, sigma=None)
    report = compare(Engine(), expected, precision='fp32', where=WHERE)
    assert report.passed
    assert report.sigma is None


def test_another_shape_is_refused() -> None:
    class Half(Engine):
        def run(self, images: Any) -> Planes:
            depth, sigma = answer(images)
            return depth[:, ::2], sigma[:, ::2]

    assert 'gives depth of shape [1, 16, 48] instead of [1, 32, 48]' in report_of(Half()).complaint


def test_below_the_least_depth_a_fraction_is_one_of_that() -> None:
    def raise_a_little(depth: Float32Array, sigma: Float32Array) -> None:
        del sigma
        depth += 0.001

    expected = dataclasses.replace(EXPECTED, depth=np.zeros_like(EXPECTED.depth))

    class Zero(Engine):
        def run(self, images: Any) -> Planes:
            depth, sigma = answer(images)
            return np.full_like(depth, 0.001), sigma

    report = compare(Zero(raise_a_little), expected, precision='fp16', where=WHERE)
    assert report.depth is not None
    assert report.depth.max == pytest.approx(0.002, rel=1e-5)  # of 0.5 m


def test_far_away_a_fraction_of_inverse_depth_is_one_of_the_nearest() -> None:
    output = dataclasses.replace(MANIFEST.output, kind=DepthKind.INVERSE)
    manifest = dataclasses.replace(MANIFEST, output=output)
    inverse = np.full_like(EXPECTED.depth, 1e-6)
    inverse[:, 0, 0] = 4.0

    class Far(Engine):
        def run(self, images: Any) -> Planes:
            found = inverse[: len(images)].copy()
            found[:, 5, 5] += 0.001
            return found, answer(images)[1]

    expected = dataclasses.replace(EXPECTED, depth=inverse, sigma=None)
    report = compare(Far(manifest=manifest), expected, precision='fp16', where=WHERE)
    assert report.passed
    assert report.depth is not None
    assert report.depth.max == pytest.approx(0.001 / 0.04, rel=1e-4)  # of 1 % of the nearest


@pytest.mark.parametrize(('found', 'passed'), [(0.0, True), (0.5, False)])
def test_an_image_that_is_endlessly_far_away_can_be_compared(found: float, passed: bool) -> None:
    output = dataclasses.replace(MANIFEST.output, kind=DepthKind.INVERSE, sigma=None)
    zeros = np.zeros_like(EXPECTED.depth)

    class Far(Engine):
        def run(self, images: Any) -> Any:
            return np.full_like(zeros[: len(images)], found), None

    engine = Far(manifest=dataclasses.replace(MANIFEST, output=output))
    expected = dataclasses.replace(EXPECTED, depth=zeros, sigma=None)
    report = compare(engine, expected, precision='fp16', where=WHERE)
    assert report.passed is passed
    assert json.loads(json.dumps(report.to_mapping(), allow_nan=False))['passed'] is passed


def test_tf32_does_not_pass_as_fp32() -> None:
    def ten_bits(depth: Float32Array, sigma: Float32Array) -> None:
        for plane in (depth, sigma):
            codes = plane.view(np.uint32)
            codes &= np.uint32(0xFFFFE000)

    assert not report_of(Engine(ten_bits), 'fp32').passed
    assert report_of(Engine(ten_bits), 'fp16').passed


def spread(mean: float, p999: float, largest: float) -> ErrorSpread:
    return ErrorSpread(mean=mean, p999=p999, max=largest)


def measured(error: ErrorSpread, noise: ErrorSpread) -> Manifest:
    return dataclasses.replace(
        MANIFEST,
        precision='fp16',
        precision_error=PrecisionError(
            reference='plain.onnx',
            reference_sha256='0' * 64,
            method='rounded emulation',
            images='drawn',
            image_count=5,
            depth=error,
            gate=GateError(depth=error, noise_depth=noise),
            max_p999=1.0,
            max_max=1.0,
        ),
    )


NO_NOISE = spread(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ('error', 'noise', 'limit'),
    [
        # Four times what the network was measured to lose.
        (spread(2e-4, 2e-3, 2e-2), NO_NOISE, spread(8e-4, 8e-3, 8e-2)),
        # No less than two runtimes in fp32 may differ by, or noise in the image changes.
        (NO_NOISE, NO_NOISE, LIMITS['fp32']),
        (spread(2e-4, 2e-3, 2e-2), spread(1e-3, 2e-2, 3e-2), spread(1e-3, 2e-2, 8e-2)),
        # No more than the precision is granted, unless it costs this network more.
        (spread(6e-3, 3e-2, 9e-2), NO_NOISE, spread(2e-2, 1e-1, 3e-1)),
        (spread(2e-2, 4e-2, 0.2), NO_NOISE, spread(4e-2, 1e-1, 0.4)),
        (spread(2e-4, 1e-3, 1e-2), spread(5e-2, 0.5, 0.9), LIMITS['fp16']),
    ],
)
def test_what_a_network_was_measured_to_lose_sets_its_limits(
    error: ErrorSpread, noise: ErrorSpread, limit: ErrorSpread
) -> None:
    depth, sigma = limits_of(measured(error, noise), 'fp16')
    assert dataclasses.astuple(depth) == pytest.approx(dataclasses.astuple(limit))
    assert sigma == LIMITS['fp16']  # not measured


def test_a_manifest_may_ask_for_closer_answers_and_not_for_looser() -> None:
    def limit(rtol: float) -> ErrorSpread:
        graph = GraphSection(selfcheck=SelfCheck(rtol=rtol))
        return limits_of(dataclasses.replace(MANIFEST, graph=graph), 'fp16')[0]

    usual = LIMITS['fp16']
    assert limit(0.05) == ErrorSpread(mean=usual.mean, p999=0.05, max=0.05)
    assert limit(1.0) == usual
    with pytest.raises(ConfigError, match=r'selfcheck\.rtol'):
        SelfCheck(rtol=0.0)


def test_a_report_can_be_kept_and_counts_only_for_the_same_comparison() -> None:
    def result(parity: Any, precision: Precision = 'fp16') -> bool | None:
        return recorded_result(parity, MANIFEST, precision=precision, where=WHERE)

    report = report_of(Engine(not_a_number))
    kept = json.loads(json.dumps(report.to_mapping(), allow_nan=False))
    assert kept == report.to_mapping()
    assert kept['depth'] is None
    assert result(kept) is False
    assert result(report_of(Engine()).to_mapping()) is True
    assert result(None) is None
    assert result({**kept, 'where': {**WHERE, 'gpu': 'another'}}) is None
    assert result({**kept, 'depth_limit': None}) is None
    assert result(kept, 'fp32') is None
