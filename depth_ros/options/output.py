# SPDX-License-Identifier: Apache-2.0
"""The parameters of what is published: depth, its cloud, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from depth_ros.options.fields import When, parameter


@dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """Which depth is published, on images as in the cloud, and how it is enlarged."""

    min_m: float = parameter(
        'Depth nearer than this becomes -inf on depth/image_raw (0 in millimetres) and NaN in '
        'points; 0 keeps all.',
        default=0.0,
        minimum=0.0,
        maximum=10000.0,
        unit='m',
        when=When.LIVE,
    )
    max_m: float = parameter(
        'Depth beyond this becomes +inf on depth/image_raw (0 in millimetres) and NaN in points; '
        '0 keeps all.',
        default=0.0,
        minimum=0.0,
        maximum=10000.0,
        unit='m',
        when=When.LIVE,
    )
    min_confidence: float = parameter(
        'Depth of less confidence becomes NaN on depth/image_raw (0 in millimetres) and in '
        'points; 0 keeps all.',
        default=0.0,
        minimum=0.0,
        maximum=1.0,
        when=When.LIVE,
    )
    upsampling: Literal['bilinear', 'guided'] = parameter(
        'How depth of the network is brought to the size of the output. bilinear: the quickest; '
        'between near and far lie pixels of neither. guided: at depth edges each pixel takes the '
        'side whose colour is the more like its own.',
        default='bilinear',
        when=When.LIVE,
    )

    @property
    def filters(self) -> bool:
        """Whether any depth is to be taken away."""
        return self.min_m > 0.0 or self.max_m > 0.0 or self.min_confidence > 0.0


@dataclass(frozen=True, kw_only=True)
class CloudOptions:
    """What a cloud holds and which pixels become points."""

    min_confidence: float = parameter(
        'Points of less confidence become NaN; 0 keeps all. Images are not filtered: '
        'depth.min_confidence does that.',
        default=0.0,
        minimum=0.0,
        maximum=1.0,
        when=When.LIVE,
        name='min_confidence',
    )
    stride: int = parameter(
        'Every n-th row and column becomes a point; the cloud stays organised.',
        default=1,
        minimum=1,
        maximum=64,
        unit='pixels',
        when=When.LIVE,
    )
    color: bool = parameter('Give points the field rgb.', default=True, when=When.LIVE)
    confidence: bool = parameter(
        'Give points the field confidence.', default=False, when=When.LIVE
    )
    organized: bool = parameter(
        'Keep rows and columns of the image, with NaN where there is no point. false: one row of '
        'valid points only, and is_dense is true.',
        default=True,
        when=When.LIVE,
    )
    edge_ratio: float = parameter(
        'Relative depth step within 3x3 pixels that makes a flying pixel, which becomes NaN; '
        '0 keeps all.',
        default=0.1,
        minimum=0.0,
        maximum=10.0,
        when=When.LIVE,
    )
    max_range_m: float = parameter(
        'Points farther than this become NaN; 0 keeps all.',
        default=0.0,
        minimum=0.0,
        maximum=10000.0,
        unit='m',
        when=When.LIVE,
    )

    @property
    def needs_confidence(self) -> bool:
        """Whether the cloud takes the confidence map."""
        return self.confidence or self.min_confidence > 0.0


def _rate(outputs: str) -> float:
    return parameter(
        f'Most messages a second on {outputs}, by the stamps of the images; 0 answers every one. '
        'An image that no output is due for is not computed.',
        default=0.0,
        minimum=0.0,
        maximum=1000.0,
        unit='Hz',
        when=When.LIVE,
    )


@dataclass(frozen=True, kw_only=True)
class RateOptions:
    """How often each output is published."""

    depth_hz: float = _rate('depth/image_raw, relative/image_raw and their camera_info')
    sigma_hz: float = _rate('sigma/image_raw')
    confidence_hz: float = _rate('confidence/image_raw')
    color_hz: float = _rate('depth/color')
    points_hz: float = _rate('points')
