# SPDX-License-Identifier: Apache-2.0
"""What is special to torch: compiling, and what happens where that fails."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime.backends import BackendRequest
from depth_core.runtime.backends import torch as torch_backend
from depth_core.runtime.backends.torch import TorchBackend, TorchCompiledBackend, TorchCudaBackend

pytestmark = pytest.mark.numeric

REQUEST = BackendRequest(path=Path('small.ckpt'))


class Serving(nn.Module):
    """Depth is the sum of the channels, sigma a tenth of it."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        depth = image.to(torch.float32).sum(dim=3)
        return depth, depth / 10.0


class Compiled(TorchCompiledBackend):
    """With that in the place of a network from a checkpoint."""

    def __init__(self) -> None:
        self._device = 'cpu'
        self.manifest = Manifest(
            name='sum',
            input=InputSpec(height=4, width=6, batch=0),
            output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0),
        )
        self._graph = self._prepared(Serving())  # type: ignore[arg-type]  # it serves as well


def check(backend: TorchBackend) -> None:
    for images in (1, 3):
        depth, sigma = backend.run(np.full((images, 4, 6, 3), 5, np.uint8))
        assert sigma is not None
        np.testing.assert_array_equal(depth, np.full((images, 4, 6), 15.0))
        np.testing.assert_allclose(sigma, 1.5)


def test_the_first_call_is_made_at_once_and_timed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Everything of torch's compiler but the C++ compiler behind it, which takes minutes.
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend='eager'))
    with caplog.at_level(logging.INFO, 'depth_core'):
        backend = Compiled()
    ours = [record for record in caplog.records if record.name.startswith('depth_core')]
    assert [record.levelname for record in ours] == ['INFO']
    assert 'torch compiled the network in ' in ours[0].getMessage()
    check(backend)


def test_what_cannot_be_compiled_runs_as_it_is_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(graph: Any, inputs: Any) -> Any:
        del graph, inputs
        message = 'no C++ compiler was found\nand much more'
        raise RuntimeError(message)

    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=no_compiler))
    with caplog.at_level(logging.INFO, 'depth_core'):
        backend = Compiled()
    ours = [record for record in caplog.records if record.name.startswith('depth_core')]
    assert [record.levelname for record in ours] == ['WARNING']
    assert 'runs it as it is: ' in ours[0].getMessage()
    assert 'no C++ compiler was found' in ours[0].getMessage()
    check(backend)


def test_devices_that_are_not_here_are_refused() -> None:
    with pytest.raises(BackendError, match="runs on CPU alone, and device 'cuda:0'"):
        TorchBackend(BackendRequest(path=Path('small.ckpt'), device='cuda:0'))
    if torch.cuda.is_available():
        with pytest.raises(BackendError, match=r'CUDA devices, and device .*77'):
            TorchCudaBackend(BackendRequest(path=Path('small.ckpt'), device='cuda:77'))
    else:
        with pytest.raises(BackendError, match='sees no CUDA device; ask for torch'):
            TorchCudaBackend(REQUEST)


def test_running_out_of_memory_is_an_error_in_words() -> None:
    class Hungry(Compiled):
        def _prepared(self, graph: Any) -> Any:
            del graph
            return lambda images: torch.empty(2**60, device=images.device)

    with pytest.raises(BackendError, match='torch failed while computing: '):
        Hungry().run(np.zeros((1, 4, 6, 3), np.uint8))


def test_a_device_without_room_for_the_weights_is_a_reason_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_model(*_: object) -> None:
        message = 'CUDA out of memory. Tried to allocate 20.00 MiB.'
        raise torch.OutOfMemoryError(message)

    monkeypatch.setattr(torch_backend, 'load_model', load_model)
    with pytest.raises(BackendError, match='cannot bring the network to cpu: CUDA out of memory'):
        TorchBackend(REQUEST)
