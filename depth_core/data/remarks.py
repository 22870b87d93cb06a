# SPDX-License-Identifier: Apache-2.0
"""What a data set says of itself: what nobody asked for by name, and is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class WithRemarks(Protocol):
    """A data set that can say what of it is missing."""

    def remarks(self) -> Sequence[str]:
        """A line for each thing, with what it means and the remedy; without a full stop."""


def remarks_of(dataset: object) -> Sequence[str]:
    """The remarks of any data set."""
    return dataset.remarks() if isinstance(dataset, WithRemarks) else ()
