# SPDX-License-Identifier: Apache-2.0
"""A graph as a file: one ONNX file, and beside it one of weights where those do not fit in."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnxscript import ir

from depth_core.manifest import METADATA_KEY, Manifest
from depth_core.protobuf import head
from depth_core.runtime.onnx_reader import read_graph

LARGEST_FILE: Final = 2**31 - 1
"""A protobuf message cannot be longer, and an ONNX file is one message."""

DATA_SUFFIX: Final = '.data'

_LARGE: Final = 1024
"""Smaller weights stay in the ONNX file, bytes: shapes are among them, which parsers look at."""

_ALIGNMENT: Final = 4096
"""Of each weight in the other file, bytes, so that runtimes can map it into memory."""

# Field numbers of ModelProto, GraphProto and TensorProto in onnx.proto.
_GRAPH: Final = 7
_INITIALIZER: Final = 5
_RAW_DATA: Final = 9

_FOR_THE_REST: Final = 64 << 20
"""Room for nodes, shapes and the manifest, bytes; a graph of 3000 nodes takes 2 MB."""


def write_graph(model: ir.Model, manifest: Manifest, path: Path) -> None:
    """Write `model` to `path`, without its manifest.

    Weights that do not fit into an ONNX file go to one beside it, and `model` refers to that
    then. Its name is drawn from what the graph was made of, so that a graph is never read with
    the weights of another.
    """
    weights = list(model.graph.initializers.values())
    if sum(_tensor(value).nbytes for value in weights) > LARGEST_FILE - _FOR_THE_REST:
        token = hashlib.sha256(manifest.to_json().encode()).hexdigest()[:16]
        _write_data(weights, path.with_name(f'{path.stem}.{token}{DATA_SUFFIX}'))
    _write_model(model, path)


def _write_model(model: ir.Model, path: Path) -> None:
    """Write what protobuf would for `model`, one weight after the other; none is copied.

    protobuf itself would hold all weights three times meanwhile.
    """
    weights = [(value, _tensor(value)) for value in model.graph.initializers.values()]
    model.graph.initializers.clear()
    proto = ir.serde.serialize_model(model)
    for value, _ in weights:
        model.graph.register_initializer(value)
    before, after = onnx.GraphProto(), onnx.GraphProto()
    before.CopyFrom(proto.graph)
    after.CopyFrom(proto.graph)
    for item, _ in after.ListFields():
        (before if item.number > _INITIALIZER else after).ClearField(item.name)
    parts: list[bytes | memoryview] = [before.SerializeToString()]
    for value, tensor in weights:
        parts.extend(_initializer(str(value.name), tensor))
    parts.append(after.SerializeToString())
    size = sum(len(part) for part in parts)
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    for item, _ in rest.ListFields():
        (proto if item.number >= _GRAPH else rest).ClearField(item.name)
    rest.ClearField('graph')
    with path.open('wb') as file:
        file.writelines((proto.SerializeToString(), head(_GRAPH, size), *parts))
        file.write(rest.SerializeToString())


def _initializer(name: str, tensor: ir.TensorProtocol) -> list[bytes | memoryview]:
    """One weight as a field of the graph, in pieces."""
    if isinstance(tensor, ir.ExternalTensor):
        content: list[bytes | memoryview] = [ir.serde.serialize_tensor(tensor).SerializeToString()]
    else:
        shape = [int(size) for size in tensor.shape.numpy()]
        about = onnx.TensorProto(dims=shape, data_type=int(tensor.dtype), name=name)
        values = np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data
        content = [about.SerializeToString(), head(_RAW_DATA, len(values)), values]
    return [head(_INITIALIZER, sum(len(part) for part in content)), *content]


def _write_data(weights: Iterable[ir.Value], path: Path) -> None:
    """Write all but small weights to `path`, one after the other; none is copied."""
    with path.open('wb') as file:
        for value in weights:
            tensor = _tensor(value)
            if tensor.nbytes < _LARGE:
                continue
            file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
            offset = file.tell()
            file.write(np.ascontiguousarray(tensor.numpy()).data)
            value.const_value = ir.ExternalTensor(
                path.name,
                offset,
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=str(value.name),
                base_dir=path.parent,
            )


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    tensor = value.const_value
    if tensor is None:
        message = f'initializer {value.name} has no value'
        raise ValueError(message)
    return tensor


def embed_manifest(path: Path, manifest: Manifest) -> None:
    """Put `manifest` into the metadata of the ONNX file at `path`, which has none yet.

    Messages of protobuf that follow each other are read as one, so that nothing else is written.
    """
    metadata = onnx.ModelProto()
    onnx.helper.set_model_props(metadata, {METADATA_KEY: manifest.to_json()})
    with path.open('ab') as file:
        file.write(metadata.SerializeToString())


def remove_former_data(path: Path) -> None:
    """Remove files of weights beside the graph at `path` that belonged to one it has replaced."""
    current = read_graph(path).external_files
    own = re.compile(re.escape(path.stem) + r'\.[0-9a-f]{16}' + re.escape(DATA_SUFFIX))
    for file in path.parent.iterdir():
        if own.fullmatch(file.name) and file.name not in current:
            file.unlink()
