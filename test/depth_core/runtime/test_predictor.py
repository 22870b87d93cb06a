# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest

from depth_core.contracts import DepthKind, OutputSpec
from depth_core.errors import DataError
from depth_core.runtime import Predictor
from depth_core.runtime.decoding import Decoded
from depth_core.runtime.placement import Placement
from depth_core.runtime.postprocessing import Postprocessor
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope='module', params=['onnxruntime', 'openvino'])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = write_standin_onnx(
        tmp_path_factory.mktemp('model') / 'standin.onnx', min_depth=2.0, max_depth=10.0
    )
    return Predictor.open(path, backend=request.param, threads=1)


def grey(code: int, *, height: int = HEIGHT, width: int = WIDTH) -> Any:
    return np.full((height, width, 3), code, np.uint8)


def depth_of(code: float) -> float:
    return 2.0 + 10.0 * code / 255.0


@pytest.mark.parametrize(
    'size', [(64, 96), (480, 640), (375, 1242), (32, 48), (32, 200), (1, 1), (63, 97)]
)
def test_answers_have_the_size_of_the_image(predictor: Predictor, size: tuple[int, int]) -> None:
    answer = predictor.predict(grey(51, height=size[0], width=size[1]))
    for plane in (answer.depth_m, answer.sigma_m, answer.confidence):
        assert plane.shape == size
        assert plane.dtype == np.float32
        assert plane.flags.c_contiguous
    np.testing.assert_allclose(answer.depth_m, depth_of(51), rtol=1e-6)
    np.testing.assert_allclose(answer.sigma_m, 0.1 * depth_of(51), rtol=1e-6)


def test_a_ramp_stays_where_it_is(predictor: Predictor) -> None:
    # Four equal columns become one column of the graph, and come back as a straight line.
    columns = np.arange(4 * WIDTH)
    image = np.broadcast_to((20 + columns // 4).astype(np.uint8)[:, None], (256, 384, 3))
    answer = predictor.predict(image)
    expected = 2.0 + 10.0 / 255.0 * (20 + (columns + 0.5) / 4 - 0.5)
    # A shift of one pixel would be 0.01 m.
    np.testing.assert_allclose(answer.depth_m[100, 4:-4], expected[4:-4], atol=1e-4)


def test_the_ends_of_the_range_become_infinities(predictor: Predictor) -> None:
    image = grey(100, height=4 * HEIGHT, width=4 * WIDTH)
    image[:, : 2 * WIDTH] = 255  # 12 m, beyond the 10 m of the range
    image[: 2 * HEIGHT, 2 * WIDTH :] = 0  # 2 m, where the range begins
    answer = predictor.predict(image)
    assert (answer.depth_m[:, : 2 * WIDTH - 4] == np.inf).all()
    assert (answer.depth_m[: 2 * HEIGHT - 4, 2 * WIDTH + 4 :] == -np.inf).all()
    np.testing.assert_allclose(
        answer.depth_m[2 * HEIGHT + 4 :, 2 * WIDTH + 4 :], depth_of(100), rtol=1e-5
    )
    assert not np.isnan(answer.depth_m).any()
    assert (answer.confidence[~np.isfinite(answer.depth_m)] == 0.0).all()
    assert (answer.confidence[np.isfinite(answer.depth_m)] > 0.9).all()


def test_answers_own_their_memory(predictor: Predictor) -> None:
    for height, width in ((HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH)):
        first = predictor.predict(grey(50, height=height, width=width))
        kept = first.depth_m.copy(), first.sigma_m.copy()
        second = predictor.predict(grey(150, height=height, width=width))
        np.testing.assert_array_equal(first.depth_m, kept[0])
        np.testing.assert_array_equal(first.sigma_m, kept[1])
        assert not np.shares_memory(first.depth_m, second.depth_m)
        assert not np.shares_memory(first.sigma_m, second.sigma_m)


def test_sigma_asked_for_late_is_that_of_its_image(predictor: Predictor) -> None:
    answers = [
        predictor.predict(grey(code, height=height, width=width))
        for code in (50, 150)
        for height, width in ((HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH))
    ]
    wanted = [0.1 * depth_of(code) for code in (50, 50, 150, 150)]
    with ThreadPoolExecutor(4) as pool:  # whoever asks, while the predictor goes on
        sigmas = list(pool.map(lambda answer: answer.sigma_m, answers))
    for sigma_m, answer, expected in zip(sigmas, answers, wanted, strict=True):
        assert sigma_m.shape == answer.depth_m.shape
        np.testing.assert_allclose(sigma_m, expected, rtol=1e-5)
    copied = pickle.loads(pickle.dumps(predictor.predict(grey(150))))  # noqa: S301  our own
    np.testing.assert_allclose(copied.sigma_m, wanted[-1], rtol=1e-5)


def test_the_image_is_left_alone(predictor: Predictor) -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    before = image.copy()
    predictor.predict(image)
    np.testing.assert_array_equal(image, before)
    image.flags.writeable = False
    predictor.predict(image)


def test_views_answer_as_their_copies(predictor: Predictor) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for view in (image[10:150, 20:260], image[::-1], image[:, ::-1, ::-1], image[::2, ::3]):
        expected = predictor.predict(np.array(view))
        np.testing.assert_array_equal(predictor.predict(view).depth_m, expected.depth_m)


def test_shrinking_averages(predictor: Predictor) -> None:
    # A checkerboard of single pixels: picking pixels would give black, white or stripes.
    board = (np.indices((8 * HEIGHT, 8 * WIDTH)).sum(axis=0) % 2 * 200).astype(np.uint8)
    answer = predictor.predict(cv2.merge([board, board, board]))
    np.testing.assert_allclose(answer.depth_m, depth_of(100), rtol=1e-5)


def test_threads_get_their_own_answers(predictor: Predictor) -> None:
    codes = [int(code) for code in np.linspace(10, 190, 40)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda code: predictor.predict(grey(code)), codes))
    for code, answer in zip(codes, answers, strict=True):
        np.testing.assert_allclose(answer.depth_m, depth_of(code), rtol=1e-6)


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (np.zeros((4, 4), np.uint8), '[4, 4]'),
        (np.zeros((4, 4, 1), np.uint8), '[4, 4, 1]'),
        (np.zeros((4, 4, 4), np.uint8), 'drop an alpha channel'),
        (np.zeros((3, 4, 4), np.uint8), 'put channels last'),
        (np.zeros((1, 4, 4, 3), np.uint8), '[1, 4, 4, 3]'),
        (np.zeros((4, 4, 3), np.float32), '(image * 255)'),
        (np.zeros((4, 4, 3), np.uint16), 'uint16'),
        (np.zeros((0, 4, 3), np.uint8), 'no pixels'),
        ([[[0, 0, 0]]], 'a list'),
        (None, 'a NoneType'),
    ],
)
def test_other_images_are_refused_with_a_remedy(
    predictor: Predictor, image: Any, words: str
) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        predictor.predict(image)


def test_the_times_of_the_stages_are_given(predictor: Predictor) -> None:
    answer = predictor.predict(grey(5))
    times = predictor.stage_times
    assert times.inference_s == answer.inference_s
    assert min(times.preprocess_s, times.inference_s, times.postprocess_s) > 0.0


def test_nan_and_infinity_of_a_graph_do_not_spread() -> None:
    plane = np.full((10, 20), 5.0, np.float32)
    plane[2, 3], plane[7, 15] = np.nan, np.inf
    process = Postprocessor(OutputSpec(kind=DepthKind.METRIC, min_depth=1.0, max_depth=10.0))
    placement = Placement(image=(20, 40), network=(10, 20), resized=(10, 20))
    decoded = Decoded(depth=plane, sigma=None, factor=1.0, depth_range=(1.0, 10.0))
    depth_m, sigma_m = process(decoded, placement)
    assert np.isnan(sigma_m()).all()
    unknown = np.isnan(depth_m)
    assert unknown[4:6, 6:8].all()
    assert unknown.sum() <= 16
    assert (depth_m == np.inf).sum() <= 4
    assert np.isfinite(depth_m[10:13]).all()
