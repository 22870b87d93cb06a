# SPDX-License-Identifier: Apache-2.0
"""Outputs that are not due: rate limits, by the stamps of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from depth_ros.frames.outputs import Output
from depth_ros.options.output import RateOptions

EARLY: Final = 0.1
"""An image may come this share of the period early: stamps of cameras are not that regular."""


class RateLimiter:
    """Remembers when each output was due last."""

    def __init__(self) -> None:
        self._next_ns: dict[str, float] = {}

    def due(
        self, wanted: Sequence[Output], stamp_ns: int, options: RateOptions
    ) -> tuple[Output, ...]:
        """Return the outputs that an image is to be published on.

        Outputs of one limit are due together. The mean rate is that of the limit where images
        come faster; stamps that jump, by more than a period, start anew.

        Args:
            wanted: Those with a subscriber.
            stamp_ns: Of the image.
            options: The limits.
        """
        limits = {output.rate for output in wanted}
        due = {limit for limit in limits if self._is_due(limit, stamp_ns, options)}
        return tuple(output for output in wanted if output.rate in due)

    def _is_due(self, limit: str, stamp_ns: int, options: RateOptions) -> bool:
        rate_hz = float(getattr(options, limit))
        if rate_hz == 0.0:
            return True
        period_ns = 1e9 / rate_hz
        wait_ns = self._next_ns.get(limit, float(stamp_ns)) - stamp_ns
        if EARLY * period_ns < wait_ns <= period_ns:
            return False
        follows = abs(wait_ns) <= period_ns
        self._next_ns[limit] = (stamp_ns + wait_ns if follows else stamp_ns) + period_ns
        return True
