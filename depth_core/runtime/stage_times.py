# SPDX-License-Identifier: Apache-2.0
"""Where the time of an answer goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Where the time of one answer went, seconds."""

    preprocess_s: float = 0.0
    inference_s: float = 0.0
    postprocess_s: float = 0.0
    copy_s: float | None = None
    """Of `inference_s`, copying to the device and back; None where the backend does not tell, or
    has no device of its own."""

    def plus(self, other: StageTimes) -> StageTimes:
        """The time of two passes."""
        return StageTimes(
            preprocess_s=self.preprocess_s + other.preprocess_s,
            inference_s=self.inference_s + other.inference_s,
            postprocess_s=self.postprocess_s + other.postprocess_s,
            copy_s=_sum_known(self.copy_s, other.copy_s),
        )


def _sum_known(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second
