# SPDX-License-Identifier: Apache-2.0
"""Building: a plan is the ONNX model, with a header that says what it was built by and for.

Environment variables make it fail, or take its time:

    FAKE_TENSORRT_BUILD        `out_of_memory` makes every build fail so
    FAKE_TENSORRT_BUILD_S      how long one takes, seconds, in steps that a monitor sees
    FAKE_TENSORRT_BUILD_UNTIL  a build goes on until this file exists, whatever the clock says
    FAKE_TENSORRT_BUILD_LOG    a file that gets one line for each build that was begun
"""

from __future__ import annotations

import json
import os
import time
import zlib
from pathlib import Path
from typing import Any

from test.fakes.driver_errors import GpuError, NoDriverError
from test.fakes.gpu import GPU
from test.fakes.trt.nouns import (
    Dims,
    HostMemory,
    ILogger,
    PybindEnum,
    check_logger,
    complain,
    plain_ints,
)

MAGIC = b'FTRT'
STEPS = 20
_LOOK_S = 0.05


def write_plan(header: dict[str, Any], model: bytes) -> HostMemory:
    text = json.dumps(header).encode()
    content = len(text).to_bytes(4, 'little') + text + model
    return HostMemory(MAGIC + zlib.crc32(content).to_bytes(4, 'little') + content)


def read_plan(plan: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The header and the model; None when it is no whole plan."""
    content = plan[8:]
    if plan[:4] != MAGIC or zlib.crc32(content) != int.from_bytes(plan[4:8], 'little'):
        return None
    length = int.from_bytes(content[:4], 'little')
    return json.loads(content[4 : 4 + length]), content[4 + length :]


class IProgressMonitor:
    def __init__(self) -> None:
        self.constructed = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> HostMemory:
        return HostMemory(self.content)

    def combine(self, other: ITimingCache, _ignore_mismatch: bool) -> bool:
        if not self.content.startswith(other.content):  # what both hold is there once
            self.content += other.content
        return True

    def reset(self) -> bool:
        self.content = b''
        return True


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        shapes = [plain_ints(shape) for shape in (min, opt, max)]
        if len({len(shape) for shape in shapes}) != 1:
            message = 'Shape provided for min is inconsistent with other shapes.'
            raise ValueError(message)
        self.shapes[input] = shapes

    def get_shape(self, input: str) -> list[Dims]:
        return [Dims(shape) for shape in self.shapes[input]]


class IBuilderConfig:
    api: Any

    def __init__(self) -> None:
        self.profiles: list[IOptimizationProfile] = []
        self._flags = 1 << int(self.api.BuilderFlag.TF32)  # on from the start
        self._pools: dict[PybindEnum, int] = {}
        self._timing_cache: Any = None
        self.builder_optimization_level = 3
        self.profiling_verbosity = None
        self.max_aux_streams = 0
        self.hardware_compatibility_level = self.api.HardwareCompatibilityLevel.NONE
        self.targets: list[PybindEnum | None] = []
        self._monitor: Any = None

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: Any) -> None:
        if not hasattr(monitor, 'constructed'):
            message = 'IProgressMonitor.__init__() must be called when overriding __init__'
            raise TypeError(message)
        self._monitor = monitor

    def set_memory_pool_limit(self, pool: PybindEnum, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def get_memory_pool_limit(self, pool: PybindEnum) -> int:
        return self._pools.get(pool, GPU.total_memory)

    def set_flag(self, flag: PybindEnum) -> None:
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: PybindEnum) -> None:
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: PybindEnum) -> bool:
        return bool(self._flags >> int(flag) & 1)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        for low, best, high in profile.shapes.values():
            if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
                return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        return len(self.profiles)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        return self.api.ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self._timing_cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._timing_cache

    @property
    def num_compute_capabilities(self) -> int:
        return len(self.targets)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self.targets = [None] * count

    def set_compute_capability(self, compute_capability: PybindEnum, index: int) -> bool:
        self.targets[index] = compute_capability
        return True


class Builder:
    api: Any
    platform_has_fast_fp16 = True
    platform_has_fast_int8 = True

    def __init__(self, logger: ILogger) -> None:
        self._logger = check_logger(logger)
        if self.api.flavour == 'tensorrt-rtx':
            return  # it builds without a GPU
        try:
            GPU.init()
            GPU.claim()
        except (NoDriverError, GpuError) as error:
            number = error.code if isinstance(error, GpuError) else 35
            complain(logger, f'CUDA initialization failure with error: {number}')
            message = 'pybind11::init(): factory function returned nullptr'
            raise TypeError(message) from error

    def create_network(self, flags: int = 0) -> Any:
        if type(flags) is not int:
            message = 'create_network(): incompatible function arguments.'
            raise TypeError(message)
        known = self.api.NetworkDefinitionCreationFlag.__members__.values()
        if flags & ~sum(1 << int(member) for member in known):
            complain(self._logger, f'Unknown network creation flags {flags}')
            return None
        return self.api.INetworkDefinition(flags)

    def create_builder_config(self) -> Any:
        return self.api.IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return self.api.IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> HostMemory | None:
        if 'FAKE_TENSORRT_BUILD_LOG' in os.environ:
            with Path(os.environ['FAKE_TENSORRT_BUILD_LOG']).open('a', encoding='utf-8') as file:
                file.write(f'{os.getpid()} {network.name}\n')
        problem = self._problem(network, config)
        if problem is None and not self._take_time(getattr(config, '_monitor', None)):
            problem = 'Error Code 7: Internal Error (Build was cancelled by the progress monitor.)'
        if problem is not None:
            complain(self._logger, problem)
            return None
        if config._timing_cache is not None:
            config._timing_cache.content += b'timed '
        return write_plan(self._header(network, config), network.model.SerializeToString())

    def _header(self, network: Any, config: Any) -> dict[str, Any]:
        major, minor = GPU.compute_capability
        return {
            'version': self.api.version,
            'flavour': self.api.flavour,
            'targets': [target.name for target in config.targets] or [f'SM{major}{minor}'],
            'gpu': GPU.name,
            'flags': config._flags,
            'network_flags': network._flags,
            'parser_flags': network.parser_flags,
            'precisions': {
                layer.name: layer.precision.name
                for layer in network.layers
                if getattr(layer, 'precision', None) is not None
            },
            'workspace': config._pools.get(self.api.MemoryPoolType.WORKSPACE),
            'profiles': [profile.shapes for profile in config.profiles],
        }

    def _problem(self, network: Any, config: Any) -> str | None:
        """Why this cannot be built, in the words of TensorRT; None when it can."""
        if network.model is None:
            return 'Error Code 4: Internal Error (Network must have at least one output)'
        if os.environ.get('FAKE_TENSORRT_BUILD') == 'out_of_memory':
            return 'Requested amount of GPU memory (1073741824 bytes) could not be allocated.'
        typed = self.api.NetworkDefinitionCreationFlag.__members__.get('STRONGLY_TYPED')
        strong = typed is not None and network._flags >> int(typed) & 1
        for name in ('FP16', 'INT8', 'BF16') if strong else ():
            flag = self.api.BuilderFlag.__members__.get(name)
            if flag is not None and config.get_flag(flag):
                return f'Error Code 3: API Usage Error (condition: !config.getFlag(k{name}))'
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            if -1 not in tuple(tensor.shape):
                continue
            if not config.profiles or tensor.name not in config.profiles[0].shapes:
                return (
                    'Error Code 4: Internal Error (Network has dynamic or shape inputs, but no '
                    'optimization profile has been defined.)'
                )
        return None

    def _take_time(self, monitor: Any) -> bool:
        """Whether the monitor lets it end."""
        pause = float(os.environ.get('FAKE_TENSORRT_BUILD_S', '0')) / STEPS
        if monitor is None:
            time.sleep(pause * STEPS)
            return True
        monitor.phase_start('Building', None, STEPS)
        going = True
        for step in range(STEPS):
            time.sleep(pause)
            going = monitor.step_complete('Building', step)
            while going and step and not _may_end():
                time.sleep(_LOOK_S)
                going = monitor.step_complete('Building', step)
            if not going:
                break
        monitor.phase_finish('Building')
        return going


def _may_end() -> bool:
    """Whether the file that a build waits for exists, or there is none to wait for."""
    awaited = os.environ.get('FAKE_TENSORRT_BUILD_UNTIL')
    return awaited is None or Path(awaited).exists()
