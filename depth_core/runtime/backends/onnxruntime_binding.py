# SPDX-License-Identifier: Apache-2.0
"""Memory that a session of ONNX Runtime reads and writes, bound once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class Binding:
    """Runs a session without a copy on the CPU, or through memory of its own on a device.

    The first batch of a shape shows the shapes of the answers, and is not bound.

    Args:
        session: What runs.
        input_name: Its only input.
        output_names: The outputs that are wanted.
        memory: Device and its number, as ONNX Runtime calls it: `('cpu', 0)`, `('cuda', 1)`.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        input_name: str,
        output_names: Sequence[str],
        memory: tuple[str, int],
    ) -> None:
        self._session = session
        self._input_name, self._output_names = input_name, output_names
        self._device, self._number = memory
        self._staged = self._device != 'cpu'
        self._shape: tuple[int, ...] = ()
        self._images: NDArray[Any] | None = None
        self._input: onnxruntime.OrtValue | None = None
        self._outputs: list[onnxruntime.OrtValue] = []
        self._answers: list[NDArray[Any]] = []

    def run(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute a batch; the answers are overwritten by the next one."""
        if images.shape != self._shape:
            return self._first_of_a_shape(images)
        self._bind_input(images)
        self._session.run_with_iobinding(self._bound)
        if self._staged:
            return [output.numpy() for output in self._outputs]
        return self._answers

    def _first_of_a_shape(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        answers = [
            np.ascontiguousarray(answer)
            for answer in self._session.run(self._output_names, {self._input_name: images})
        ]
        self._shape, self._images, self._input = images.shape, None, None
        self._bound = self._session.io_binding()
        if self._staged:
            self._outputs = [self._on_device(answer) for answer in answers]
        else:
            self._answers = [np.empty_like(answer) for answer in answers]
            self._outputs = [
                onnxruntime.OrtValue.ortvalue_from_numpy(answer) for answer in self._answers
            ]
        for name, output in zip(self._output_names, self._outputs, strict=True):
            self._bound.bind_ortvalue_output(name, output)
        return answers

    def _bind_input(self, images: NDArray[Any]) -> None:
        if self._staged:
            if self._input is None:
                self._input = self._on_device(images)
                self._bound.bind_ortvalue_input(self._input_name, self._input)
            self._input.update_inplace(images)
        elif self._images is None or not _same_memory(images, self._images):
            self._images = images  # what is bound has to live
            self._input = onnxruntime.OrtValue.ortvalue_from_numpy(images)
            self._bound.bind_ortvalue_input(self._input_name, self._input)

    def _on_device(self, like: NDArray[Any]) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            like.shape, like.dtype.type, self._device, self._number
        )


def _same_memory(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays of one shape and type are the same memory."""
    first, second = one.__array_interface__, other.__array_interface__
    return bool(first['data'] == second['data'] and first['strides'] == second['strides'])
