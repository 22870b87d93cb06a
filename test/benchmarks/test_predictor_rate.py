# SPDX-License-Identifier: Apache-2.0
"""What a predictor adds to the bare loop of its runtime: small networks, a 640x480 camera.

The bare loop is that of `depth_core.bench`. Both take turns, so that whatever else the machine
does meets both; what counts is the ratio of their medians. Where others compute too, that of CPU
times says more. Run it on an idle machine, with `-n 0`, `-s` to see it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from depth_core.bench.raw import open_raw
from depth_core.bench.request import BenchRequest
from depth_core.bench.subject import camera_images
from depth_core.export import export_onnx
from depth_core.geometry import intrinsics_from_hfov
from depth_core.models import create_model
from depth_core.runtime import Predictor
from depth_core.shipped import find_model
from test.conditioned import conditioned

NETWORKS: Final = (
    'shipped',
    'densedepth_small',
    'zoedepth_small',
    'urcdc_small',
    'cliffnet_small',
    'selfsup_small',
)
MOST: Final = 1.08
"""Of the time of the bare loop."""
SECONDS: Final = 6.0
CAMERA: Final = intrinsics_from_hfov(60.0, height=480, width=640)
CALLS: Final = 4
"""Of each loop in a turn."""


@pytest.fixture(scope='module', params=NETWORKS)
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network, of free size, and those of all families at 256x320."""
    if request.param == 'shipped':
        return find_model('densedepth_small')
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model') / f'{request.param}.onnx'
    export_onnx(conditioned(create_model(request.param)), path, free_size=False)
    return path


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_a_predictor_adds_little_to_the_bare_loop(
    benchmark: Any, graph: Path, backend: str, threads: int
) -> None:
    request = BenchRequest(
        model=graph, backend=backend, precision='fp32', threads=threads,
        image_height=480, image_width=640, frames=1, camera=CAMERA,
    )  # fmt: skip
    predictor = Predictor.open(graph, backend=backend, threads=threads, strict=True)
    (image,) = camera_images(request)
    loops: dict[str, Callable[[], object]] = {
        'bare': open_raw(request),
        'predictor': partial(predictor.predict, image, CAMERA),
    }
    wall_s: dict[str, list[float]] = {name: [] for name in loops}
    cpu_s: dict[str, list[float]] = {name: [] for name in loops}
    order = list(loops)

    def turn() -> None:
        order.reverse()  # so that being second is nobody's fate
        for name in order:
            loops[name]()  # brings its own memory into the caches again
            for _ in range(CALLS):
                before, cpu_before = time.perf_counter(), time.process_time()
                loops[name]()
                wall_s[name].append(time.perf_counter() - before)
                cpu_s[name].append(time.process_time() - cpu_before)

    turn()
    rounds = max(20, int(SECONDS / sum(map(sum, wall_s.values()))))
    benchmark.pedantic(turn, rounds=rounds, warmup_rounds=3)
    wall_ms, cpu_ms = (
        {name: float(np.median(taken[4 * CALLS :])) * 1e3 for name, taken in times.items()}
        for times in (wall_s, cpu_s)
    )
    ratio, cpu_ratio = (one['predictor'] / one['bare'] for one in (wall_ms, cpu_ms))
    benchmark.extra_info.update(wall_ms=wall_ms, cpu_ms=cpu_ms)
    said = (
        f'{graph.stem} on {backend}, {threads} threads: {wall_ms["predictor"]:.2f} of '
        f'{wall_ms["bare"]:.2f} ms, {ratio:.3f}; CPU time {cpu_ratio:.3f}'
    )
    print(said, predictor.stage_times)
    assert ratio <= MOST, said
