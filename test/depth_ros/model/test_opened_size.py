# SPDX-License-Identifier: Apache-2.0
"""A model is opened once for the images of a camera, and the diagnostics say how far it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.errors import BackendError
from depth_core.runtime import Predictor
from depth_core.runtime.engine import BuildProgress
from depth_core.runtime.placement import Placement
from depth_ros.model.opened_size import OpenedSize
from test.standin import write_standin_onnx


class Watched(Predictor):
    """Notes what is prepared; images of 7 rows cannot be served."""

    prepared: list[tuple[int, int]]
    size: OpenedSize
    seen: BuildProgress | None = None

    def prepare(self, height: int, width: int) -> Placement:
        self.prepared.append((height, width))
        self.seen = self.size.progress
        if height == 7:
            message = 'no memory for it.'
            raise BackendError(message)
        return super().prepare(height, width)


@pytest.fixture
def predictor(tmp_path: Path) -> Watched:
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    opened = Watched.open(path, backend='onnxruntime', threads=1)
    assert isinstance(opened, Watched)
    opened.prepared = []
    opened.size = OpenedSize(opened)
    return opened


def test_each_size_is_opened_once_and_said(predictor: Watched) -> None:
    size = predictor.size
    assert (size.network, size.progress) == ('', None)
    for _ in range(3):
        size.prepare(120, 160)
    assert predictor.prepared == [(120, 160)]
    assert size.network == '96x64'
    assert predictor.seen is not None
    assert predictor.seen.phase == 'opening for images of 160x120'
    assert size.progress is None


def test_what_cannot_be_opened_is_not_tried_for_each_image(predictor: Watched) -> None:
    for _ in range(3):
        with pytest.raises(BackendError, match='no memory'):
            predictor.size.prepare(7, 9)
    assert predictor.prepared == [(7, 9)]
    predictor.size.prepare(120, 160)
    assert predictor.size.network == '96x64'
