# SPDX-License-Identifier: Apache-2.0
"""A checkpoint run by torch itself: the reference the other backends are compared with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.contracts import Float32Array
from depth_core.errors import BackendError
from depth_core.models.serving import ServingGraph, served_manifest
from depth_core.runtime.backends.base import BackendRequest, cuda_index, reason, refuse_device
from depth_core.runtime.extra_inputs import ExtraInputs
from depth_core.weights.checkpoint import load_model

Graph: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]

_logger = logging.getLogger(__name__)


class TorchBackend:
    """A network of this package on the CPU, at every size it takes; any number of images."""

    kind: ClassVar[Literal['cpu', 'cuda']] = 'cpu'

    def __init__(self, request: BackendRequest) -> None:
        self._device = self._open_device(request)
        try:
            model = load_model(request.path, self._device)
        except RuntimeError as error:  # out of memory, or a GPU that torch was not built for
            message = f'torch cannot bring the network to {self._device}: {reason(error)}'
            raise BackendError(message) from error
        self.manifest = served_manifest(model, batch=0)
        if request.threads is not None:
            torch.set_num_threads(request.threads)  # there is one number a process
        self.extra_inputs = ExtraInputs(self.manifest, ())
        self._graph = self._prepared(ServingGraph(model).eval())

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        try:
            depth, sigma = self._compute(self._graph, torch.from_numpy(images))
        except RuntimeError as error:  # out of memory, above all
            message = f'torch failed while computing: {reason(error)}'
            raise BackendError(message) from error
        return depth.cpu().numpy(), sigma.cpu().numpy()

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Compute a batch from its only input."""
        depth, sigma = self.run(inputs[self.manifest.input.name])
        named = zip(self.manifest.outputs, (depth, sigma), strict=True)
        return {name: plane for name, plane in named if plane is not None}

    def _prepared(self, graph: ServingGraph) -> Graph:
        """Make the network ready to be called."""
        return graph

    def _compute(self, graph: Graph, images: Tensor) -> tuple[Tensor, Tensor]:
        # cuDNN would round to TF32, which keeps ten bits of the mantissa; fp32 was asked for.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return graph(images.to(self._device))

    def _open_device(self, request: BackendRequest) -> str:
        """The device as torch calls it.

        Raises:
            BackendError: There is no such device.
        """
        if self.kind == 'cpu':
            refuse_device(request.device, 'CPU')
            return 'cpu'
        if not torch.cuda.is_available():
            message = f'torch {torch.__version__} sees no CUDA device; ask for torch.'
            raise BackendError(message)
        index, found = cuda_index(request.device), torch.cuda.device_count()
        if index >= found:
            message = (
                f'torch sees {found} CUDA devices, and device {request.device!r} was asked for; '
                f'give cuda:0 to cuda:{found - 1}.'
            )
            raise BackendError(message)
        return f'cuda:{index}'


class TorchCudaBackend(TorchBackend):
    """The same on an NVIDIA GPU."""

    kind: ClassVar[Literal['cpu', 'cuda']] = 'cuda'


class TorchCompiledBackend(TorchBackend):
    """The same compiled by torch for this processor, on the first batch of each shape.

    Where that is not possible, for want of a C++ compiler for instance, the network runs as it
    is, and one warning says so.
    """

    def _prepared(self, graph: ServingGraph) -> Graph:
        spec = self.manifest.input
        compiled: Graph = torch.compile(graph, dynamic=False)
        black = torch.zeros(1, spec.height, spec.width, 3, dtype=torch.uint8)
        start = time.perf_counter()
        try:
            self._compute(compiled, black)
        except Exception as error:  # noqa: BLE001 compilers fail in every way there is
            lines = (str(error).strip() or type(error).__name__).splitlines()
            said = ' '.join(lines[:2])  # the first may only name the compiler
            _logger.warning('torch cannot compile the network and runs it as it is: %s', said)
            torch.compiler.reset()
            return graph
        _logger.info('torch compiled the network in %.1f s', time.perf_counter() - start)
        return compiled
