# SPDX-License-Identifier: Apache-2.0
"""A checkpoint run by torch itself: the reference the other backends are compared with."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import BackendError
from depth_core.models.serving import ServingGraph, manifest_of
from depth_core.runtime.backends.base import BackendRequest
from depth_core.weights.checkpoint import load_model


class TorchBackend:
    """A network of this package at the size it is made for, on the CPU; any number of images."""

    device: ClassVar[Literal['cpu', 'cuda']] = 'cpu'

    def __init__(self, request: BackendRequest) -> None:
        device = self.device
        if device == 'cuda' and not torch.cuda.is_available():
            message = f'torch {torch.__version__} sees no CUDA device; ask for torch.'
            raise BackendError(message)
        model = load_model(request.path, device)
        height, width = model.spec.default_size
        self.manifest = manifest_of(model, height=height, width=width, batch=0)
        self._graph = ServingGraph(model).eval()
        if request.threads is not None:
            torch.set_num_threads(request.threads)  # there is one number a process

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        # cuDNN would round to TF32, which keeps ten bits of the mantissa; fp32 was asked for.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            depth, sigma = self._graph(torch.from_numpy(images).to(self.device))
        return depth.cpu().numpy(), sigma.cpu().numpy()


class TorchCudaBackend(TorchBackend):
    """The same on an NVIDIA GPU."""

    device = 'cuda'
