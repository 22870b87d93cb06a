# SPDX-License-Identifier: Apache-2.0
"""Plans for the fake TensorRT, built in this process and without any of depth_core's code."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def fake_plan(onnx: Path, shapes: Mapping[str, Sequence[Sequence[int]]] | None = None) -> bytes:
    """Build a plan with the fake that is installed now.

    Args:
        onnx: The graph.
        shapes: Least, usual and largest shape of each input that has no fixed one.
    """
    trt: Any = importlib.import_module('tensorrt')
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    explicit = getattr(trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH', None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse_from_file(str(onnx))
    config = builder.create_builder_config()
    if shapes is not None:
        profile = builder.create_optimization_profile()
        for name, sizes in shapes.items():
            profile.set_shape(name, *(tuple(size) for size in sizes))
        assert config.add_optimization_profile(profile) == 0
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return bytes(plan)
