# SPDX-License-Identifier: Apache-2.0
"""From a network to the operators of ONNX."""

from __future__ import annotations

from typing import Final

import torch
from onnxscript import ir

from depth_core.errors import ExportError, ModelError
from depth_core.export.simplify import simplify
from depth_core.manifest import Manifest
from depth_core.models.serving import ServingGraph

OPSET: Final = 18

_FREE_BATCH: Final = 'batch'
"""What the number of images is called where it is free."""


def traced(graph: ServingGraph, manifest: Manifest) -> ir.Model:
    """Write `graph` in operators of ONNX, of the sizes of `manifest`.

    Its initializers are the weights of the network themselves, not copies.

    Raises:
        ExportError: The network does what ONNX has no operator for.
        ModelError: The network does not take this size.
    """
    spec = manifest.input
    free = spec.batch == 0
    # Sizes of 0 and 1 never stay free in torch.export, whatever it is asked for.
    example = torch.zeros(2 if free else spec.batch, spec.height, spec.width, 3, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name],
            output_names=[manifest.output.depth, str(manifest.output.sigma)],
            dynamic_shapes={'image': {0: _FREE_BATCH}} if free else None,
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
    if model.opset_imports != {'': OPSET}:
        message = (
            f'{manifest.name} was exported to opsets {model.opset_imports} instead of {OPSET}: '
            'one of its layers has no conversion down; use another version of torch or onnxscript.'
        )
        raise ExportError(message)
    return model
