# SPDX-License-Identifier: Apache-2.0
"""The sections of a manifest beside those of the image and the depth."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from depth_core.contracts import Channel
from depth_core.errors import ConfigError, PlacedError

_RELEASE: Final = re.compile(r'[0-9]{1,6}(\.[0-9]{1,6}){0,3}')


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """How a new engine for the graph is compared with the graph."""

    rtol: float = 1e-2
    """Largest difference, as a fraction of the depth; it can only tighten the usual limits."""

    def __post_init__(self) -> None:
        if not self.rtol > 0.0:
            message = f'graph.selfcheck.rtol is {self.rtol:g}; give a fraction above 0.'
            raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class GraphSection:
    """What the file is and which runtimes may be trusted with it."""

    opset: int | None = None
    """Version of the operators of ONNX."""
    precision: tuple[Literal['fp32', 'bf16', 'fp16', 'int8'], ...] = ()
    """What it may be computed in; empty when nothing is known against any."""
    min_trt: str = ''
    """Oldest TensorRT that computes it rightly, as 10.16.1."""
    selfcheck: SelfCheck | None = None
    license: str = ''
    """Licence of the weights."""
    summary: str = ''
    """What it is, in a line."""
    source: str = ''
    """Where the graph comes from."""
    obtain: str = ''
    """A command that fetches or exports it."""
    size_mb: float | None = None
    """Of the file, 10^6 bytes."""
    external_data: tuple[str, ...] = ()
    """Files of weights that belong beside it."""
    unsure: tuple[str, ...] = ()
    """What this manifest says without proof."""

    def __post_init__(self) -> None:
        if self.min_trt and not _RELEASE.fullmatch(self.min_trt):
            message = (
                f'graph.min_trt is {self.min_trt!r}; give numbers with dots between them, as '
                '10.16.1.'
            )
            raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class ExtraInput:
    """An input beside the image, filled for each frame."""

    name: str
    """Tensor name in the graph."""
    kind: Literal['K3x3', 'P3x4', 'rays_unit', 'focal', 'const']
    """The camera matrix, the projection matrix, the unit ray of each pixel, the focal length in
    pixels, or `value`."""
    value: float | None = None
    """For const."""
    layout: Literal['NCHW', 'NHWC'] = 'NCHW'
    """Where rays have their three planes."""
    at: Literal['network', 'camera'] = 'network'
    """Which image the camera is stated for: what the graph sees, or what the camera gave."""
    focal: Literal['mean', 'fx', 'fy'] = 'mean'
    """Which focal length, for focal."""
    dtype: str = ''
    """NumPy's name of the type; empty for what the graph says."""

    def __post_init__(self) -> None:
        if (self.kind == 'const') != (self.value is not None):
            rule = f'the kind is {self.kind}: give a const, and nothing else, a value'
            raise PlacedError(key='value', value=self.value, rule=rule)
        if self.value is not None and not math.isfinite(self.value):
            raise PlacedError(key='value', value=self.value, rule='give a finite number')
        if self.kind == 'rays_unit' and self.at == 'camera':
            rule = 'give network: rays_unit has one ray for each pixel of the input'
            raise PlacedError(key='at', value=self.at, rule=rule)

    @property
    def needs_intrinsics(self) -> bool:
        """Whether it is filled from the camera."""
        return self.kind != 'const'


@dataclass(frozen=True, kw_only=True)
class Mask:
    """An output that says where the depth counts."""

    output: str
    """Tensor name in the graph."""
    polarity: Literal['high_is_sky', 'high_is_valid']
    """What values at or above the threshold say."""
    threshold: float
    """In what the output is after `activation`."""
    activation: Literal['none', 'sigmoid'] = 'none'
    """What is still to be applied to the output."""
    fill: Literal['nan', 'max'] = 'nan'
    """What takes the place of the depth: no estimate, or beyond the range."""
    channel: Channel | None = None
    """Which plane, of an output with several."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise PlacedError(key='threshold', value=self.threshold, rule='give a finite number')
        if self.activation == 'sigmoid' and not 0.0 < self.threshold < 1.0:
            rule = 'give a number between 0 and 1, where activation is sigmoid'
            raise PlacedError(key='threshold', value=self.threshold, rule=rule)


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """An output that says how far the depth is to be trusted."""

    output: str
    """Tensor name in the graph."""
    meaning: Literal['sigma_m', 'sigma_log', 'rank_high_good', 'rank_high_bad']
    """sigma_m: standard deviation in the unit of the depth. sigma_log: its natural logarithm. The
    others only rank pixels: no sigma and no probability follows."""
    range: tuple[float, float] | None = None
    """Smallest and largest value it takes."""

    def __post_init__(self) -> None:
        if self.range is not None and not self.range[0] < self.range[1]:
            message = f'confidence.range is {list(self.range)}; give the smaller first.'
            raise ConfigError(message)

    @property
    def is_rank(self) -> bool:
        """Whether it states an order alone."""
        return self.meaning in {'rank_high_good', 'rank_high_bad'}


@dataclass(frozen=True, kw_only=True)
class Normal:
    """Surface normals, which are not served."""

    output: str
    axis: int = 1
    """Which axis holds x, y and z."""


@dataclass(frozen=True, kw_only=True)
class EstimatedIntrinsics:
    """The camera the graph believes in, which is not served."""

    output: str
    at: Literal['network', 'camera'] = 'network'


@dataclass(frozen=True, kw_only=True)
class AuxSection:
    """Outputs that are known and not used."""

    normal: Normal | None = None
    intrinsics_est: EstimatedIntrinsics | None = None


@dataclass(frozen=True, kw_only=True)
class DomainSection:
    """For which cameras and scenes the numbers hold."""

    focal_px: float | None = None
    """Focal length of the training camera, at the size of the input."""
    hfov_deg: float | None = None
    """Its horizontal field of view."""
    range_m: tuple[float, float] | None = None
    """Depths seen in training."""
    note: str = ''
    requires_intrinsics: bool = False
    """Whether the camera has to be known although the graph can do without."""
    publish_metric: bool = True
    """Whether metres may be published; without, the answer is up to scale."""
    assumed_hfov_deg: float | None = None
    """Horizontal field of view that is assumed where the camera is not known; None assumes
    nothing."""

    def __post_init__(self) -> None:
        for key in ('hfov_deg', 'assumed_hfov_deg'):
            value = getattr(self, key)
            if value is not None and not 0.0 < value < _HALF_TURN_DEG:
                message = f'domain.{key} is {value}; give degrees between 0 and 180.'
                raise ConfigError(message)
        if self.focal_px is not None and not self.focal_px > 0.0:
            message = f'domain.focal_px is {self.focal_px}; give a positive number of pixels.'
            raise ConfigError(message)
        if self.range_m is not None and not 0.0 <= self.range_m[0] < self.range_m[1]:
            message = f'domain.range_m is {list(self.range_m)}; give the nearer end first.'
            raise ConfigError(message)


_HALF_TURN_DEG = 180.0
