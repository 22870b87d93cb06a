# SPDX-License-Identifier: Apache-2.0
"""The names of the TensorRT bindings as each version has them, put together into a module.

The numbers of enums and what is absent were read from the real bindings of these versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from test.fakes.trt import builder, engine, network
from test.fakes.trt.nouns import Dims, HostMemory, ILogger, Logger, PybindEnum, make_enum

BUILDER_FLAGS = {
    8: {'FP16': 0, 'INT8': 1, 'DEBUG': 2, 'GPU_FALLBACK': 3, 'REFIT': 5}
    | {'DISABLE_TIMING_CACHE': 6, 'TF32': 7, 'SPARSE_WEIGHTS': 8}
    | {'OBEY_PRECISION_CONSTRAINTS': 10, 'PREFER_PRECISION_CONSTRAINTS': 11, 'DIRECT_IO': 12}
    | {'VERSION_COMPATIBLE': 15, 'EXCLUDE_LEAN_RUNTIME': 16, 'FP8': 17},
    10: {'FP16': 0, 'INT8': 1, 'DEBUG': 2, 'GPU_FALLBACK': 3, 'REFIT': 4}
    | {'DISABLE_TIMING_CACHE': 5, 'TF32': 6, 'SPARSE_WEIGHTS': 7}
    | {'OBEY_PRECISION_CONSTRAINTS': 9, 'PREFER_PRECISION_CONSTRAINTS': 10, 'DIRECT_IO': 11}
    | {'VERSION_COMPATIBLE': 13, 'EXCLUDE_LEAN_RUNTIME': 14, 'FP8': 15, 'BF16': 17}
    | {'STRIP_PLAN': 19, 'WEIGHT_STREAMING': 21},
    11: {'DEBUG': 2, 'GPU_FALLBACK': 3, 'REFIT': 4, 'DISABLE_TIMING_CACHE': 5, 'TF32': 6}
    | {'SPARSE_WEIGHTS': 7, 'DIRECT_IO': 11, 'VERSION_COMPATIBLE': 12}
    | {'EXCLUDE_LEAN_RUNTIME': 13, 'STRIP_PLAN': 18, 'WEIGHT_STREAMING': 20, 'STRICT_NANS': 23},
}
NETWORK_FLAGS = {
    8: {'EXPLICIT_BATCH': 0, 'EXPLICIT_PRECISION': 1},
    10: {'EXPLICIT_BATCH': 0, 'STRONGLY_TYPED': 1},
    11: {'STRONGLY_TYPED': 0},
}
DATA_TYPES = {'FLOAT': 0, 'HALF': 1, 'INT8': 2, 'INT32': 3, 'BOOL': 4, 'UINT8': 5, 'FP8': 6}
LATER_DATA_TYPES = {'BF16': 7, 'INT64': 8, 'INT4': 9}
ALIASES = {'float32': 'FLOAT', 'float16': 'HALF', 'int8': 'INT8', 'int32': 'INT32'}
COMPUTE_CAPABILITIES = ('SM75', 'SM80', 'SM86', 'SM89', 'SM120', 'SM121', 'CURRENT', 'NONE')

ABSENT = {
    8: (
        'IBuilderConfig.progress_monitor',
        'IProgressMonitor',
        'INetworkDefinition.get_flag',
        'INetworkDefinition.flags',
        'ParserError.node_name',
        'ParserError.node_operator',
        'ICudaEngine.device_memory_size_v2',
        'ExecutionContextAllocationStrategy',
    ),
    10: ('ICudaEngine.num_bindings',),
    11: (
        'Builder.platform_has_fast_fp16',
        'Builder.platform_has_fast_int8',
        'ICudaEngine.num_bindings',
        'ICudaEngine.device_memory_size',
        'ILayer.precision',
    ),
}
"""What a major version lacks of what the classes here have, `Class.attribute` or `Class`."""
ONLY_RTX = ('IBuilderConfig.num_compute_capabilities', 'IBuilderConfig.set_compute_capability')

CLASSES = (
    builder.Builder,
    builder.IBuilderConfig,
    builder.IOptimizationProfile,
    builder.IProgressMonitor,
    builder.ITimingCache,
    engine.Runtime,
    engine.ICudaEngine,
    engine.IExecutionContext,
    network.INetworkDefinition,
    network.ITensor,
    network.ILayer,
    network.OnnxParser,
    network.ParserError,
)


@dataclass(frozen=True)
class Api:
    """What an object of these bindings needs to know of the module that it came from."""

    version: str
    flavour: str
    names: dict[str, Any]

    @property
    def major(self) -> int:
        """Of the TensorRT whose names it has; TensorRT-RTX 1.5 and later has those of 11."""
        return 11 if self.flavour == 'tensorrt-rtx' else int(self.version.partition('.')[0])

    def __getattr__(self, name: str) -> Any:
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(name) from None


def assemble(names: dict[str, Any], *, version: str, flavour: str) -> None:
    """Fill `names`, the globals of a module, with the bindings of one version."""
    api = Api(version, flavour, names)
    names |= {'__version__': version, 'Dims': Dims, 'IHostMemory': HostMemory}
    names |= {'ILogger': ILogger, 'Logger': Logger}
    names |= _enums(api.major, flavour)
    absent = set(ABSENT[api.major]) | (set() if flavour == 'tensorrt-rtx' else set(ONLY_RTX))
    for kind in CLASSES:
        if kind.__name__ in absent:
            continue
        body = {
            key: value
            for key, value in vars(kind).items()
            if key not in {'__dict__', '__weakref__'} and f'{kind.__name__}.{key}' not in absent
        }
        names[kind.__name__] = type(kind.__name__, (), {**body, 'api': api})
    names |= {alias: names['DataType'].__members__[name] for alias, name in ALIASES.items()}
    names['init_libnvinfer_plugins'] = lambda _logger, _namespace: True


def _enums(major: int, flavour: str) -> dict[str, type[PybindEnum]]:
    types = DATA_TYPES | (LATER_DATA_TYPES if major > 8 else {})
    members = {
        'BuilderFlag': BUILDER_FLAGS[major],
        'NetworkDefinitionCreationFlag': NETWORK_FLAGS[major],
        'DataType': types,
        'TensorIOMode': {'NONE': 0, 'INPUT': 1, 'OUTPUT': 2},
        'TensorLocation': {'DEVICE': 0, 'HOST': 1},
        'MemoryPoolType': {'WORKSPACE': 0, 'TACTIC_DRAM': 4},
        'OnnxParserFlag': {'NATIVE_INSTANCENORM': 0},
        'ProfilingVerbosity': {'LAYER_NAMES_ONLY': 0, 'NONE': 1, 'DETAILED': 2},
        'HardwareCompatibilityLevel': {'NONE': 0, 'AMPERE_PLUS': 1},
    }
    if flavour == 'tensorrt-rtx':
        members['ComputeCapability'] = {name: i for i, name in enumerate(COMPUTE_CAPABILITIES)}
    return {name: make_enum(name, values) for name, values in members.items()}
