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


@runtime_checkable
class WithLosses(Protocol):
    """A data set that may have been cut off, so that only a part of it is read."""

    lost: str | None
    """What is missing, with the remedy; without a full stop. None = nothing."""


def lost_of(dataset: object) -> str | None:
    """What any data set lost; None = nothing that is known."""
    return dataset.lost if isinstance(dataset, WithLosses) else None


def remarks_of(dataset: object) -> Sequence[str]:
    """The remarks of any data set, and what it lost."""
    remarks = dataset.remarks() if isinstance(dataset, WithRemarks) else ()
    lost = lost_of(dataset)
    return remarks if lost is None else (*remarks, lost)
