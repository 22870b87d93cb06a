# SPDX-License-Identifier: Apache-2.0
"""Rows in turns, each in a process of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from depth_core.bench.children import Child, children_ended
from depth_core.bench.energy import Power
from depth_core.bench.request import BenchRequest
from depth_core.bench.run import Plan, measure, measure_rows
from test.standin import write_sibling, write_standin_onnx


@pytest.fixture(scope='module')
def request_of_one(tmp_path_factory: pytest.TempPathFactory) -> BenchRequest:
    return BenchRequest(
        model=write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx', batch=0),
        backend='onnxruntime',
        precision='fp32',
        threads=1,
        image_height=48,
        image_width=64,
        frames=9,
    )


def test_rows_share_rounds_and_batches_count_as_images(request_of_one: BenchRequest) -> None:
    batched = dataclasses.replace(request_of_one, batch=4)
    labels = ('onnxruntime/1t', 'onnxruntime/1t/x4')
    plan = Plan(rounds=3, references={labels[1]: labels[0]})
    results, refused = measure_rows([request_of_one, batched], plan)
    assert refused == {}
    assert tuple(result.label for result in results) == labels
    for result in results:
        assert len(result.round_p50_ms) == 3
        assert result.round_p50_ms == pytest.approx(
            [np.median(result.latencies_ms[first : first + 3]) for first in (0, 3, 6)]
        )
    one, four = results
    # So many images in the time of all calls, and of nothing else.
    assert four.frames_per_s <= 4 * 9 / (sum(four.latencies_ms) / 1e3)
    assert four.frames_per_s == pytest.approx(4 * 9 / (sum(four.latencies_ms) / 1e3), rel=0.2)
    assert one.ratio is None
    assert four.ratio is not None
    assert four.ratio.reference == 'onnxruntime/1t'
    # The first image of the batch is that of the single row.
    assert four.difference is not None
    assert four.difference.largest < 1e-5


@pytest.mark.usefixtures('fake_gpu')
def test_an_engine_is_built_cold_and_taken_from_the_cache_after(
    request_of_one: BenchRequest, tmp_path: Path
) -> None:
    engine = dataclasses.replace(request_of_one, backend='tensorrt')
    plans = []
    with children_ended() as children:
        for _ in range(2):
            child = Child(engine, tmp_path)
            children.append(child)
            child.open()
            plans.append([(one.stat().st_ino, one) for one in tmp_path.rglob('*.plan')])
        turn = children[1].turn(3, lambda: None)
    assert len(plans[0]) == 1
    assert plans[1] == plans[0]
    for stage in turn.stages:
        assert stage.copy_s is not None
        assert 0.0 < stage.copy_s < stage.inference_s


@pytest.mark.parametrize('loop', ['predictor', 'raw'])
def test_a_row_says_the_precision_of_a_graph_that_has_one_of_its_own(
    request_of_one: BenchRequest, loop: Literal['predictor', 'raw']
) -> None:
    half = write_sibling(request_of_one.model, 'half.onnx')
    row = measure(dataclasses.replace(request_of_one, model=half, loop=loop, frames=1))
    assert row.precision == 'fp16'
    assert measure(dataclasses.replace(request_of_one, loop=loop, frames=1)).precision == 'fp32'


def test_energy_is_that_of_one_image(request_of_one: BenchRequest) -> None:
    meter = Power(name='VDD_IN', read=lambda: 8.0, renewed_s=0.0)
    batched = dataclasses.replace(request_of_one, batch=2)
    (result,), _ = measure_rows([batched], Plan(meters=[meter]))
    # 8 W as long as one call takes, and the two images of it share that; waiting comes on top.
    median_j = 8.0 * result.min_ms / 1e3 / 2
    assert result.energy_j['VDD_IN'] >= median_j


def test_a_turn_that_is_too_short_for_a_meter_says_nothing(request_of_one: BenchRequest) -> None:
    meter = Power(name='GPU 0', read=lambda: 8.0, renewed_s=60.0)
    (result,), _ = measure_rows([request_of_one], Plan(meters=[meter]))
    assert result.energy_j == {}


def test_a_backend_that_cannot_run_leaves_the_others_alone(request_of_one: BenchRequest) -> None:
    said: list[str] = []
    other = dataclasses.replace(request_of_one, backend='torch')
    results, refused = measure_rows([other, request_of_one], Plan(say=said.append))
    assert [result.backend for result in results] == ['onnxruntime']
    assert list(refused) == ['torch/1t']
    assert 'runs .ckpt files' in str(refused['torch/1t'])
    assert said == [
        'torch/1t: starting',
        'torch/1t: does not run here',
        'onnxruntime/1t: starting',
        'onnxruntime/1t: answers',
    ]
