# SPDX-License-Identifier: Apache-2.0
"""What is special to ONNX Runtime: bound memory, and the proof of where nodes ran."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import BackendError
from depth_core.runtime.backends import BackendRequest, onnxruntime_placement
from depth_core.runtime.backends.base import cuda_index
from depth_core.runtime.backends.onnxruntime import OnnxRuntimeBackend
from depth_core.runtime.backends.onnxruntime_binding import Binding
from depth_core.runtime.backends.onnxruntime_placement import profiled, report_placement
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric


class ProvenBackend(OnnxRuntimeBackend):
    """The CPU made to prove itself, as providers of GPUs have to."""

    placed: ClassVar[bool] = True


class StagedBinding(Binding):
    """Memory of a device, which happens to be the CPU's."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._staged = True


@pytest.fixture(scope='module')
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx', batch=0)


def batch(code: int, images: int = 1) -> NDArray[np.uint8]:
    return np.full((images, 64, 96, 3), code, np.uint8)


def depth_of(code: int) -> float:
    return 2.0 + 10.0 * code / 255.0


@pytest.mark.parametrize('kind', [Binding, StagedBinding])
def test_bound_memory_serves_every_batch_and_shape(standin: Path, kind: type[Binding]) -> None:
    session = onnxruntime.InferenceSession(standin, providers=['CPUExecutionProvider'])
    bound = kind(session, ['depth', 'sigma'], ('cpu', 0))
    same = batch(0)
    for images in (batch(10), batch(20), same, same, batch(40, 3), batch(50, 3), batch(60)):
        if images is same:
            np.add(images, 30, out=images)  # what is bound is read anew
        code = int(images[0, 0, 0, 0])
        depth, sigma = bound.run({'image': images})
        assert depth.shape == images.shape[:3]
        np.testing.assert_allclose(depth, depth_of(code), rtol=1e-6)
        np.testing.assert_allclose(sigma, 0.1 * depth_of(code), rtol=1e-6)


def test_a_second_batch_is_answered_in_the_same_memory(standin: Path) -> None:
    backend = OnnxRuntimeBackend(BackendRequest(path=standin, threads=1))
    backend.run(batch(1))
    first, _ = backend.run(batch(2))
    again, _ = backend.run(batch(3))
    assert np.shares_memory(first, again)


def test_what_it_cannot_compute_is_an_error_in_words(standin: Path) -> None:
    backend = OnnxRuntimeBackend(BackendRequest(path=standin, threads=1))
    for wrong in (batch(1).astype(np.float32), batch(1)[:, :32].copy()):
        with pytest.raises(BackendError, match='onnxruntime failed while computing: '):
            backend.run(wrong)
    depth, _ = backend.run(batch(7))
    np.testing.assert_allclose(depth, depth_of(7), rtol=1e-6)


def test_the_provider_that_computes_is_told(
    standin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, 'depth_core'):
        backend = ProvenBackend(BackendRequest(path=standin, threads=1))
    assert f'{standin}: CPUExecutionProvider computes all ' in caplog.text
    depth, _ = backend.run(batch(51))
    np.testing.assert_allclose(depth, 4.0, rtol=1e-6)


class FailingBackend(ProvenBackend):
    """A provider that fails when it first computes."""

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        super().run(images)
        message = 'out of memory'
        raise BackendError(message)


def test_no_profile_is_left_behind(
    standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    with pytest.raises(BackendError, match='out of memory'):
        FailingBackend(BackendRequest(path=standin, threads=1))
    ProvenBackend(BackendRequest(path=standin, threads=1))
    assert list(tmp_path.iterdir()) == []


def test_a_provider_that_computes_nothing_is_refused(standin: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    profiled(options, str(tmp_path))
    session = onnxruntime.InferenceSession(standin, options, providers=['CPUExecutionProvider'])
    session.run(None, {'image': batch(0)})
    profile = session.end_profiling()
    with pytest.raises(
        BackendError, match=r'CUDAExecutionProvider is listed and computed no node: '
        r'CPUExecutionProvider \d+ \(.*Cast 1'
    ):  # fmt: skip
        report_placement(profile, 'CUDAExecutionProvider', 'standin')


def test_nodes_left_to_another_provider_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / 'profile'
    folder.mkdir()
    events = ', '.join(
        f'{{"cat": "Node", "args": {{"provider": "{provider}", "op_name": "{kind}"}}}}'
        for provider, kind in (
            ('CUDAExecutionProvider', 'Conv'), ('CUDAExecutionProvider', 'Add'),
            ('CPUExecutionProvider', 'Gather'),
        )
    )  # fmt: skip
    (folder / 'a.json').write_text(f'[{{"cat": "Session"}}, {events}]', encoding='utf-8')
    with caplog.at_level(logging.INFO, onnxruntime_placement.__name__):
        report_placement(str(folder / 'a.json'), 'CUDAExecutionProvider', 'a.onnx')
    (message,) = caplog.messages
    assert message == (
        'a.onnx: CUDAExecutionProvider computes 2 nodes, CPUExecutionProvider 1 (Gather 1)'
    )


def test_cuda_devices_by_name() -> None:
    assert [cuda_index(name) for name in (None, 'cuda', 'cuda:0', 'CUDA:12', '3')] == [
        0, 0, 0, 12, 3
    ]  # fmt: skip
    for wrong in ('GPU.0', 'cuda:', '-1', 'cuda:x', ''):
        with pytest.raises(BackendError, match='is no CUDA device; give cuda:0'):
            cuda_index(wrong)


@pytest.mark.parametrize('device', ['GPU.0', 'cuda:0'])
def test_the_processor_is_its_only_device(standin: Path, device: str) -> None:
    with pytest.raises(BackendError, match=f'runs on CPU alone, and device {device!r}'):
        OnnxRuntimeBackend(BackendRequest(path=standin, device=device))
