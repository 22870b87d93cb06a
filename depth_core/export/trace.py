# SPDX-License-Identifier: Apache-2.0
"""From a network to the operators of ONNX."""

from __future__ import annotations

from typing import Any, Final

import torch
from onnxscript import ir

from depth_core.contracts.graph import least_multiples
from depth_core.errors import ExportError, ModelError
from depth_core.export.opset import OPSET, lower
from depth_core.export.simplify import simplify
from depth_core.manifest import Manifest
from depth_core.models.serving import ServingGraph

_FREE_BATCH: Final = 'batch'
"""What the number of images is called where it is free."""
_FREE_SIDES: Final = ('height', 'width')
"""What their sides are called where those are free."""
_LARGEST_SIDE: Final = 1 << 14
"""Pixels."""


def traced(
    graph: ServingGraph, manifest: Manifest, *, free_size: bool = False, opset: int = OPSET
) -> ir.Model:
    """Write `graph` in operators of ONNX, of the sizes of `manifest`.

    Its initializers are the weights of the network themselves, not copies.

    Args:
        graph: The network.
        manifest: What it takes; its size is the one that the network is looked at with.
        free_size: Leave height and width free, multiples of the divisor of the network and at
            least its smallest side.
        opset: One of `opset.OPSETS`.

    Raises:
        ExportError: The network does what ONNX has no operator for, or that opset has none for.
        ModelError: The network does not take this size.
    """
    spec = manifest.input
    free = _free_axes(manifest, sides=free_size)
    # Sizes of 0 and 1 never stay free in torch.export, whatever it is asked for.
    example = torch.zeros(spec.batch or 2, spec.height, spec.width, 3, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name],
            output_names=[manifest.output.depth, str(manifest.output.sigma)],
            dynamic_shapes={'image': free} if free else None,
            optimize=False,  # `simplify` does, and takes seconds
            verbose=False,
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a network does that ONNX has no operator for
        message = (
            f'{manifest.name} cannot be expressed in ONNX opset {OPSET}: '
            f'{str(error).splitlines()[0] if str(error) else type(error).__name__}'
        )
        raise ExportError(message) from error
    if program is None:
        message = f'torch {torch.__version__} exported nothing for {manifest.name}.'
        raise ExportError(message)
    model: ir.Model = program.model
    simplify(model)
    if free_size:
        _name_sides(model.graph)
    if model.opset_imports != {'': OPSET}:
        message = (
            f'{manifest.name} was exported to opsets {model.opset_imports} instead of {OPSET}: '
            'one of its layers has no conversion down; use another version of torch or onnxscript.'
        )
        raise ExportError(message)
    if opset < OPSET:
        lower(model, manifest.name)
    return model


def _free_axes(manifest: Manifest, *, sides: bool) -> dict[int, Any]:
    """What torch is told of the axes of the image that are free."""
    free: dict[int, Any] = {}
    if manifest.input.batch == 0:
        free[0] = _FREE_BATCH
    if sides:
        divisor = manifest.divisor
        fewest = least_multiples(manifest.input.min_side, divisor)
        for axis, name in enumerate(_FREE_SIDES, 1):
            multiple = torch.export.Dim(
                f'{name}_multiple', min=fewest, max=_LARGEST_SIDE // divisor
            )
            free[axis] = divisor * multiple
    return free


def _name_sides(graph: ir.Graph) -> None:
    """Give the free sides names of one word, by which runtimes fix them."""
    for value in (*graph.inputs, *graph.outputs):
        sizes = list(value.shape or ())
        sizes[1:3] = [ir.SymbolicDim(name) for name in _FREE_SIDES]
        value.shape = ir.Shape(sizes)
