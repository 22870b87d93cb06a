# SPDX-License-Identifier: Apache-2.0
"""The parameters of the compressed outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from depth_ros.options.fields import When, parameter


@dataclass(frozen=True, kw_only=True)
class CompressedOptions:
    """How the compressed outputs state depth, and how small they are."""

    depth_max_m: float = parameter(
        'Depths beyond are unknown in depth/image_raw/compressedDepth. A depth d is stated to '
        '0.5 (1 / depth_min_m - 1 / depth_max_m) d^2 / 65534: by default to 1 mm at 4 m and to '
        '0.33 m at 80 m.',
        default=100.0,
        minimum=1.0,
        maximum=10000.0,
        unit='m',
        when=When.LIVE,
    )
    depth_min_m: float = parameter(
        'Depths nearer than this are unknown there; a larger one states far depths more finely.',
        default=0.15,
        minimum=0.01,
        maximum=100.0,
        unit='m',
        when=When.LIVE,
    )
    png_level: int = parameter(
        'Compression of these PNG: 1 is the fastest, 9 the smallest. 9 takes 20 to 50 times as '
        'long for a third less.',
        default=1,
        minimum=1,
        maximum=9,
        when=When.LIVE,
    )
    jpeg_quality: int = parameter(
        'Quality of depth/color/compressed.', default=90, minimum=1, maximum=100, when=When.LIVE
    )

    def contradictions(self) -> Iterator[str]:
        """Say what the parameters contradict each other in."""
        if self.depth_max_m <= self.depth_min_m:
            yield (
                f'parameter compressed.depth_max_m = {self.depth_max_m:g} is not above '
                f'compressed.depth_min_m = {self.depth_min_m:g}; give a larger one.'
            )
