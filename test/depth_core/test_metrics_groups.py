# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from depth_core.metrics import MetricAccumulator
from depth_core.metrics.groups import at_edges


def test_edges_lie_on_both_sides_of_a_step() -> None:
    depth = np.array([[2.0, 2.0, 4.0, 4.1, np.nan, 4.1, np.inf]])
    assert at_edges(depth, np.array([0, 1, 2, 3, 5])).tolist() == [False, True, True, False, True]
    below = np.vstack((depth, depth))  # rows end where the next begins: no edge between these
    assert at_edges(below, np.array([7, 8, 9])).tolist() == [False, True, True]
    assert at_edges(depth.T, np.array([1, 3])).tolist() == [True, False]


def test_errors_are_told_apart_by_group() -> None:
    # road, pole, car, floor, none; the step of depth lies between the last two.
    semantic = np.array([[0, 5, 13, 19, 255]])
    target = np.array([[2.0, 2.0, 2.0, 2.0, 4.0]], np.float32)
    prediction = np.array([[2.2, 3.0, 1.0, 2.0, 4.4]], np.float32)
    scores = MetricAccumulator()
    scores.update(prediction, target, semantic=semantic)
    found = {item.name: item for item in scores.result().by_group}
    errors = {name: item.metrics.abs_rel for name, item in found.items()}
    assert errors == pytest.approx({'ground': 0.05, 'obstacle': 0.5, 'thin': 0.5, 'edge': 0.05})
    assert found['ground'].pixels == 2
    names = {item.name for item in scores.result().by_class}
    assert names == {'road', 'pole', 'car', 'floor'}


def test_without_labels_there_are_edges_alone() -> None:
    scores = MetricAccumulator()
    scores.update(np.full((2, 2), 2.0, np.float32), np.array([[1, 1], [2, 2]], np.float32))
    assert [item.name for item in scores.result().by_group] == ['edge']
