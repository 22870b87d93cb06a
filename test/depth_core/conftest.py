# SPDX-License-Identifier: Apache-2.0
"""Reference numbers, and official weights that every machine can draw again."""

from __future__ import annotations

import ast
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_core.models.base import DepthModel
from depth_core.weights.fit import OfficialRequest
from test.exports import Exports

DATA = Path(__file__).resolve().parents[1] / 'data'


@pytest.fixture(scope='session')
def reference() -> Callable[[str], dict[str, Tensor]]:
    """Read an archive of test/data: arrays by name."""

    def read(name: str) -> dict[str, Tensor]:
        with np.load(DATA / f'{name}.npz') as archive:
            return {key: torch.from_numpy(archive[key]) for key in archive}

    return read


@pytest.fixture(scope='session')
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Graphs of the networks of the registry, shared by all workers of a test run."""
    folder = tmp_path_factory.getbasetemp()
    workers = 'PYTEST_XDIST_WORKER' in os.environ
    return Exports((folder.parent if workers else folder) / 'exports')


@pytest.fixture(scope='session')
def _skeletons() -> dict[tuple[str, str], DepthModel]:
    return {}


@pytest.fixture
def built_once(
    _skeletons: dict[tuple[str, str], DepthModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Build each network that names and shapes are held against once in all tests.

    Only for `mismatches`, which does not put weights into it.
    """
    build = OfficialRequest.skeleton

    def skeleton(request: OfficialRequest) -> DepthModel:
        what = request.name, repr(sorted(request.options.items()))
        if what not in _skeletons:
            _skeletons[what] = build(request)
        return _skeletons[what]

    monkeypatch.setattr(OfficialRequest, 'skeleton', skeleton)


@pytest.fixture(scope='session')
def densedepth_official() -> Mapping[str, Tensor]:
    """A state dict of the authors' PyTorch class, drawn by the formula of the reference outputs.

    Each weight is drawn from a seed made of its key, so that the archive holds no weights.
    """
    state = {}
    for line in (DATA / 'dd_state_dict_keys.txt').read_text().splitlines():
        key, shape, dtype = line.split('\t')
        state[key] = (
            torch.zeros((), dtype=torch.int64)
            if dtype == 'torch.int64'
            else _formula(key, ast.literal_eval(shape))
        )
    return state


def _formula(key: str, shape: tuple[int, ...]) -> Tensor:
    drawn = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith('.weight') and len(shape) > 1:
        drawn = drawn / np.sqrt(np.prod(shape[1:]))
    elif key.endswith('.weight'):
        drawn = 1.0 + 0.1 * drawn
    elif key.endswith('.running_var'):
        drawn = 1.0 + 0.25 * np.abs(drawn)
    else:
        drawn = 0.1 * drawn
    return torch.from_numpy(np.asarray(drawn, dtype=np.float32))
