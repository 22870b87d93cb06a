# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines: built on the machine that runs them, kept, checked, and run.

`options` says how, `api` finds TensorRT or TensorRT-RTX, `build` makes a plan from an ONNX file
in a process of its own (`builder`) unless `graph_checks` knows that it would be wrong. `cache`
keeps plans, `gate` compares an engine with the ONNX graph it came from, `device` is the GPU's
memory and streams, `session` runs a plan on them, and `provide` puts these in order: the plan
from the cache or a new one, never served before it has answered as the graph does.
"""

from depth_core.runtime.engine.options import (
    BuildCancelledError,
    BuildProgress,
    EngineIdentity,
    EngineOptions,
    EngineRefusedError,
    Flavour,
    RunsEngine,
)

__all__ = [
    'BuildCancelledError',
    'BuildProgress',
    'EngineIdentity',
    'EngineOptions',
    'EngineRefusedError',
    'Flavour',
    'RunsEngine',
]
