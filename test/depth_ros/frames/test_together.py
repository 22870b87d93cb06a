# SPDX-License-Identifier: Apache-2.0
"""Questions of several frames to one model: together, apart where that fails, each its answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from depth_core.contracts import DepthMap, Intrinsics
from depth_core.errors import DataError
from depth_core.runtime import Grid, Predictor
from depth_ros.frames.together import AnswersTogether, Asking, Question
from test.depth_ros.sample_messages import picture
from test.standin import write_standin_onnx


@pytest.fixture(scope='module')
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    model = write_standin_onnx(tmp_path_factory.mktemp('together') / 'standin.onnx', batch=0)
    return Predictor.open(model, backend='onnxruntime', threads=1)


class Frame:
    """A frame that asks one question, or none, and keeps what it gets."""

    def __init__(self, question: Question | None) -> None:
        self.question = question
        self.answer: DepthMap | Exception | None = None

    def steps(self) -> Asking[None]:
        if self.question is None:
            return
        try:
            self.answer = yield self.question
        except Exception as error:  # noqa: BLE001 as the steps of a real frame, which count it
            self.answer = error


def ask(number: int, *, height: int = 40, width: int = 60, **changes: object) -> Question:
    image = picture(number, height=height, width=width)
    values = {'image': image, 'camera': None, 'stamp_ns': number, 'grid': Grid(), **changes}
    return Question(**values)  # type: ignore[arg-type]  # what is changed is known below


def test_frames_of_different_sizes_are_answered_at_once(predictor: Predictor) -> None:
    frames = [Frame(ask(1)), Frame(None), Frame(ask(2, height=90, width=80))]
    together = AnswersTogether(predictor)
    together([frame.steps() for frame in frames])
    assert together.record.answered == 1, 'one inference for both'
    assert frames[1].answer is None
    for frame in (frames[0], frames[2]):
        assert isinstance(frame.answer, DepthMap)
        assert frame.question is not None
        alone = predictor.predict(frame.question.image)
        assert frame.answer.stamp_ns == frame.question.stamp_ns
        np.testing.assert_allclose(frame.answer.depth_m, alone.depth_m, rtol=1e-5)


def test_each_grid_is_asked_by_itself(predictor: Predictor) -> None:
    frames = [Frame(ask(1)), Frame(ask(2, grid=Grid(size=(20, 30)))), Frame(ask(3))]
    together = AnswersTogether(predictor)
    together([frame.steps() for frame in frames])
    answers = [frame.answer for frame in frames]
    assert [answer.depth_m.shape for answer in answers if isinstance(answer, DepthMap)] == [
        (40, 60),
        (20, 30),
        (40, 60),
    ]
    assert together.record.answered == 2


def test_a_frame_that_cannot_be_answered_spoils_no_other(predictor: Predictor) -> None:
    other = Intrinsics(
        fx_px=50.0, fy_px=50.0, cx_px=10.0, cy_px=10.0, height=7, width=9
    )  # of no such image
    frames = [Frame(ask(1)), Frame(ask(2, camera=other)), Frame(ask(3))]
    together = AnswersTogether(predictor)
    together([frame.steps() for frame in frames])
    assert isinstance(frames[1].answer, DataError)
    for frame in (frames[0], frames[2]):
        assert isinstance(frame.answer, DepthMap)
        assert frame.question is not None
        assert_array_equal(frame.answer.depth_m, predictor.predict(frame.question.image).depth_m)
    assert (together.record.answered, together.record.failed) == (2, 0)
