# SPDX-License-Identifier: Apache-2.0
"""How fast a network for robots answers a 640x480 camera: at least 60 frames/s on two cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depth_core.export import export_onnx
from depth_core.models import create_model
from depth_core.runtime import Predictor


@pytest.fixture(scope='module')
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('model') / 'small.onnx'
    export_onnx(create_model('densedepth_small'), path, height=256, width=320)
    return path


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_predictor_rate(benchmark: Any, exported: Path, backend: str) -> None:
    predictor = Predictor.open(exported, backend=backend, strict=True, threads=2)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    answer = benchmark.pedantic(predictor.predict, (image,), rounds=100, warmup_rounds=20)
    assert answer.depth_m.shape == (480, 640)
    assert np.isfinite(answer.depth_m).all()
