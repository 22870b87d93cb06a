# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: on the CPU, through CUDA, or through its TensorRT provider."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import BackendError
from depth_core.runtime.backends.base import (
    BackendRequest,
    cuda_index,
    reason,
    refuse_device,
)
from depth_core.runtime.backends.compiled_files import ONNXRUNTIME_TENSORRT
from depth_core.runtime.backends.cpu_graphs import cpu_graph
from depth_core.runtime.backends.onnxruntime_binding import Binding
from depth_core.runtime.backends.onnxruntime_placement import (
    profile_folder,
    profiled,
    report_placement,
)
from depth_core.runtime.backends.onnxruntime_sizes import with_sizes
from depth_core.runtime.engine.folder import default_folder, private_folder
from depth_core.runtime.engine.graph_hash import GraphHashes
from depth_core.runtime.engine.graphs import graph_for
from depth_core.runtime.engine.key import key_of
from depth_core.runtime.extra_inputs import ExtraInputs
from depth_core.runtime.graph import TensorInfo, check_graph, input_shape, planes_of
from depth_core.runtime.weights_beside import refuse_missing_weights

Provider: TypeAlias = Literal[
    'CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider'
]
Options: TypeAlias = dict[str, str]

_ERRORS_ONLY: Final = 3
_FATAL_ONLY: Final = 4

_logger = logging.getLogger(__name__)


class OnnxRuntimeBackend:
    """A session on one execution provider, and on no other: the CPU."""

    provider: ClassVar[Provider] = 'CPUExecutionProvider'
    placed: ClassVar[bool] = False
    """Whether it has to be proven where the nodes run; a session of one provider has no choice."""

    def __init__(self, request: BackendRequest) -> None:
        path = self._graph(request)
        self.manifest = request.manifest_of(path)
        available = onnxruntime.get_available_providers()
        if self.provider not in available:
            message = (
                f'this onnxruntime {onnxruntime.__version__} has no {self.provider} '
                f'(it has {", ".join(available)}); install a build that does.'
            )
            raise BackendError(message)
        # Where profiles lie until the proof; they go with it, whether or not anything fails.
        with profile_folder(wanted=self.placed) as self._profiles:
            self._session = self._open(path, request)
            self._session.disable_fallback()
            self._bind(path, request)
            if self.placed:
                self._prove(path)

    def _bind(self, path: Path, request: BackendRequest) -> None:
        """Check the graph against its manifest, and bind memory to it."""
        inputs = [_info(item) for item in self._session.get_inputs()]
        outputs = [_info(item) for item in self._session.get_outputs()]
        check_graph(path, self.manifest, inputs, outputs)
        self.extra_inputs = ExtraInputs(self.manifest, inputs)
        self._outputs = self.manifest.outputs
        self._binding = Binding(self._session, self._outputs, self._memory(request))

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch."""
        count = len(images)
        inputs = {self.manifest.input.name: images, **self.extra_inputs.usual(count)}
        return planes_of(self.manifest, self.run_named(inputs), count)

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Compute a batch from all inputs."""
        try:
            answers = self._binding.run(inputs)
        except BackendError:
            raise
        except Exception as error:  # each failure has its own class here, with no common parent
            message = f'onnxruntime failed while computing: {reason(error)}'
            raise BackendError(message) from error
        return dict(zip(self._outputs, answers, strict=True))

    def _graph(self, request: BackendRequest) -> Path:
        """The graph of the precision that was asked for."""
        refuse_device(request.device, 'CPU')
        return cpu_graph(request.path, request.precision, request.manifest)

    def _memory(self, request: BackendRequest) -> tuple[str, int]:
        """Where inputs and outputs are, as ONNX Runtime calls it, and on which device."""
        del request
        return 'cpu', 0

    def _providers(self, path: Path, request: BackendRequest) -> list[tuple[Provider, Options]]:
        """The providers to place nodes on, the preferred one first."""
        del path, request
        return [(self.provider, {})]

    def _open(self, path: Path, request: BackendRequest) -> onnxruntime.InferenceSession:
        return self._session_on(path, request, self._providers(path, request))

    def _session_on(
        self, path: Path, request: BackendRequest, providers: list[tuple[Provider, Options]]
    ) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ONLY if self.placed else _ERRORS_ONLY
        if request.threads is not None:
            options.intra_op_num_threads = request.threads
        if self.placed:
            profiled(options, self._profiles)
        model = with_sizes(path, self.manifest, options)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # as above
            refuse_missing_weights(path)
            message = f'onnxruntime cannot load the graph: {reason(error)}'
            raise BackendError(message) from error
        # A provider that fails to start leaves its work to the CPU without an error.
        used = session.get_providers()
        if used[0] != self.provider:
            message = (
                f'{self.provider} did not start, {used[0]} would compute; check its libraries.'
            )
            raise BackendError(message)
        return session

    def _prove(self, path: Path) -> None:
        """Compute once, and see that the provider took part; what it left to others is logged.

        Raises:
            BackendError: It computed nothing, although the session lists it.
        """
        self.run(np.zeros(input_shape(self.manifest), self.manifest.input.dtype))
        report_placement(self._session.end_profiling(), self.provider, str(path))


class OnnxRuntimeCudaBackend(OnnxRuntimeBackend):
    """The same on an NVIDIA GPU."""

    provider: ClassVar[Provider] = 'CUDAExecutionProvider'
    placed = True

    def _graph(self, request: BackendRequest) -> Path:
        return graph_for(
            request.path, request.precision, GraphHashes(), manifest=request.manifest
        ).path

    def _memory(self, request: BackendRequest) -> tuple[str, int]:
        return 'cuda', cuda_index(request.device)

    def _providers(self, path: Path, request: BackendRequest) -> list[tuple[Provider, Options]]:
        del path
        # TF32 keeps ten bits of the mantissa; fp32 was asked for.
        options = {'device_id': str(cuda_index(request.device)), 'use_tf32': '0'}
        return [('CUDAExecutionProvider', options)]


class OnnxRuntimeTensorRtBackend(OnnxRuntimeCudaBackend):
    """The same with TensorRT for all of the graph that it takes, and CUDA for the rest.

    The provider finds its engines by names, not by weights: so each graph has a folder of its own.
    """

    provider: ClassVar[Provider] = 'TensorrtExecutionProvider'

    def _open(self, path: Path, request: BackendRequest) -> onnxruntime.InferenceSession:
        """Open as TensorRT wants it: the types of the graph may need its leave, or be all."""
        try:
            return super()._open(path, request)
        except BackendError:
            if request.precision != 'fp16':
                raise
        # Before 10 TensorRT takes fp16 only with this option, and after that it has none.
        (provider, options), *others = self._providers(path, request)
        allowed = (provider, {**options, 'trt_fp16_enable': '1'})
        return self._session_on(path, request, [allowed, *others])

    def _providers(self, path: Path, request: BackendRequest) -> list[tuple[Provider, Options]]:
        folder = _engine_folder(path, request)
        options = {
            'device_id': str(cuda_index(request.device)),
            'trt_engine_cache_enable': '1',
            'trt_engine_cache_path': str(folder),
            'trt_timing_cache_enable': '1',
            'trt_timing_cache_path': str(folder),
        }
        if request.engine.workspace_bytes is not None:
            options['trt_max_workspace_size'] = str(request.engine.workspace_bytes)
        return [('TensorrtExecutionProvider', options), *super()._providers(path, request)]


def _engine_folder(path: Path, request: BackendRequest) -> Path:
    """A private folder for the engines of this graph, this runtime and this precision."""
    folder = private_folder(request.engine.cache_dir or default_folder())
    key = key_of(
        {
            'graph': GraphHashes(folder).of(path),
            'onnxruntime': onnxruntime.__version__,
            'precision': request.precision,
            # Engines of graphs of one size were kept before there were others.
            **({} if request.size is None else {'size': list(request.size)}),
        }
    )
    return private_folder(folder / ONNXRUNTIME_TENSORRT / key[:32])


def _info(item: onnxruntime.NodeArg) -> TensorInfo:
    dtype = item.type.removeprefix('tensor(').removesuffix(')')
    return TensorInfo(
        name=item.name,
        dtype={'float': 'float32', 'double': 'float64'}.get(dtype, dtype),
        shape=tuple(size if isinstance(size, int) else None for size in item.shape),
    )
