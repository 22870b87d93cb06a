# SPDX-License-Identifier: Apache-2.0
"""Caches for the tests of engines that are provided: empty, or with the engine of the stand-in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from test.depth_core.runtime.engine.places import Place
from test.fakes.gpu import Gpu
from test.fakes.installation import installed
from test.standin import write_standin_onnx


@pytest.fixture
def place(tmp_path: Path, fake_gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty cache."""
    del fake_gpu  # installed
    monkeypatch.setenv('FAKE_TENSORRT_BUILD_LOG', str(tmp_path / 'builds'))
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    return Place(model, tmp_path / 'engines', tmp_path / 'builds')


@pytest.fixture(scope='session')
def built_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the engine of the stand-in."""
    folder = tmp_path_factory.mktemp('built')
    model = write_standin_onnx(folder / 'standin.onnx')
    with installed():
        Place(model, folder / 'engines', folder / 'builds').open()
    return folder / 'engines'


@pytest.fixture
def built(place: Place, built_folder: Path) -> Place:
    """A cache of its own with the engine of the stand-in, whose build is not counted."""
    shutil.copytree(built_folder, place.folder)
    return place
