# SPDX-License-Identifier: Apache-2.0
"""How given tensors differ from expected ones, by name and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

_SHOWN: Final = 10
_OF_ANOTHER: Final = 100
"""So many differences, and the weights are of another network: a few names say which."""
_SHOWN_OF_ANOTHER: Final = 3


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Names that do not fit; false when there are none."""

    missing: Sequence[str] = ()
    surplus: Sequence[str] = ()
    of_another_shape: Sequence[str] = ()
    """Names, each with both shapes."""

    @property
    def count(self) -> int:
        """How many tensors do not fit."""
        return len(self.missing) + len(self.surplus) + len(self.of_another_shape)

    @property
    def lines(self) -> list[str]:
        """One line for each kind of difference: the count and the first ten names, or three."""
        kinds = {
            'missing': self.missing,
            'surplus': self.surplus,
            'of another shape': self.of_another_shape,
        }
        most = _SHOWN if self.count <= _OF_ANOTHER else _SHOWN_OF_ANOTHER
        return [
            f'{len(names)} {kind}: {shown(names, most)}' for kind, names in kinds.items() if names
        ]

    def message(self, before: str, after: str) -> str:
        """Put the lines between what is wrong and the remedy."""
        return '\n  '.join((before, *self.lines, after))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.count > 0


def differences(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Differences:
    """Compare names and shapes; values and types are not looked at."""
    return Differences(
        missing=[key for key in expected if key not in given],
        surplus=[key for key in given if key not in expected],
        of_another_shape=[
            f'{key} (given {tuple(given[key].shape)}, network {tuple(like.shape)})'
            for key, like in expected.items()
            if key in given and given[key].shape != like.shape
        ],
    )


def shown(names: Sequence[str], most: int = _SHOWN) -> str:
    """Join the first ten names, or `most`; the number of the others follows."""
    more = f', and {len(names) - most} more' if len(names) > most else ''
    return f'{", ".join(names[:most])}{more}'
