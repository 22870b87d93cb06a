# SPDX-License-Identifier: Apache-2.0
"""What the tests here need a GPU for; without one they are skipped, and say what is missing.

They were never run on a GPU by those who wrote them. Whoever has one: `pytest test/gpu -n 0`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from depth_core.errors import BackendError
from depth_core.runtime.engine.api import TensorRt, load_tensorrt
from depth_core.runtime.engine.build import check_targets
from depth_core.runtime.engine.device import Device, open_device
from depth_core.runtime.engine.options import EngineOptions, Flavour

PACKAGES = {
    'pycuda': ('pycuda_device', 'PyCudaDevice'),
    'cuda-bindings': ('cuda_python_device', 'CudaPythonDevice'),
}


def brief(error: Exception) -> str:
    """What is missing, without the remedies."""
    return str(error).partition(' (')[0]


@pytest.fixture(params=PACKAGES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """The first GPU through each package, its context current."""
    module, kind = PACKAGES[request.param]
    try:
        implementation = importlib.import_module(f'depth_core.runtime.engine.{module}')
        opened: Device = getattr(implementation, kind)(0)
    except (ImportError, BackendError) as error:
        pytest.skip(f'{request.param}: {brief(error)}')
    with opened.current():
        yield opened


@pytest.fixture(params=['tensorrt', 'tensorrt-rtx'])
def trt(request: pytest.FixtureRequest) -> TensorRt:
    """Each TensorRT that is here and builds for the GPU that is."""
    flavour: Flavour = request.param
    try:
        gpu = open_device().info
        found = load_tensorrt(flavour)
        check_targets(found, None, gpu)
    except BackendError as error:
        pytest.skip(brief(error))
    return found


@pytest.fixture(scope='session')
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: engines are built once."""
    return tmp_path_factory.mktemp('engines')


@pytest.fixture
def options(cache_dir: Path) -> EngineOptions:
    return EngineOptions(cache_dir=cache_dir)
