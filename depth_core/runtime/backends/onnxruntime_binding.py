# SPDX-License-Identifier: Apache-2.0
"""Memory that a session of ONNX Runtime reads and writes, bound once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from depth_core.errors import BackendError
from depth_core.runtime.backends.base import is_same_memory

FIRST_ANSWER_S: Final = 120.0
"""What the first answer may take for each image, also on a small processor; a loop may never end.
"""

_SILENT: Final = 4


class Binding:
    """Runs a session without a copy on the CPU, or through memory of its own on a device.

    The first batch of a shape shows the shapes of the answers, and is not bound.

    Args:
        session: What runs.
        output_names: The outputs that are wanted.
        memory: Device and its number, as ONNX Runtime calls it: `('cpu', 0)`, `('cuda', 1)`.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        output_names: Sequence[str],
        memory: tuple[str, int],
    ) -> None:
        self._session = session
        self._output_names = output_names
        self._device, self._number = memory
        self._staged = self._device != 'cpu'
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._arrays: dict[str, NDArray[Any]] = {}
        self._inputs: dict[str, onnxruntime.OrtValue] = {}
        self._outputs: list[onnxruntime.OrtValue] = []
        self._answers: list[NDArray[Any]] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Compute a batch; the answers are overwritten by the next one."""
        if {name: array.shape for name, array in inputs.items()} != self._shapes:
            return self._first_of_a_shape(inputs)
        for name, array in inputs.items():
            self._bind_input(name, array)
        self._session.run_with_iobinding(self._bound)
        if self._staged:
            return [output.numpy() for output in self._outputs]
        return self._answers

    def _first_of_a_shape(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        images = max(len(array) if array.ndim else 1 for array in inputs.values())
        limit_s = FIRST_ANSWER_S * max(images, 1)
        answers = [
            np.ascontiguousarray(answer)
            for answer in _run_within(limit_s, self._session, self._output_names, inputs)
        ]
        self._shapes = {name: array.shape for name, array in inputs.items()}
        self._arrays, self._inputs = {}, {}
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

    def _bind_input(self, name: str, array: NDArray[Any]) -> None:
        if self._staged:
            if name not in self._inputs:
                self._inputs[name] = self._on_device(array)
                self._bound.bind_ortvalue_input(name, self._inputs[name])
            self._inputs[name].update_inplace(array)
        elif name not in self._arrays or not is_same_memory(array, self._arrays[name]):
            self._arrays[name] = array  # what is bound has to live
            self._inputs[name] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            self._bound.bind_ortvalue_input(name, self._inputs[name])

    def _on_device(self, like: NDArray[Any]) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            like.shape, like.dtype.type, self._device, self._number
        )


def _run_within(
    limit_s: float,
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    inputs: Mapping[str, NDArray[Any]],
) -> Sequence[NDArray[Any]]:
    """Run a session, and stop it where it does not end.

    Raises:
        BackendError: It took longer than `limit_s`.
    """
    options = onnxruntime.RunOptions()
    ended = threading.Event()

    def stop() -> None:
        if not ended.wait(limit_s):
            options.log_severity_level = _SILENT
            options.terminate = True

    watch = threading.Thread(target=stop, daemon=True)
    watch.start()
    try:
        answers: Sequence[NDArray[Any]] = session.run(list(outputs), dict(inputs), options)
    except Exception as error:  # each failure has its own class here, with no common parent
        if not options.terminate:
            raise
        message = (
            f'the graph gave no answer within {limit_s:g} s and was stopped: it holds a loop that '
            'does not end, or is too large for this machine; give another graph or a smaller size.'
        )
        raise BackendError(message) from error
    finally:
        ended.set()
    return answers
