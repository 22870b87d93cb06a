# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.manifest import Manifest
from depth_core.runtime.engine.device import Device, OutOfDeviceMemoryError, Stream
from depth_core.runtime.engine.kernel import load_resizer
from depth_core.runtime.preprocessing import channel_affine
from test.fakes.kernels import resize


def roundtrip(device: Device, stream: Stream, code: int) -> int:
    """Copy a million bytes to the GPU and back."""
    with ExitStack() as owned:
        host, back = device.allocate_pinned(1 << 20), device.allocate_pinned(1 << 20)
        memory = device.allocate(1 << 20)
        for resource in (host, back, memory):
            owned.callback(resource.free)
        host.array[:] = code
        back.array[:] = 0
        device.upload(memory.address, host.array, stream)
        device.download(back.array, memory.address, stream)
        device.synchronise(stream)
        assert back.array.min() == back.array.max()
        return int(back.array[0])


def test_bytes_come_back(device: Device) -> None:
    stream = device.create_stream()
    assert roundtrip(device, stream, 7) == 7
    stream.free()


def test_memory_is_given_back(device: Device) -> None:
    if device.info.integrated:
        pytest.skip('the rest of the machine takes and gives the same memory')
    size = 64 << 20
    device.allocate(size).free()  # what the driver keeps for the next one
    left = device.free_bytes()
    for _ in range(20):
        device.allocate(size).free()
    # Others may take some meanwhile; half of what would be gone is far more.
    assert left - device.free_bytes() < 10 * size


def test_another_thread_may_call(device: Device) -> None:
    stream = device.create_stream()
    found: list[int] = []

    def call() -> None:
        with device.current():
            found.append(roundtrip(device, stream, 9))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert found == [9]
    stream.free()


def test_more_than_there_is_cannot_be_had(device: Device) -> None:
    with pytest.raises(OutOfDeviceMemoryError, match='MiB of GPU memory, of which'):
        device.allocate(2 * device.info.memory_bytes)
    device.allocate(1 << 20).free()


def test_recorded_copies_are_repeated(device: Device) -> None:
    if not device.records_graphs:
        pytest.skip('PyCUDA records no graphs')
    stream = device.create_stream()
    host, back = device.allocate_pinned(256), device.allocate_pinned(256)
    memory = device.allocate(256)

    def work() -> None:
        device.upload(memory.address, host.array, stream)
        device.download(back.array, memory.address, stream)

    graph = device.record(stream, work)
    for code in (1, 2):
        host.array[:] = code
        device.replay(graph, stream)
        device.synchronise(stream)
        assert int(back.array[0]) == code
    for resource in (graph, host, back, memory, stream):
        resource.free()


@pytest.mark.parametrize('size', [(192, 256), (240, 320), (480, 640), (600, 800), (300, 800)])
@pytest.mark.parametrize(
    'kind', [{}, {'dtype': 'float32', 'layout': 'NCHW', 'channels': 'BGR', 'std': (0.2, 0.3, 0.4)}]
)
def test_the_kernel_is_what_numpy_computes(
    device: Device, size: tuple[int, int], kind: dict[str, Any]
) -> None:
    spec = InputSpec(height=size[0], width=size[1], **kind)
    output = OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=10.0)
    resizer = load_resizer(device, Manifest(name='any', input=spec, output=output))
    if resizer is None:
        pytest.skip('NVRTC is not here, or too old for this GPU')
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    codes = resize(image, *size)
    expected: NDArray[Any] = codes
    if kind:
        gain, offset = channel_affine(spec)
        expected = (codes[..., ::-1].astype(np.float32) * gain + offset).transpose(2, 0, 1)
    stream = device.create_stream()
    host, back = device.allocate_pinned(image.nbytes), device.allocate_pinned(expected.nbytes)
    source, target = device.allocate(image.nbytes), device.allocate(expected.nbytes)
    host.array[:] = image.reshape(-1)
    device.upload(source.address, host.array, stream)
    resizer.enqueue(stream, source.address, (480, 640), target.address)
    device.download(back.array, target.address, stream)
    device.synchronise(stream)
    np.testing.assert_array_equal(
        back.array.view(expected.dtype).reshape(expected.shape), expected
    )
    for resource in (resizer, host, back, source, target, stream):
        resource.free()
