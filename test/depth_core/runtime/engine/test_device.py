# SPDX-License-Identifier: Apache-2.0
"""Both ways to reach a GPU, each on the stand-in for its package."""

from __future__ import annotations

import ast
import enum
import importlib
import operator
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from depth_core.errors import BackendError
from depth_core.runtime.engine import device as device_module
from depth_core.runtime.engine.device import (
    Device,
    DeviceInfo,
    OutOfDeviceMemoryError,
    device_index,
    open_device,
)
from test.fakes.gpu import GPU, Gpu
from test.fakes.installation import installed

PACKAGES = ('pycuda', 'cuda')
MIB = 1 << 20


@pytest.fixture(params=PACKAGES)
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    """The fake GPU, which one of the two packages alone reaches."""
    (absent,) = set(PACKAGES) - {request.param}
    with installed(absent=(absent,)) as fake:
        yield fake


@contextmanager
def opened(index: int = 0) -> Iterator[Device]:
    device = open_device(index)
    with device.current():
        yield device


def test_pycuda_comes_first_and_makes_no_context_of_its_own(fake_gpu: Gpu) -> None:
    assert type(open_device()).__name__ == 'PyCudaDevice'
    assert type(open_device(to_record=True)).__name__ == 'CudaPythonDevice'
    assert 'pycuda.autoinit' not in sys.modules
    assert fake_gpu.current == []


def test_it_says_what_it_is(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FAKE_GPU_COUNT', '2')
    first, second = open_device(0), open_device(1)
    assert first.info == DeviceInfo(
        index=0,
        name='Fake GPU',
        compute_capability=(8, 6),
        identity='0000:00:00.0',
        multiprocessors=12,
        memory_bytes=8 << 30,
        integrated=False,
        cuda=(13, 0),
    )
    assert second.info.identity == '0000:01:00.0'
    assert str(first.info) == 'Fake GPU (compute capability 8.6)'
    assert gpu.retained == 0  # nothing is used before it is needed
    for device in (first, second, open_device(1)):
        with device.current():
            pass
    assert gpu.retained == 2


def test_copies_are_asynchronous_and_pinned(gpu: Gpu) -> None:
    with opened() as device:
        stream = device.create_stream()
        host, back = device.allocate_pinned(1000), device.allocate_pinned(1000)
        memory = device.allocate(1000)
        assert memory.address % 256 == 0
        host.array[:] = 3
        device.upload(memory.address, host.array, stream)
        device.download(back.array, memory.address, stream)
        assert back.array[0] != 3  # nobody has waited
        device.synchronise(stream)
        np.testing.assert_array_equal(back.array, 3)
        assert gpu.pageable_copies == 0
        assert device.free_bytes() == device.info.memory_bytes - 1000
        for resource in (host, back, memory, stream):
            resource.free()
            resource.free()  # once is enough, twice does no harm
        assert (gpu.memory, gpu.pinned, list(gpu.streams)) == ({}, {}, [0])


def test_any_thread_may_call_and_finds_its_own_context_again(gpu: Gpu) -> None:
    device = open_device()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            gpu.current.append(99)  # another library's
            with device.current():
                device.allocate(16).free()
            assert gpu.current == [99]
        except BaseException as error:  # noqa: BLE001  for the thread that asks
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with pytest.raises(BackendError, match=r'cannot allocate memory: .*invalid device context'):
        device.allocate(16)


def test_a_context_that_is_gone_hides_no_error(gpu: Gpu) -> None:
    with pytest.raises(ValueError, match='the reason'), opened():  # noqa: PT012  as below
        gpu.current.clear()  # as a library does that pops what is not its own
        message = 'the reason'
        raise ValueError(message)


def test_times_are_measured(gpu: Gpu) -> None:
    with opened() as device:
        stream = device.create_stream()
        events = [device.create_event() for _ in range(2)]
        for event in events:
            device.mark(event, stream)
        with pytest.raises(BackendError, match='not ready'):
            device.seconds_between(*events)
        device.synchronise(stream)
        assert 0.0 <= device.seconds_between(*events) < 10.0
        for event in events:
            event.free()
        assert gpu.events == {}


def test_out_of_memory_is_said_in_numbers(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FAKE_GPU_MEMORY', str(8 * MIB))
    with opened() as device:
        held = device.allocate(5 * MIB)
        with pytest.raises(OutOfDeviceMemoryError) as caught:
            device.allocate(4 * MIB)
        assert '4.0 MiB of GPU memory, of which 3 are left' in str(caught.value)
        held.free()
        device.allocate(4 * MIB).free()
    assert gpu.used_memory == 0


def test_a_kernel_needs_a_cubin(gpu: Gpu) -> None:
    with opened() as device:
        with pytest.raises(BackendError, match=r'cannot load a kernel: .*image is invalid'):
            device.load_kernel(b'nonsense', 'resize_image', ('P',))
        with pytest.raises(BackendError, match=r'cannot load a kernel: .*symbol not found'):
            device.load_kernel(b'\x7fELF other', 'resize_image', ('P',))
        kernel = device.load_kernel(b'\x7fELF resize_image', 'resize_image', ('P',))
        kernel.free()
    assert not gpu.launches


def test_recorded_work_is_done_as_often_as_it_is_replayed() -> None:
    with installed(absent=('pycuda',)), opened() as device:
        assert device.records_graphs
        stream = device.create_stream()
        host, memory = device.allocate_pinned(4), device.allocate(4)
        graph = device.record(stream, lambda: device.upload(memory.address, host.array, stream))
        device.synchronise(stream)
        assert GPU.memory[memory.address][0] != 7
        for code in (7, 8):
            host.array[:] = code
            device.replay(graph, stream)
            device.synchronise(stream)
            assert GPU.memory[memory.address][0] == code
        graph.free()
        assert GPU.graphs == {}


def test_memory_may_be_freed_while_work_is_recorded() -> None:
    # As when Python collects an engine that nothing refers to, in the middle of this.
    with installed(absent=('pycuda',)), opened() as device:
        stream = device.create_stream()
        spare, host, memory = device.allocate(4), device.allocate_pinned(4), device.allocate(4)

        def work() -> None:
            spare.free()
            device.upload(memory.address, host.array, stream)

        graph = device.record(stream, work)
        host.array[:] = 7
        device.replay(graph, stream)
        device.synchronise(stream)
        assert GPU.memory[memory.address][0] == 7
        assert spare.address not in GPU.memory


def test_what_waits_cannot_be_recorded_and_the_stream_goes_on() -> None:
    with installed(absent=('pycuda',)), opened() as device:
        stream = device.create_stream()
        with pytest.raises(BackendError, match='not permitted when stream is capturing'):
            device.record(stream, lambda: device.synchronise(stream))
        device.synchronise(stream)
        assert GPU.graphs == {}


def test_pycuda_says_that_it_records_nothing() -> None:
    with installed(absent=('cuda',)), opened() as device:
        assert not device.records_graphs
        with pytest.raises(BackendError, match='install cuda-bindings'):
            device.record(device.create_stream(), lambda: None)


def refusal(index: int = 0) -> str:
    with pytest.raises(BackendError) as caught:
        open_device(index)
    return str(caught.value)


def test_no_driver(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FAKE_GPU_DRIVER', 'none')
    assert 'no NVIDIA driver is installed here' in refusal()
    assert not gpu.initialised


def test_no_gpu_or_not_so_many(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 'GPU 1 was asked for, and there are 1' in refusal(1)
    monkeypatch.setenv('FAKE_GPU_COUNT', '0')
    assert 'finds no GPU' in refusal()
    assert 'CUDA_VISIBLE_DEVICES' in refusal()
    assert gpu.retained == 0


def test_a_driver_too_old_names_both_versions(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FAKE_GPU_DRIVER', '10020')
    assert 'knows CUDA up to 10.2, 11.4 is needed' in refusal()
    monkeypatch.setenv('FAKE_GPU_DRIVER', '11080')
    text = refusal()
    assert 'up to 11.8' in text
    assert 'built for 1' in text  # 12.6 or 13.0
    assert gpu.retained == 0


def test_no_package_to_reach_it_with() -> None:
    with installed(absent=PACKAGES):
        text = refusal()
    assert "pip install 'depth_ros[tensorrt]'" in text
    assert 'pycuda: No module named' in text


@pytest.mark.parametrize(
    ('name', 'index'), [(None, 0), ('', 0), ('cuda', 0), ('cuda:1', 1), ('GPU:2', 2), ('3', 3)]
)
def test_a_device_has_a_name(name: str | None, index: int) -> None:
    assert device_index(name) == index


@pytest.mark.parametrize('name', ['NPU', 'cuda:x', 'cuda:-1', 'GPU.0x'])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(BackendError, match='cuda:0'):
        device_index(name)


def names_used(module: str) -> set[str]:
    """What a module of the engine room takes from `cuda`, dots included."""
    path = Path(device_module.__file__).with_name(f'{module}.py')
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if dotted.startswith('cuda.'):
                found.add(dotted.removeprefix('cuda.'))
    return found


PYCUDA_NAMES = {
    *('Context', 'Context.pop', 'Device', 'Device.count', 'Error', 'Event', 'MemoryError'),
    *('Stream', 'device_attribute'),
    *('device_attribute.INTEGRATED', 'device_attribute.MULTIPROCESSOR_COUNT', 'get_version'),
    *('get_driver_version', 'init', 'mem_alloc', 'mem_get_info', 'memcpy_dtoh_async'),
    *('memcpy_htod_async', 'module_from_buffer', 'pagelocked_empty'),
}
"""Of pycuda.driver, read in its source: it has no wheels that a test could ask."""


def test_pycuda_has_what_is_used_of_it() -> None:
    assert names_used('pycuda_device') <= PYCUDA_NAMES


def test_cuda_python_has_what_is_used_of_it_and_what_its_fake_has() -> None:
    real = pytest.importorskip('cuda.bindings.driver', reason='cuda-bindings is not installed')
    used = names_used('cuda_python_device')
    assert {'cuMemAlloc', 'CUresult.CUDA_ERROR_OUT_OF_MEMORY'} <= used
    for name in used:
        assert operator.attrgetter(name)(real) is not None
    fake = importlib.import_module('test.fakes.cuda.bindings.driver')
    for name, value in vars(fake).items():
        if name.startswith('cu'):
            assert callable(getattr(real, name)), name
        if isinstance(value, enum.EnumMeta) and value.__module__ == fake.__name__:
            for member in value.__members__:
                wanted = getattr(getattr(real, name), member)
                assert int(wanted) == int(value[member]), member
