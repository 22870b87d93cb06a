# SPDX-License-Identifier: Apache-2.0
"""Why an image cannot be used."""

from __future__ import annotations

from enum import Enum

from depth_core.errors import DataError


class ImageProblem(str, Enum):
    """The kinds of problems, for whoever counts them."""

    ENCODING = 'encoding'
    """The encoding or file format is not one that is read."""
    SIZE = 'size'
    """Height, width, step and the number of bytes contradict each other, or are over the limit."""
    DAMAGED = 'damaged'
    """An encoded image is truncated or its data are corrupt."""


class ImageError(DataError):
    """Bytes are no usable image; the message says what is wrong with them, not where they are."""

    def __init__(self, problem: ImageProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem
