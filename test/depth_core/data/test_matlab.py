# SPDX-License-Identifier: Apache-2.0
"""Damaged MATLAB files."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.data import open_dataset
from depth_core.data.published import matlab
from depth_core.errors import DataError
from test.depth_core.data.matlab_files import ibims_matlab, write_matlab


@pytest.mark.parametrize('cut', [20, 127, 200, 300, -9])
def test_a_damaged_matlab_file_is_named(tmp_path: Path, cut: int) -> None:
    ibims_matlab(tmp_path / 'data')
    path = tmp_path / 'data/corridor_01.mat'
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r'corridor_01\.mat cannot be read as a MATLAB file'):
        open_dataset('ibims', root=tmp_path / 'data')[0]


def test_a_matlab_file_that_would_fill_the_memory_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, '_MAX_BYTES', 10_000)
    ibims_matlab(tmp_path / 'data')
    write_matlab(tmp_path / 'data/corridor_01.mat', b'\0' * 10_001)
    with pytest.raises(DataError, match='unpacks to more than'):
        open_dataset('ibims', root=tmp_path / 'data')[0]
