# SPDX-License-Identifier: Apache-2.0
"""Reflected borders, kept aspect and flip averaging of the predictor and of its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_core.errors import ConfigError
from depth_core.models import create_model
from depth_core.predict import main
from depth_core.runtime import Framing, Predictor
from depth_core.runtime.sizes import reflect_padding
from depth_core.weights.checkpoint import save_model
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric


@pytest.fixture(scope='module')
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


def opened(path: Path, framing: Framing) -> Predictor:
    return Predictor.open(path, backend='onnxruntime', threads=1, framing=framing)


def watch(predictor: Predictor, seen: list[Any]) -> None:
    """Keep a copy of all that the backend in use is given."""
    backend: Any = predictor._pipelines.current.backend
    run = backend.run

    def watched(images: Any) -> Any:
        seen.append(images.copy())
        return run(images)

    backend.run = watched


def ramp(height: int = 60, width: int = 160) -> Any:
    codes = (40 + np.arange(width)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(codes[:, None], (height, width, 3)))


@pytest.mark.parametrize('size', [(60, 160), (61, 33), (1, 1), (2, 300)])
def test_padding_is_cut_away_again(standin: Path, size: tuple[int, int]) -> None:
    predictor = opened(standin, Framing(padding=True))
    image = np.full((*size, 3), 51, np.uint8)
    answer = predictor.predict(image)
    for plane in (answer.depth_m, answer.sigma_m, answer.confidence):
        assert plane.shape == size
        assert plane.flags.c_contiguous
    np.testing.assert_allclose(answer.depth_m, 4.0, rtol=1e-6)


def test_padding_moves_nothing(standin: Path) -> None:
    answer = opened(standin, Framing(padding=True)).predict(ramp())
    expected = 2.0 + 10.0 / 255.0 * (40 + np.arange(160))
    # The graph has 96 columns for 160 and the border: half of its pixel is 0.05 m.
    np.testing.assert_allclose(answer.depth_m[30, 8:-8], expected[8:-8], atol=0.06)


def test_the_graph_sees_the_reflection(standin: Path) -> None:
    seen: list[Any] = []
    predictor = opened(standin, Framing(padding=True))
    watch(predictor, seen)
    predictor.predict(ramp())
    rows, columns = reflect_padding(60, 160)
    assert (rows, columns) == (16, 26)
    border = round(columns * 96 / (160 + 2 * columns))
    row = seen[0][0, 32, :, 0].astype(int)
    assert row[0] > row[border] < row[-border - 1] > row[-1]


def test_flip_average_is_the_mean_of_both_passes(standin: Path) -> None:
    plain = opened(standin, Framing())
    both = opened(standin, Framing(flip_average='mean'))
    answer, averaged = plain.predict(ramp()), both.predict(ramp())
    # The stand-in answers a mirror image with the mirror image.
    np.testing.assert_allclose(averaged.depth_m, answer.depth_m, rtol=1e-5)
    assert averaged.inference_s == pytest.approx(both.stage_times.inference_s)


def test_a_graph_of_one_size_keeps_the_aspect_within_grey(standin: Path) -> None:
    seen: list[Any] = []
    predictor = opened(standin, Framing(keep_aspect=True))
    watch(predictor, seen)
    answer = predictor.predict(ramp(60, 160))
    # 160 columns become 96, and 60 rows 36 of the 64: 14 above and below are grey.
    assert seen[0].shape == (1, 64, 96, 3)
    for row in (0, 13, 50, 63):
        np.testing.assert_array_equal(seen[0][0, row], np.tile([124, 116, 104], (96, 1)))
    assert not (seen[0][0, 14:50] == [124, 116, 104]).all(axis=2).any(axis=1).all()
    expected = 2.0 + 10.0 / 255.0 * (40 + np.arange(160))
    np.testing.assert_allclose(
        answer.depth_m[:, 3:-3], np.tile(expected, (60, 1))[:, 3:-3], rtol=0.01
    )
    assert answer.depth_m.shape == (60, 160)


def test_a_checkpoint_on_torch_keeps_the_aspect(tmp_path: Path) -> None:
    model = create_model('urcdc_small')  # a network that has no rule for its size
    path = tmp_path / 'small.ckpt'
    save_model(path, model)
    predictor = Predictor.open(path, backend='torch', threads=1, framing=Framing(keep_aspect=True))
    seen: list[Any] = []
    watch(predictor, seen)
    height, width = model.spec.default_size
    for size in ((height, width), (height, 2 * width), (2 * height, width)):
        assert predictor.predict(np.zeros((*size, 3), np.uint8)).depth_m.shape == size
    assert seen[0].shape == (1, height, width, 3)
    assert seen[1].shape == (1, height, 2 * width, 3), 'the side that fits already decides'
    assert seen[2].shape == (1, 2 * height, width, 3)


def test_the_command_offers_it(standin: Path, tmp_path: Path) -> None:
    image = tmp_path / 'ramp.png'
    assert cv2.imwrite(str(image), ramp())
    words = ['--model', str(standin), '--backend', 'onnxruntime', '--threads', '1', str(image)]
    main([*words, '--output', str(tmp_path / 'plain')])
    framed = [*words, '--padding', '--flip_average', 'mean', '--output', str(tmp_path / 'framed')]
    main(framed)
    plain, both = (np.load(tmp_path / name / 'ramp_depth.npy') for name in ('plain', 'framed'))
    assert plain.shape == both.shape == (60, 160)
    np.testing.assert_allclose(plain[:, 8:-8], both[:, 8:-8], atol=0.06)
    assert not np.array_equal(plain, both)
    main([*words, '--keep_aspect', '--output', str(tmp_path / 'kept')])
    kept = np.load(tmp_path / 'kept' / 'ramp_depth.npy')
    np.testing.assert_allclose(plain[:, 8:-8], kept[:, 8:-8], atol=0.06)
    with pytest.raises(ConfigError, match="invalid choice: 'both'"):
        main([*words, '--flip_average', 'both'])
