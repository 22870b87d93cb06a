# SPDX-License-Identifier: Apache-2.0
"""Models in memory, run on ONNX Runtime."""

from __future__ import annotations

import onnx
import onnxruntime

_ERRORS_ONLY = 3


def open_session(model: onnx.ModelProto, *, optimise: bool) -> onnxruntime.InferenceSession:
    """Make `model` ready to run on the CPU.

    Args:
        model: The model.
        optimise: Whether ONNX Runtime may rewrite the graph; not where rounding counts.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if not optimise:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
