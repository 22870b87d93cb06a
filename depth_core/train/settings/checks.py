# SPDX-License-Identifier: Apache-2.0
"""What settings of several groups are checked for alike."""

from __future__ import annotations

from collections.abc import Mapping


def at_least(minimum: float, values: Mapping[str, float | None]) -> list[str]:
    """Say which settings, by their names, are below `minimum`; None is allowed."""
    return [
        f'{key} is {value}; give at least {minimum}.'
        for key, value in values.items()
        if value is not None and not value >= minimum
    ]
