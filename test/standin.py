# SPDX-License-Identifier: Apache-2.0
"""A graph of four nodes that stands in for a network where a test needs known numbers."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from depth_core.contracts import DepthKind, InputSpec, OutputSpec, SizeRule
from depth_core.manifest import (
    METADATA_KEY,
    ErrorSpread,
    Manifest,
    PrecisionError,
    read_manifest,
)

NEAREST_M = 2.0
"""What the stand-in answers for black, metres."""
SPAN_M = 10.0
"""White is this much farther than black, metres."""
SIGMA_RATIO = 0.1
"""Sigma is this fraction of the depth."""


def write_standin_onnx(
    path: Path,
    *,
    height: int = 64,
    width: int = 96,
    min_depth: float = 0.5,
    max_depth: float = 80.0,
    batch: int = 1,
    free_multiple: int = 0,
) -> Path:
    """Write a graph that keeps the contract, with its manifest inside.

    depth = 2 m + 10 m * mean(R, G, B) / 255 per pixel and sigma = 0.1 depth. A `batch` of 0
    leaves the number of images free. With `free_multiple` height and width are free, multiples of
    that, and keep the aspect of the camera with as many pixels.
    """
    sides = ('height', 'width') if free_multiple else (height, width)
    shape = [batch or 'images', *sides]
    sized: dict[str, Any] = {}
    if free_multiple:
        rule = SizeRule(mode='pixels', target=height * width)
        sized = {'size': rule, 'multiple': free_multiple, 'resize': 'keep_aspect'}
    nodes = [
        helper.make_node('Cast', ['image'], ['codes'], to=TensorProto.FLOAT),
        helper.make_node('ReduceMean', ['codes', 'channels'], ['grey'], keepdims=0),
        helper.make_node('Mul', ['grey', 'metres_per_code'], ['above']),
        helper.make_node('Add', ['above', 'nearest'], ['depth']),
        helper.make_node('Mul', ['depth', 'sigma_ratio'], ['sigma']),
    ]
    graph = helper.make_graph(
        nodes,
        'standin',
        [helper.make_tensor_value_info('image', TensorProto.UINT8, [*shape, 3])],
        [
            helper.make_tensor_value_info('depth', TensorProto.FLOAT, shape),
            helper.make_tensor_value_info('sigma', TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor('channels', TensorProto.INT64, [1], [3]),
            helper.make_tensor('metres_per_code', TensorProto.FLOAT, [], [SPAN_M / 255.0]),
            helper.make_tensor('nearest', TensorProto.FLOAT, [], [NEAREST_M]),
            helper.make_tensor('sigma_ratio', TensorProto.FLOAT, [], [SIGMA_RATIO]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    manifest = Manifest(
        name='standin',
        input=InputSpec(height=height, width=width, batch=batch, **sized),
        output=OutputSpec(kind=DepthKind.METRIC, min_depth=min_depth, max_depth=max_depth),
    )
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def write_sibling(model: Path, name: str, **changes: Any) -> Path:
    """Write a graph beside `model` whose manifest says that it was made from it, in fp16.

    Args:
        model: The fp32 graph, with its manifest inside.
        name: Of the file.
        changes: What else its manifest says.
    """
    spread = ErrorSpread(mean=1e-4, p999=1e-3, max=1e-2)
    error = PrecisionError(
        reference=model.name,
        reference_sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        method='rounded emulation',
        images='drawn',
        image_count=5,
        depth=spread,
        sigma=spread,
        max_p999=1.0,
        max_max=1.0,
    )
    manifest = dataclasses.replace(
        read_manifest(model), **{'precision': 'fp16', 'precision_error': error, **changes}
    )
    proto = onnx.load(model)
    onnx.helper.set_model_props(proto, {METADATA_KEY: manifest.to_json()})
    path = model.with_name(name)
    onnx.save(proto, path)
    return path
