# SPDX-License-Identifier: Apache-2.0
"""What is special to OpenVINO: devices by name, and snippets that need too many registers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from depth_core.errors import BackendError
from depth_core.runtime.backends import BackendRequest, openvino_cache
from depth_core.runtime.backends import openvino as backend_module
from depth_core.runtime.backends.openvino import OpenVinoBackend
from depth_core.runtime.engine.options import EngineOptions
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric


@pytest.fixture(scope='module')
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


class FewRegisters:
    """The core of a processor on which no snippet compiles; everything else is the real one."""

    def __init__(self) -> None:
        self.real = openvino.Core()
        self.settings: list[dict[str, Any]] = []
        self.complaint = "Can't allocate registers for a snippet: not enough registers"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
        self.settings.append(settings)
        if settings.get('SNIPPETS_MODE') != 'DISABLE':
            raise RuntimeError(self.complaint)
        return self.real.compile_model(model, device, settings)


def test_a_graph_whose_snippets_do_not_compile_runs_without_them(
    standin: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    core = FewRegisters()
    monkeypatch.setattr(backend_module, '_core', lambda: core)
    with caplog.at_level(logging.INFO, 'depth_core'):
        backend = OpenVinoBackend(BackendRequest(path=standin, threads=1))
    assert 'compiles without snippets here: ' in caplog.text
    assert [settings.get('SNIPPETS_MODE') for settings in core.settings] == [None, 'DISABLE']
    assert core.settings[0].items() <= core.settings[1].items()
    depth, _ = backend.run(np.full((1, 64, 96, 3), 51, np.uint8))
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)


def test_another_complaint_of_the_compiler_is_handed_on(
    standin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = FewRegisters()
    core.complaint = 'there is no memory left'
    monkeypatch.setattr(backend_module, '_core', lambda: core)
    with pytest.raises(BackendError, match='cannot compile the graph for CPU: there is no memory'):
        OpenVinoBackend(BackendRequest(path=standin))
    assert len(core.settings) == 1


def test_an_input_is_read_anew_wherever_it_is(standin: Path) -> None:
    backend = OpenVinoBackend(BackendRequest(path=standin, threads=1))

    def depth(images: NDArray[np.uint8]) -> float:
        return float(backend.run(images)[0][0, 5, 5])

    one = np.full((1, 64, 96, 3), 51, np.uint8)
    other = np.full((1, 64, 96, 3), 102, np.uint8)
    first, second = depth(one), depth(other)
    assert first == pytest.approx(4.0, rel=1e-6)
    assert second != pytest.approx(first, rel=1e-3)
    one[...] = 102  # the same memory
    assert depth(one) == second
    assert depth(one) == second
    one[...] = 51
    assert depth(one) == first
    del one
    assert depth(np.full((1, 64, 96, 3), 102, np.uint8)) == second


def test_what_a_large_graph_is_compiled_to_is_kept_in_a_private_folder(
    standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = BackendRequest(
        path=standin, threads=1, engine=EngineOptions(cache_dir=tmp_path / 'engines')
    )

    def blobs() -> list[Path]:
        return list((tmp_path / 'engines' / 'openvino').glob('*/*.blob'))

    def check() -> None:
        depth, _ = OpenVinoBackend(request).run(np.full((1, 64, 96, 3), 51, np.uint8))
        np.testing.assert_allclose(depth, 4.0, rtol=1e-6)

    check()
    assert blobs() == [], 'a small graph is compiled each time'
    monkeypatch.setattr(openvino_cache, 'WORTH_KEEPING_BYTES', 1)
    check()
    (kept,) = blobs()
    assert kept.parent.stat().st_mode & 0o077 == 0
    written = kept.stat().st_mtime_ns
    check()
    assert kept.stat().st_mtime_ns == written, 'it was not compiled again'
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:1000])
    check()
    monkeypatch.setattr(openvino_cache, 'LIMIT_BYTES', 0)
    openvino_cache.cache_folder(standin, tmp_path / 'engines')
    assert blobs() == []
    (tmp_path / 'engines' / 'openvino').chmod(0o777)
    assert openvino_cache.cache_folder(standin, tmp_path / 'engines') is None
    check()


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(
    standin: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    missing = Path('/proc/nowhere')
    monkeypatch.setattr(backend_module, 'cache_folder', lambda *_: missing)
    with caplog.at_level(logging.INFO, 'depth_core'):
        backend = OpenVinoBackend(BackendRequest(path=standin, threads=1))
    depth, _ = backend.run(np.full((1, 64, 96, 3), 51, np.uint8))
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)


def test_its_processor_goes_by_its_name(standin: Path) -> None:
    backend = OpenVinoBackend(BackendRequest(path=standin, threads=1, device='cpu'))
    depth, _ = backend.run(np.full((1, 64, 96, 3), 51, np.uint8))
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)


@pytest.mark.parametrize('device', ['GPU.7', 'NPU.7', 'gpu.7', 'AUTO:GPU', 'x'])
def test_a_device_that_is_not_here_is_answered_with_those_that_are(
    standin: Path, device: str
) -> None:
    with pytest.raises(BackendError, match=f'no device {device!r} here, only .*CPU'):
        OpenVinoBackend(BackendRequest(path=standin, device=device))


def test_what_it_cannot_compute_is_an_error_in_words(standin: Path) -> None:
    backend = OpenVinoBackend(BackendRequest(path=standin, threads=1))
    with pytest.raises(BackendError, match='openvino failed while computing: '):
        backend.run(np.zeros((1, 64, 95, 3), np.uint8))
    depth, _ = backend.run(np.full((1, 64, 96, 3), 51, np.uint8))
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)
