# SPDX-License-Identifier: Apache-2.0
"""The choice of NVIDIA's ModelOpt, in place of the rule of this package, where it is installed.

It goes by how large numbers get, not by where they are, and so gives fp16 to the nodes after the
last convolution as well: four times the error of the rule on the shipped model.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from depth_core.errors import ConfigError, ExportError
from depth_core.export.precision.graph import Graph, inferred
from depth_core.export.precision.rule import ACTIVATION_LIMIT
from depth_core.export.precision.sessions import NOTHING, Extra
from depth_core.files import scratch_folder


def autocast(
    graph: Graph, inputs: Sequence[NDArray[Any]], extra: Extra = NOTHING
) -> onnx.ModelProto:
    """Rewrite `graph` in fp16 where AutoCast would; inputs and outputs stay as they are.

    Args:
        graph: A graph in fp32.
        inputs: What to calibrate with, one after the other.
        extra: What is given to inputs beside the image.

    Raises:
        ConfigError: ModelOpt is not installed.
        ExportError: It cannot convert the graph.
    """
    try:
        module = importlib.import_module('modelopt.onnx.autocast')
    except ImportError as error:
        said = ' '.join(str(error).split())
        message = (
            f'--fp16_method autocast needs nvidia-modelopt, which does not load ({said}); '
            "pip install 'nvidia-modelopt[onnx]' in an environment of its own, for it changes "
            'onnx and onnxruntime, or leave it out for the rule of this package.'
        )
        raise ConfigError(message) from error
    name = next(i.name for i in graph.model.graph.input if i.name not in extra)
    shared = {key: np.concatenate([value] * len(inputs)) for key, value in extra.items()}
    with scratch_folder('autocast') as folder:
        source, calibration = folder / 'fp32.onnx', folder / 'calibration.npz'
        onnx.save(graph.model, source)
        np.savez(calibration, allow_pickle=True, **{name: np.concatenate(list(inputs)), **shared})
        try:
            converted: onnx.ModelProto = module.convert_to_mixed_precision(
                onnx_path=str(source),
                low_precision_type='fp16',
                keep_io_types=True,
                data_max=ACTIVATION_LIMIT,
                calibration_data=str(calibration),
            )
        except Exception as error:  # whatever a graph has that it does not know
            message = f'AutoCast cannot convert the graph: {error}; leave --fp16_method out.'
            raise ExportError(message) from error
    return inferred(converted, 'the graph that AutoCast wrote')
