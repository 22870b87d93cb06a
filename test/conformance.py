# SPDX-License-Identifier: Apache-2.0
"""How tests of all backends open them: TensorRT on the fakes, the rest as it is here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from depth_core.contracts import Uint8Array
from depth_core.errors import BackendError
from depth_core.runtime import BACKENDS, Predictor
from depth_core.runtime.engine.options import EngineOptions

FAKED = ('tensorrt', 'tensorrt-rtx')
HERE = (*FAKED, 'openvino', 'onnxruntime')
"""What can be tested everywhere; the others have to say that they are not there."""
ABSENT = tuple(
    name for name, entry in BACKENDS.items() if '.onnx' in entry.suffixes and name not in HERE
)


def open_on(
    request: pytest.FixtureRequest, path: Path, name: str, *, max_batch: int = 1
) -> Predictor:
    """Open a model on a backend, and skip the test where its runtime is absent."""
    if name == 'openvino' and os.environ.get('ONEDNN_MAX_CPU_ISA') == 'SSE41':
        pytest.skip('its own oneDNN refuses convolutions when held to SSE41 on a newer processor')
    if name in FAKED:
        request.getfixturevalue('fake_gpu')
    folder: Path = request.getfixturevalue('tmp_path')
    options = EngineOptions(cache_dir=folder / 'engines', max_batch=max_batch)
    try:
        return Predictor.open(path, backend=name, strict=True, threads=1, engine=options)
    except BackendError as error:
        if 'runtime is not installed' not in str(error):
            raise
        pytest.skip(f'{name} is not installed')


def pictures(count: int, height: int, width: int) -> list[Uint8Array]:
    """Draw [height, width, 3] images, the same each time."""
    generator = np.random.default_rng(3)
    return list(generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8))
