# SPDX-License-Identifier: Apache-2.0
"""Several images at once: at one time where the graph allows it, each at its own size always."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, Float32Array, InputSpec, OutputSpec, Uint8Array
from depth_core.errors import ConfigError, DataError, ModelError
from depth_core.manifest import Manifest, manifest_path, read_manifest, write_manifest
from depth_core.runtime import Framing, Predictor
from depth_core.runtime.graph import as_planes
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric

SIZES = ((64, 96), (480, 640), (20, 31), (64, 97), (128, 192))


def camera(code: int, size: tuple[int, int]) -> Uint8Array:
    return np.full((*size, 3), code, np.uint8)


IMAGES = [camera(40 * place, size) for place, size in enumerate(SIZES)]


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('batch', [1, 0, 2, 8])
@pytest.mark.parametrize('flip', ['none', 'mean'])
def test_each_image_gets_the_answer_it_gets_alone(
    tmp_path: Path, backend: str, batch: int, flip: Any
) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx', batch=batch)
    framing = Framing(flip_average=flip)
    predictor = Predictor.open(path, backend=backend, threads=1, framing=framing)
    answers = predictor.predict_batch(IMAGES, stamps_ns=range(5))
    assert [answer.stamp_ns for answer in answers] == [0, 1, 2, 3, 4]
    for place, (answer, image) in enumerate(zip(answers, IMAGES, strict=True)):
        np.testing.assert_allclose(answer.depth_m, 2.0 + 400.0 * place / 255.0, rtol=1e-6)
        alone = predictor.predict(image)
        np.testing.assert_array_equal(answer.depth_m, alone.depth_m)
        np.testing.assert_array_equal(answer.sigma_m, alone.sigma_m)
        assert answer.depth_m.shape == image.shape[:2]
    assert predictor.predict_batch([]) == []


@dataclasses.dataclass
class Recorder:
    """Answers the mean code of each image, and keeps how many came at a time."""

    batch: int
    calls: list[int] = dataclasses.field(default_factory=list)

    @property
    def manifest(self) -> Manifest:
        return Manifest(
            name='recorder',
            input=InputSpec(height=4, width=6, batch=self.batch),
            output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=1e3, sigma=None),
        )

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        self.calls.append(len(images))
        return images.mean(axis=3, dtype=np.float32), None


class LimitedRecorder(Recorder):
    largest_batch = 2


class ResizingRecorder(Recorder):
    def run_images(self, images: Sequence[Uint8Array]) -> tuple[Float32Array, Float32Array | None]:
        self.calls.extend(image.shape[1] for image in images)
        return np.stack([np.full((4, 6), image.mean(), np.float32) for image in images]), None

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        raise AssertionError(images)


@pytest.mark.parametrize(
    ('backend', 'calls'),
    [
        (Recorder(batch=1), [1, 1, 1, 1, 1]),
        (Recorder(batch=0), [5]),
        (Recorder(batch=3), [3, 3]),
        (LimitedRecorder(batch=0), [2, 2, 1]),
        (ResizingRecorder(batch=0), [96, 640, 31, 97, 192]),
    ],
)
def test_as_many_at_once_as_the_graph_takes(backend: Recorder, calls: list[int]) -> None:
    predictor = Predictor(backend, name='recorder', path=Path('a.onnx'))
    answers = predictor.predict_batch(IMAGES)
    assert backend.calls == calls
    for place, answer in enumerate(answers[1:], start=1):
        np.testing.assert_allclose(answer.depth_m, 40.0 * place)


def test_a_backend_that_resizes_is_given_the_reflected_border() -> None:
    backend = ResizingRecorder(batch=1)
    framing = Framing(padding=True)
    predictor = Predictor(backend, name='recorder', path=Path('a.onnx'), framing=framing)
    assert predictor.predict(camera(50, (8, 18))).depth_m.shape == (8, 18)
    assert backend.calls == [18 + 2 * 9]


def test_wrong_batches_are_refused() -> None:
    predictor = Predictor(Recorder(batch=0), name='recorder', path=Path('a.onnx'))
    with pytest.raises(DataError, match='1 stamps for 5 images; give one for each'):
        predictor.predict_batch(IMAGES, stamps_ns=[7])
    with pytest.raises(DataError, match=r'shape \[4, 4\]'):
        predictor.predict_batch([IMAGES[0], np.zeros((4, 4), np.uint8)])
    with pytest.raises(ConfigError, match=r'input\.batch is -1; give at least 1'):
        InputSpec(height=4, width=6, batch=-1)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_manifest_of_another_batch_is_refused(tmp_path: Path, backend: str) -> None:
    path = write_standin_onnx(tmp_path / 'standin.onnx', batch=1)
    manifest = read_manifest(path)
    foreign = tmp_path / 'foreign.onnx'
    foreign.write_bytes(path.read_bytes().replace(b'depth_ros.manifest', b'x' * 18))
    for batch, said in ((0, '[?, 64, 96, 3]'), (4, '[4, 64, 96, 3]')):
        spec = dataclasses.replace(manifest.input, batch=batch)
        write_manifest(manifest_path(foreign), dataclasses.replace(manifest, input=spec))
        with pytest.raises(ModelError, match='is not what its manifest describes') as caught:
            Predictor.open(foreign, backend=backend)
        assert said in str(caught.value)
        assert '[1, 64, 96, 3]' in str(caught.value)


def test_planes_of_a_batch() -> None:
    planes = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    for given in (planes, planes[:, None], planes[..., None], planes[:, None, None]):
        np.testing.assert_array_equal(as_planes(given, 'y', 2), planes)
    np.testing.assert_array_equal(as_planes(planes[0], 'y', 1), planes[:1])
    for wrong, images in ((planes, 1), (planes, 3), (planes[0], 2), (planes[None], 2)):
        with pytest.raises(ModelError, match=f'not one plane for each of {images} images'):
            as_planes(wrong, 'y', images)
