# SPDX-License-Identifier: Apache-2.0
"""Frames of one or several cameras, answered by one model: together where it takes batches.

Each frame is answered in steps of its own, up to what it asks the network and on from the answer.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from depth_core.contracts import DepthMap, Intrinsics, Uint8Array
from depth_core.runtime import Grid, Predictor
from depth_ros.health.watchdog import InferenceRecord

Result = TypeVar('Result')


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the network is asked about one image."""

    image: Uint8Array
    """[H, W, 3] RGB."""
    camera: Intrinsics | None
    stamp_ns: int
    grid: Grid
    """The pixels that the answer is wanted at."""


Asking: TypeAlias = Generator[Question, DepthMap, Result]
"""Steps that ask the network once at most; its error is raised where they ask."""


class AnswersTogether:
    """Asks one model the questions of several frames."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.record = InferenceRecord()
        """What the backend does."""

    def __call__(self, frames: Sequence[Asking[None]]) -> None:
        """Answer all of `frames`, whose steps must not raise."""
        asked = [(steps, question) for steps in frames if (question := next(steps, None))]
        answers = self._answers([question for _, question in asked])
        for (steps, _), answer in zip(asked, answers, strict=True):
            with contextlib.suppress(StopIteration):
                if isinstance(answer, DepthMap):
                    steps.send(answer)
                else:
                    steps.throw(answer)

    def _answers(self, questions: Sequence[Question]) -> list[DepthMap | Exception]:
        """The answer to each question, or why there is none."""
        groups: dict[Grid, list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            groups[question.grid].append(place)
        found: dict[int, DepthMap | Exception] = {}
        for places in groups.values():
            found |= zip(places, self._group([questions[at] for at in places]), strict=True)
        return [found[place] for place in range(len(questions))]

    def _group(self, questions: Sequence[Question]) -> list[DepthMap | Exception]:
        """The answers on one grid; a batch that fails is asked again one by one."""
        if len(questions) > 1:
            with contextlib.suppress(Exception):
                return list(self._batch(questions))
        return [self._one(question) for question in questions]

    def _batch(self, questions: Sequence[Question]) -> list[DepthMap]:
        with self.record.inference(counts_failure=False):
            return self._predictor.predict_batch(
                [question.image for question in questions],
                [question.camera for question in questions],
                stamps_ns=[question.stamp_ns for question in questions],
                grid=questions[0].grid,
            )

    def _one(self, question: Question) -> DepthMap | Exception:
        try:
            with self.record.inference():
                return self._predictor.predict(
                    question.image,
                    question.camera,
                    stamp_ns=question.stamp_ns,
                    grid=question.grid,
                )
        except Exception as error:  # noqa: BLE001 raised again in the steps of the frame
            return error
