# SPDX-License-Identifier: Apache-2.0
"""Running a plan: images to the GPU, through the engine, depth and sigma back.

A run writes images to pinned memory, hands the copies, the resizing and the engine's work to one
stream of its own, and waits for that stream once. All memory but that of images of other sizes is
there from the start. Tensors are found by name, so that one way serves TensorRT 8.5 to 11 and
TensorRT-RTX.

No GPU was at hand where this was written: it is tested on stand-ins for TensorRT and the driver,
which compute with ONNX Runtime in NumPy's memory.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import BackendError, ModelError
from depth_core.manifest import Manifest
from depth_core.runtime.engine.api import TensorRt
from depth_core.runtime.engine.device import (
    Device,
    DeviceMemory,
    OutOfDeviceMemoryError,
    PinnedMemory,
    Stream,
)
from depth_core.runtime.engine.execution import Execution
from depth_core.runtime.engine.kernel import ImageResizer, load_resizer, trial_pictures
from depth_core.runtime.engine.options import EngineIdentity, EngineOptions
from depth_core.runtime.extra_inputs import ExtraInputs
from depth_core.runtime.graph import input_shape, planes_of
from depth_core.runtime.preprocessing import Preprocessor

_ALIGNMENT: Final = 256
"""Images start at multiples of this many bytes."""

_logger = logging.getLogger(__name__)


class EngineSession:
    """A backend that runs one plan on one GPU.

    Any thread may call it; calls are answered one after the other. What it holds is given back by
    `close`, or when nothing refers to it any more.
    """

    def __init__(
        self,
        trt: TensorRt,
        plan: bytes,
        device: Device,
        manifest: Manifest,
        options: EngineOptions = EngineOptions(),
        *,
        path: Path = Path('the engine'),
    ) -> None:
        """Load a plan.

        Args:
            trt: The TensorRT that built the plan.
            plan: The serialised engine; whoever gives it answers for where it comes from.
            device: Where it runs.
            manifest: What it takes and gives.
            options: Whether to record a CUDA graph; the rest was for the build.
            path: Of the model, for messages.

        Raises:
            BackendError: TensorRT refuses the plan, or memory is lacking.
            ModelError: The engine is not what the manifest describes.
        """
        self.manifest = manifest
        self.engine = EngineIdentity(
            key='', tensorrt=str(trt), gpu=device.info.name, agreement='not compared'
        )
        """The engine that answers; whoever compared it says how it did."""
        self.copy_s = 0.0
        """Images to the device and answers back, of the last run, seconds."""
        self._device = device
        self._lock = threading.Lock()
        with device.current(), ExitStack() as building:
            self._execution = Execution(
                trt,
                plan,
                device,
                manifest,
                path=path,
                cuda_graph=options.cuda_graph,
                owner=building,
            )
            self._prepare(building)
            building.callback(_wait, device, self._execution)
            owned = building.pop_all()
        self._finalizer = finalize(self, _give_back, device, owned)

    def _prepare(self, owner: ExitStack) -> None:
        """Get what surrounds the engine: pinned memory, the kernel, events."""
        device, execution = self._device, self._execution
        largest = input_shape(self.manifest, execution.largest_batch)
        self._input, view = _pinned(device, largest, execution.input.dtype, owner)
        self._input_view: NDArray[Any] = view
        self._outputs: dict[str, tuple[Uint8Array, NDArray[Any]]] = {}
        for name in self.manifest.outputs:
            shape = execution.shapes[name]
            memory, values = _pinned(device, shape, execution.tensors[name].dtype, owner)
            self._outputs[name] = (memory.array, values)
        self._extra: dict[str, PinnedMemory] = {}
        for item in self.manifest.extra_inputs:
            shape, dtype = execution.shapes[item.name], execution.tensors[item.name].dtype
            self._extra[item.name], _ = _pinned(device, shape, dtype, owner)
        self._camera = _CameraMemory(device)
        owner.callback(self._camera.free)
        self._preprocess = Preprocessor(self.manifest)
        self._resizer = load_resizer(device, self.manifest)
        if self._resizer is not None:
            owner.callback(self._resizer.free)
            self._try_resizer(self._resizer)
        self._events = [device.create_event() for _ in range(4)]
        for event in self._events:
            owner.callback(event.free)

    def _try_resizer(self, resizer: ImageResizer) -> None:
        """Do without the kernel where it makes other images than the processor."""
        spec, stream = self.manifest.input, self._execution.stream
        target = self._execution.memory[spec.name].address
        found = self._input_view[0]
        for picture in trial_pictures(spec.height, spec.width):
            size = (picture.shape[0], picture.shape[1])
            if not resizer.takes(*size):
                continue
            try:
                (address,) = self._camera.upload([picture], stream)
                resizer.enqueue(stream, address, size, target)
                self._device.download(self._input.array[: found.nbytes], target, stream)
                self._device.synchronise(stream)
                complaint = resizer.complaint(size, self._preprocess([picture])[0], found)
            except OutOfDeviceMemoryError:
                raise
            except BackendError as error:
                complaint = str(error)
            if complaint is not None:
                _logger.warning(
                    'images are resized on the processor, since the kernel on the GPU makes '
                    'others: %s',
                    complaint,
                )
                self._resizer = None
                break
        self._camera.free()

    @property
    def extra_inputs(self) -> ExtraInputs:
        """What fills the inputs beside the image."""
        return self._execution.extra_inputs

    @property
    def largest_batch(self) -> int:
        """Most images in one call."""
        return self._execution.largest_batch

    def close(self) -> None:
        """Give everything back; no call may follow."""
        with self._lock:
            self._finalizer()

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch, as the manifest states its input.

        Raises:
            ModelError: The array is not of that shape and type.
            BackendError: TensorRT or the driver fails.
        """
        count = len(images)
        inputs = {self.manifest.input.name: images, **self.extra_inputs.usual(count)}
        return planes_of(self.manifest, self.run_named(inputs), count)

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Compute a batch from all inputs.

        Raises:
            ModelError: The images are not as the manifest states them.
            BackendError: TensorRT or the driver fails.
        """
        images = inputs[self.manifest.input.name]
        count = len(images)
        self._check_count(count)
        expected = input_shape(self.manifest, count)
        if images.shape != expected or images.dtype != self._execution.input.dtype:
            message = (
                f'the input is {images.dtype} {list(images.shape)}, the engine takes '
                f'{self._execution.input.dtype} {list(expected)}.'
            )
            raise ModelError(message)
        with self._running():
            return self._from_host(images, inputs)

    def run_images(self, images: Sequence[Uint8Array]) -> tuple[Float32Array, Float32Array | None]:
        """Compute a batch of images of any size, which the GPU resizes.

        Where the kernel could not be compiled, or an image is too large for it, the processor
        resizes.

        Raises:
            ModelError: There are too many images, or none.
            BackendError: TensorRT or the driver fails.
        """
        self._check_count(len(images), at_most=True)
        resizer = self._resizer
        count = self.manifest.input.batch or len(images)
        usual = self.extra_inputs.usual(count)
        with self._running():
            if resizer is None or not all(resizer.takes(*item.shape[:2]) for item in images):
                answers = self._from_host(self._preprocess(images), usual)
                return planes_of(self.manifest, answers, count)
            self._mark(0)
            addresses = self._camera.upload(images, self._execution.stream)
            self._mark(1)
            target = self._execution.memory[self.manifest.input.name].address
            for image, address in zip(images, addresses, strict=True):
                size = (image.shape[0], image.shape[1])
                resizer.enqueue(self._execution.stream, address, size, target)
                target += self._input_view[0].nbytes
            self._upload_extra(usual)
            return planes_of(self.manifest, self._compute(count), count)

    def _from_host(
        self, images: NDArray[Any], inputs: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, NDArray[Any]]:
        """Compute a batch that is as the engine takes it."""
        execution, size = self._execution, images.nbytes
        self._mark(0)
        np.copyto(self._input_view[: len(images)], images)
        address = execution.memory[self.manifest.input.name].address
        self._device.upload(address, self._input.array[:size], execution.stream)
        self._upload_extra(inputs)
        self._mark(1)
        return self._compute(len(images))

    def _upload_extra(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Have the inputs beside the image copied to the device."""
        for name, pinned in self._extra.items():
            content = np.ascontiguousarray(inputs[name]).reshape(-1).view(np.uint8)
            part = pinned.array[: content.nbytes]
            np.copyto(part, content)
            address = self._execution.memory[name].address
            self._device.upload(address, part, self._execution.stream)

    def _check_count(self, count: int, *, at_most: bool = False) -> None:
        fixed = self.manifest.input.batch
        largest = self.largest_batch
        right = 1 <= count <= largest if at_most or not fixed else count == fixed
        if not right:
            takes = f'{fixed}' if fixed and not at_most else f'1 to {largest}'
            message = f'{count} images at once, and the engine takes {takes}.'
            raise ModelError(message)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """One call at a time, with the context current, and nothing under way when it fails."""
        with self._lock:
            if not self._finalizer.alive:
                message = 'the engine has been closed; open the model again.'
                raise BackendError(message)
            with self._device.current():
                try:
                    yield
                except BaseException:
                    # Work that reads or writes these buffers must be over before the next call.
                    with suppress(BackendError):
                        self._device.synchronise(self._execution.stream)
                    raise

    def _mark(self, place: int) -> None:
        self._device.mark(self._events[place], self._execution.stream)

    def _compute(self, count: int) -> Mapping[str, NDArray[Any]]:
        """Run the engine on what is in its input, and bring the answers back."""
        execution, device = self._execution, self._device
        execution.enqueue(count)
        self._mark(2)
        answers = {name: self._download(name) for name in self.manifest.outputs}
        self._mark(3)
        device.synchronise(execution.stream)
        self.copy_s = sum(
            device.seconds_between(self._events[start], self._events[start + 1])
            for start in (0, 2)
        )
        return answers

    def _download(self, name: str) -> NDArray[Any]:
        """Have an output copied, and return where it will be; that keeps this session alive."""
        execution = self._execution
        shape = execution.shapes[name]
        bytes_, values = self._outputs[name]
        answer = values.reshape(-1)[: math.prod(shape)]
        part = bytes_[: answer.nbytes]
        self._device.download(part, execution.memory[name].address, execution.stream)
        return np.asarray(_Lease(answer.reshape(shape), self))


class _Lease:
    """An array that keeps the owner of its memory from giving it back."""

    def __init__(self, array: NDArray[Any], owner: EngineSession) -> None:
        self.__array_interface__ = array.__array_interface__
        self.owner = owner


class _CameraMemory:
    """Pinned memory and memory of the device for images as cameras give them.

    Cameras keep their size, so that it grows once.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pinned: PinnedMemory | None = None
        self._memory: DeviceMemory | None = None

    def upload(self, images: Sequence[Uint8Array], stream: Stream) -> list[int]:
        """Have images copied to the device, and return their addresses there."""
        places = [0]
        for image in images:
            places.append(places[-1] + -(-image.nbytes // _ALIGNMENT) * _ALIGNMENT)
        pinned, memory = self._at_least(places[-1])
        for image, start in zip(images, places, strict=False):
            np.copyto(pinned.array[start : start + image.nbytes], image.reshape(-1))
        self._device.upload(memory.address, pinned.array[: places[-1]], stream)
        return [memory.address + start for start in places[:-1]]

    def _at_least(self, size: int) -> tuple[PinnedMemory, DeviceMemory]:
        if self._pinned is None or self._memory is None or self._memory.size < size:
            self.free()
            self._pinned = self._device.allocate_pinned(size)
            self._memory = self._device.allocate(size)
        return self._pinned, self._memory

    def free(self) -> None:
        """Give both back."""
        for resource in (self._pinned, self._memory):
            if resource is not None:
                resource.free()
        self._pinned = self._memory = None


def _pinned(
    device: Device, shape: Sequence[int], dtype: np.dtype[Any], owner: ExitStack
) -> tuple[PinnedMemory, NDArray[Any]]:
    """Pinned memory for an array, and the array."""
    size = math.prod(shape) * dtype.itemsize
    memory = device.allocate_pinned(size)
    owner.callback(memory.free)
    return memory, memory.array.view(dtype).reshape(shape)


def _wait(device: Device, execution: Execution) -> None:
    device.synchronise(execution.stream)


def _give_back(device: Device, owned: ExitStack) -> None:
    """Give everything back, whatever of it fails: a device that is lost has lost its memory."""
    try:
        with device.current():
            owned.close()
    except BackendError as error:
        _logger.info('what an engine held was not given back: %s', error)
