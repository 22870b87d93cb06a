# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_core.contracts import DepthKind, Float32Array, InputSpec, OutputSpec
from depth_core.errors import ExportError
from depth_core.export import measure_parity, parity_images
from depth_core.export.__main__ import summary
from depth_core.export.parity import Recorder
from depth_core.manifest import Manifest

pytestmark = pytest.mark.numeric

MANIFEST = Manifest(
    name='plain',
    input=InputSpec(height=16, width=24),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0),
)


@dataclass
class Plain:
    """Answers 4 m and sigma 1 m, and something else where asked."""

    depth_factor: float = 1.0
    sigma_added: float = 0.0
    manifest: Manifest = MANIFEST

    def run(self, images: Any) -> tuple[Float32Array, Float32Array | None]:
        plane = np.full(images.shape[:3], 4.0, np.float32)
        sigma = np.full_like(plane, 1.0 + self.sigma_added)
        plane[:, 3, 5] *= self.depth_factor
        return plane, sigma


@dataclass
class Crowded(Plain):
    """Answers deeper by a share of the images beside the first."""

    deeper: float = 0.0
    seen: list[int] = field(default_factory=list)

    def run(self, images: Any) -> tuple[Float32Array, Float32Array | None]:
        self.seen.append(len(images))
        depth, sigma = super().run(images)
        return depth * np.float32(1.0 + self.deeper * (len(images) - 1)), sigma


def test_images_are_a_function_of_seed_and_size() -> None:
    one = parity_images(seed=3, height=32, width=48)
    assert one.shape[1:] == (32, 48, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, parity_images(seed=3, height=32, width=48))
    assert (one != parity_images(seed=4, height=32, width=48)).any()
    assert (one.min(), one.max()) == (0, 255)


def test_images_are_the_same_on_every_machine() -> None:
    # Answers are stored beside a model, and compared where another OpenCV draws the images.
    images = parity_images(seed=3, height=32, width=48)
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == '8a9e7abca15f098eb5486453da0a550851f11a09d9a199d81098b16afd7a70e8'


def test_what_was_measured_is_stated() -> None:
    parity = measure_parity(Plain(), Plain(depth_factor=1.0005, sigma_added=0.002), seed=9)
    images = parity_images(seed=9, height=16, width=24)
    assert parity.images == len(images)
    assert parity.inputs_sha256 == hashlib.sha256(images.tobytes()).hexdigest()
    assert parity.depth_max_abs == pytest.approx(0.002, rel=1e-3)
    assert parity.depth_max_rel == pytest.approx(0.0005, rel=1e-3)
    assert parity.sigma_max_abs == pytest.approx(0.002, rel=1e-3)
    assert parity.sigma_max_rel == pytest.approx(0.0005, rel=1e-3)


def test_some_images_may_be_left_out_and_are_answered_when_they_are_asked_for() -> None:
    candidate = Crowded()
    recorder = Recorder(candidate)
    parity = measure_parity(Plain(), recorder, seed=9, places=(1, 3, 4))
    images = parity_images(seed=9, height=16, width=24)
    assert parity.images == 3
    assert parity.inputs_sha256 == hashlib.sha256(images[[1, 3, 4]].tobytes()).hexdigest()
    replay = recorder.replay()
    for image in images:
        depth, sigma = replay.run(image[None])
        np.testing.assert_array_equal(depth, Plain().run(image[None])[0])
        assert sigma is not None
    assert candidate.seen == [1, 1, 1, 1, 1], 'each image once'


def test_one_pixel_above_the_tolerance_is_refused_with_its_size() -> None:
    with pytest.raises(ExportError, match=r'depth differs by up to 0\.002 \(0\.008\)') as caught:
        measure_parity(Plain(), Plain(depth_factor=1.002))
    assert 'sigma' not in str(caught.value)
    assert '0.001' in str(caught.value)
    with pytest.raises(ExportError, match=r'sigma differs by up to 0\.0025'):
        measure_parity(Plain(), Plain(sigma_added=0.01))
    measure_parity(Plain(), Plain(depth_factor=1.002), tolerance=0.003)


@pytest.mark.parametrize(
    ('batch', 'seen'), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 2]), (0, [3, 1, 1, 1])]
)
def test_the_graph_sees_its_batch_and_the_network_single_images(
    batch: int, seen: list[int]
) -> None:
    manifest = replace(MANIFEST, input=replace(MANIFEST.input, batch=batch))
    reference, candidate = Crowded(), Crowded(manifest=manifest)
    measure_parity(reference, candidate)
    assert reference.seen == [1, 1, 1, 1, 1]
    assert candidate.seen == seen


def test_an_image_that_is_answered_otherwise_in_a_batch_is_refused() -> None:
    manifest = replace(MANIFEST, input=replace(MANIFEST.input, batch=0))
    with pytest.raises(ExportError, match=r'depth differs by up to 0\.02 '):
        measure_parity(Plain(), Crowded(deeper=0.01, manifest=manifest))
    measure_parity(Plain(), Crowded(deeper=0.01))


@pytest.mark.parametrize(('factor', 'side'), [(np.nan, 'graph'), (np.inf, 'graph')])
def test_what_is_not_finite_is_refused(factor: float, side: str) -> None:
    with pytest.raises(ExportError, match=f'the {side} gives depth that is not finite'):
        measure_parity(Plain(), Plain(depth_factor=factor))
    with pytest.raises(ExportError, match='the network gives depth that is not finite'):
        measure_parity(Plain(depth_factor=factor), Plain(depth_factor=factor))


@pytest.mark.parametrize(
    ('kind', 'unit'),
    [(DepthKind.METRIC, ' m'), (DepthKind.UP_TO_SCALE, ' in its own unit')],
)
def test_the_command_names_metres_only_where_there_are_some(
    tmp_path: Path, kind: DepthKind, unit: str
) -> None:
    parity = measure_parity(Plain(), Plain(depth_factor=1.0001))
    output = replace(MANIFEST.output, kind=kind)
    path = tmp_path / 'a.onnx'
    path.write_bytes(bytes(10))
    free = replace(MANIFEST.input, batch=0)
    said = summary(path, replace(MANIFEST, input=free, output=output, parity=parity), opset=18)
    assert 'takes image uint8 [any number, 16, 24, 3] RGB\n' in said
    assert f'gives depth and sigma, {kind}, 0.5 to 80{unit}\n' in said
    assert f'of the depth (0.0004{unit}), sigma' in said
