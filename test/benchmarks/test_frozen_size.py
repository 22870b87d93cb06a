# SPDX-License-Identifier: Apache-2.0
"""What a graph of free size costs once its size is fixed, against one exported at that size.

Both sessions take turns, so that whatever else the machine does meets both; what counts is the
ratio of their medians. Run it on an idle machine, with `-n 0`, `-s` to see it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from depth_core.export import export_onnx
from depth_core.models import create_model
from depth_core.runtime.backends import BackendRequest, open_warm
from test.conditioned import conditioned

NETWORKS: Final = (
    'densedepth_small',
    'zoedepth_small',
    'cliffnet_small',
    'selfsup_small',
)
SIZE: Final = (160, 512)
"""Of a camera of KITTI, for networks of 256x320."""
MOST: Final = 1.03
"""Of the time of the graph of one size."""
SECONDS: Final = 10.0


@pytest.fixture(scope='module', params=NETWORKS)
def graphs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """One network at a fixed size, and at a free one."""
    torch.manual_seed(0)
    model = conditioned(create_model(request.param))
    folder = tmp_path_factory.mktemp('model')
    height, width = SIZE
    fixed, free = folder / f'{request.param}_fixed.onnx', folder / f'{request.param}.onnx'
    export_onnx(model, fixed, height=height, width=width)
    export_onnx(model, free)
    return fixed, free


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_frozen_size_is_as_fast_as_a_fixed_one(
    benchmark: Any, graphs: tuple[Path, Path], backend: str
) -> None:
    fixed, free = graphs
    sessions = [
        open_warm(backend, BackendRequest(path=fixed, threads=1)),
        open_warm(backend, BackendRequest(path=free, threads=1, size=SIZE)),
    ]
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), dtype=np.uint8)
    taken: tuple[list[float], list[float]] = ([], [])

    def turn() -> None:
        for session, times in zip(sessions, taken, strict=True):
            start = time.perf_counter()
            session.run(image)
            times.append(time.perf_counter() - start)

    turn()
    rounds = max(40, int(SECONDS / (taken[0][0] + taken[1][0])))
    benchmark.pedantic(turn, rounds=rounds, warmup_rounds=10)
    fixed_ms, free_ms = (float(np.median(times[11:])) * 1e3 for times in taken)
    benchmark.extra_info.update(fixed_ms=fixed_ms, free_ms=free_ms)
    said = f'{free.stem} on {backend}: {free_ms:.2f} of {fixed_ms:.2f} ms'
    print(said, f'{free_ms / fixed_ms:.3f}')
    assert free_ms <= MOST * fixed_ms, said
