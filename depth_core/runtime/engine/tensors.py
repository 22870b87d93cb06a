# SPDX-License-Identifier: Apache-2.0
"""What an engine takes and gives, read from it and held against the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime.engine.api import NUMPY_TYPES, ICudaEngine, TensorRt
from depth_core.runtime.graph import TensorInfo, check_graph

_DEPTH_TYPES: Final = ('float32', 'float16')
_FREE: Final = -1


@dataclass(frozen=True, kw_only=True)
class EngineTensor:
    """One input or output of an engine."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Each size, -1 where it is free."""
    is_input: bool

    @property
    def is_free(self) -> bool:
        """Whether its shape has to be set, or follows from one that is set."""
        return _FREE in self.shape


def read_tensors(trt: TensorRt, engine: ICudaEngine) -> tuple[EngineTensor, ...]:
    """Read the inputs and outputs of an engine, in its order.

    Raises:
        BackendError: One has a type, or stands in a memory, that is not served.
    """
    return tuple(
        _read_tensor(trt, engine, engine.get_tensor_name(index))
        for index in range(engine.num_io_tensors)
    )


def _read_tensor(trt: TensorRt, engine: ICudaEngine, name: str) -> EngineTensor:
    module = trt.module
    kind = engine.get_tensor_dtype(name).name
    if kind not in NUMPY_TYPES:
        message = f'tensor {name!r} of the engine is of type {kind}, which is not served here.'
        raise BackendError(message)
    if engine.get_tensor_location(name) != module.TensorLocation.DEVICE:
        message = f'tensor {name!r} of the engine is a shape in host memory; export without it.'
        raise BackendError(message)
    return EngineTensor(
        name=name,
        dtype=np.dtype(NUMPY_TYPES[kind]),
        shape=tuple(int(size) for size in engine.get_tensor_shape(name)),
        is_input=engine.get_tensor_mode(name) == module.TensorIOMode.INPUT,
    )


def check_tensors(path: Path, manifest: Manifest, tensors: Sequence[EngineTensor]) -> None:
    """Refuse an engine that does not take and give what its manifest says.

    Raises:
        ModelError: Names, types or shapes differ; the message names both sides.
        BackendError: An output is not of a floating type.
    """
    inputs = graph_inputs(manifest, tensors)
    outputs = [_info(tensor, manifest) for tensor in tensors if not tensor.is_input]
    check_graph(path, manifest, inputs, outputs)
    wanted = set(manifest.outputs)
    for tensor in tensors:
        if tensor.name in wanted and tensor.dtype not in _DEPTH_TYPES:
            message = (
                f'output {tensor.name!r} of the engine is of type {tensor.dtype}; depth, '
                f'sigma and masks are {" or ".join(_DEPTH_TYPES)}.'
            )
            raise BackendError(message)


def graph_inputs(manifest: Manifest, tensors: Sequence[EngineTensor]) -> list[TensorInfo]:
    """The inputs of an engine, as a graph declares them."""
    return [_info(tensor, manifest) for tensor in tensors if tensor.is_input]


def _info(tensor: EngineTensor, manifest: Manifest) -> TensorInfo:
    shape = tuple(None if size == _FREE else size for size in tensor.shape)
    if tensor.is_input and not manifest.input.batch and shape:
        # An engine for one image at most may state its free batch as 1.
        shape = (None, *shape[1:])
    return TensorInfo(name=tensor.name, dtype=str(tensor.dtype), shape=shape)


def largest_batch(engine: ICudaEngine, tensor: EngineTensor) -> int:
    """Most images that the input `tensor` takes: of its profile where its batch is free."""
    if not tensor.shape or tensor.shape[0] != _FREE:
        return tensor.shape[0] if tensor.shape else 1
    _, _, largest = engine.get_tensor_profile_shape(tensor.name, 0)
    return int(largest[0])
