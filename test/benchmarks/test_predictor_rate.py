# SPDX-License-Identifier: Apache-2.0
"""What a predictor adds to the bare loop of its runtime: small networks, a 640x480 camera.

Both loops take turns on one session, so that whatever else the machine does meets both; what
counts is the ratio of their medians. Run it on an idle machine, with `-n 0`, `-s` to see it.
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
from depth_core.runtime import Predictor
from depth_core.runtime.backends import BackendRequest, open_named
from depth_core.runtime.preprocessing import Preprocessor
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


@pytest.fixture(scope='module', params=NETWORKS)
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network at 192x256, and those of all families at 256x320."""
    if request.param == 'shipped':
        return find_model('densedepth_small')
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model') / f'{request.param}.onnx'
    export_onnx(conditioned(create_model(request.param)), path)
    return path


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_a_predictor_adds_little_to_the_bare_loop(
    benchmark: Any, graph: Path, backend: str, threads: int
) -> None:
    bare = open_named(backend, BackendRequest(path=graph, threads=threads))
    predictor = Predictor(bare, name=backend, path=graph)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    network_input = Preprocessor(bare.manifest)([image]).copy()
    bare_s: list[float] = []
    predictor_s: list[float] = []

    def turn() -> None:
        before = time.perf_counter()
        bare.run(network_input)
        between = time.perf_counter()
        predictor.predict(image)
        bare_s.append(between - before)
        predictor_s.append(time.perf_counter() - between)

    turn()
    rounds = max(20, int(SECONDS / (bare_s[0] + predictor_s[0])))
    benchmark.pedantic(turn, rounds=rounds, warmup_rounds=10)
    bare_ms, predictor_ms = (float(np.median(taken[11:])) * 1e3 for taken in (bare_s, predictor_s))
    benchmark.extra_info.update(bare_ms=bare_ms, predictor_ms=predictor_ms)
    said = f'{graph.stem} on {backend}, {threads} threads: {predictor_ms:.2f} of {bare_ms:.2f} ms'
    print(said, f'{predictor_ms / bare_ms:.3f}', predictor.stage_times)
    assert predictor_ms <= MOST * bare_ms, said
