# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from depth_core.bench import BenchRequest, BenchResult, table
from depth_core.bench.statistics import Ratio
from depth_core.bench.table import legend

CPU = BenchResult(
    backend='openvino',
    precision='fp32',
    frames=5,
    open_s=1.0,
    p50_ms=9.5,
    p90_ms=10.5,
    p99_ms=123.456,
    min_ms=9.0,
    preprocess_ms=1.0,
    inference_ms=8.0,
    postprocess_ms=0.5,
    frames_per_s=104.25,
    peak_memory_mb=163.7,
)
GPU = dataclasses.replace(
    CPU,
    backend='tensorrt',
    precision='fp16',
    label='tensorrt/fp16',
    cpu_ms=3.25,
    copy_ms=0.5,
    compute_ms=7.5,
    gpu_memory_mb=321.4,
    start_cold_s=61.5,
    start_cached_s=1.25,
    energy_j={'GPU 0': 0.125},
    round_p50_ms=(9.0, 10.0, 11.0),
    ratio=Ratio(
        reference='openvino', value=0.5, low=0.4, high=0.6, null_low=0.98, null_high=1.0204
    ),
)


def words(line: str) -> str:
    return ' '.join(line.split())


def test_the_table_is_aligned_and_has_no_empty_columns() -> None:
    head, row = table([CPU]).splitlines()
    assert words(head) == 'backend precision p50 p90 p99 min pre infer post fps MB'
    assert words(row) == 'openvino fp32 9.50 10.50 123.46 9.00 1.00 8.00 0.50 104.2 164'
    assert len(head) == len(row)


def test_what_only_one_row_tells_is_a_dash_in_the_other() -> None:
    head, cpu, gpu = table([CPU, GPU]).splitlines()
    assert words(head) == (
        'backend precision p50 p90 p99 min spread pre copy compute post cpu fps MB GPU MB cold '
        'cached J GPU 0 ratio chance'
    )
    assert words(cpu).endswith('9.00 - 1.00 - 8.00 0.50 - 104.2 164 - - - - - -')
    assert words(gpu).startswith(
        'tensorrt/fp16 fp16 9.50 10.50 123.46 9.00 20.0% 1.00 0.50 7.50 0.50 3.25'
    )
    assert words(gpu).endswith('104.2 164 321 61.50 1.25 0.125 0.500 0.980-1.020')
    assert len(head) == len(cpu) == len(gpu)


def test_the_legend_says_what_is_in_the_table() -> None:
    assert legend([CPU]) == 'milliseconds of one call; pre, infer and post are medians\n'
    said = legend([CPU, GPU])
    for word in ('compute', 'cpu:', 'spread:', 'cold, cached:', 'J:', 'ratio:', 'chance:'):
        assert word in said


@pytest.mark.parametrize(
    ('changes', 'label'),
    [
        ({}, 'openvino'),
        ({'precision': 'bf16', 'threads': 2}, 'openvino/bf16/2t'),
        ({'loop': 'raw', 'batch': 4}, 'raw openvino/x4'),
    ],
)
def test_the_name_of_a_row(changes: dict[str, object], label: str) -> None:
    request = BenchRequest(
        model=Path('a.onnx'),
        backend='openvino',
        precision='fp32',
        threads=None,
        image_height=48,
        image_width=64,
        frames=1,
    )
    assert dataclasses.replace(request, **changes).label == label  # type: ignore[arg-type]
