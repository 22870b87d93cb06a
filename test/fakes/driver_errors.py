# SPDX-License-Identifier: Apache-2.0
"""What the driver of the fake GPU may refuse with, before each package tells it in its own way."""

from __future__ import annotations

ERRORS = {
    1: ('CUDA_ERROR_INVALID_VALUE', 'invalid argument'),
    2: ('CUDA_ERROR_OUT_OF_MEMORY', 'out of memory'),
    3: ('CUDA_ERROR_NOT_INITIALIZED', 'initialization error'),
    46: ('CUDA_ERROR_DEVICE_UNAVAILABLE', 'CUDA-capable device(s) is/are busy or unavailable'),
    100: ('CUDA_ERROR_NO_DEVICE', 'no CUDA-capable device is detected'),
    101: ('CUDA_ERROR_INVALID_DEVICE', 'invalid device ordinal'),
    200: ('CUDA_ERROR_INVALID_IMAGE', 'device kernel image is invalid'),
    201: ('CUDA_ERROR_INVALID_CONTEXT', 'invalid device context'),
    209: ('CUDA_ERROR_NO_BINARY_FOR_GPU', 'no kernel image is available for the device'),
    400: ('CUDA_ERROR_INVALID_HANDLE', 'invalid resource handle'),
    500: ('CUDA_ERROR_NOT_FOUND', 'named symbol not found'),
    600: ('CUDA_ERROR_NOT_READY', 'device not ready'),
    700: ('CUDA_ERROR_ILLEGAL_ADDRESS', 'an illegal memory access was encountered'),
    900: ('CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED', 'not permitted when stream is capturing'),
    901: ('CUDA_ERROR_STREAM_CAPTURE_INVALIDATED', 'failed due to a previous error in capture'),
}
"""Errors of the driver that can happen here: number, name, text."""


class GpuError(Exception):
    """The driver refuses; each fake tells it in its own way."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.name, self.text = ERRORS[code]
        super().__init__(f'{self.name}: {self.text}')


class NoDriverError(Exception):
    """There is no driver library to load."""
