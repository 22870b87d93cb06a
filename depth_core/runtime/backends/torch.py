# SPDX-License-Identifier: Apache-2.0
"""A checkpoint run by torch itself: the reference the other backends are compared with."""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depth_core.contracts import Float32Array, InputSpec, OutputSpec
from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.models import DepthModel
from depth_core.runtime.backends.base import BackendRequest
from depth_core.weights.checkpoint import load_model

_WHITE: Final = 255.0


class ServingGraph(nn.Module):
    """A network behind the contract of a graph: uint8 pixels in, two planes a picture out."""

    def __init__(self, model: DepthModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from `image`, [N, H, W, 3] uint8 RGB: depth and sigma, [N, H, W]."""
        images = image.permute(0, 3, 1, 2).to(torch.float32) / _WHITE  # [N, 3, H, W]
        prediction = self.model(images)
        return prediction.depth, prediction.sigma


def describe(model: DepthModel, *, height: int, width: int) -> Manifest:
    """Say what the `ServingGraph` of `model` takes and gives at this input size.

    Raises:
        ModelError: The network does not take this size.
    """
    model.check_input(torch.empty(0, 3, height, width))
    spec = model.spec
    return Manifest(
        name=spec.name,
        family=spec.family,
        options=model.options,
        divisor=spec.divisor,
        input=InputSpec(height=height, width=width),
        output=OutputSpec(kind=spec.kind, min_depth=spec.min_depth, max_depth=spec.max_depth),
    )


class TorchBackend:
    """A network of this package at the size it is made for."""

    def __init__(self, request: BackendRequest, *, device: Literal['cpu', 'cuda']) -> None:
        if device == 'cuda' and not torch.cuda.is_available():
            message = f'torch {torch.__version__} sees no CUDA device; ask for torch.'
            raise BackendError(message)
        model = load_model(request.path, device)
        height, width = model.spec.default_size
        self.manifest = describe(model, height=height, width=width)
        self._device = device
        self._graph = ServingGraph(model).eval()
        if request.threads is not None:
            torch.set_num_threads(request.threads)  # torch knows only one number a process

    def run(self, image: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute one image."""
        # cuDNN would round to TF32, which keeps ten bits of the mantissa; fp32 was asked for.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            depth, sigma = self._graph(torch.from_numpy(image).to(self._device))
        return depth[0].cpu().numpy(), sigma[0].cpu().numpy()
