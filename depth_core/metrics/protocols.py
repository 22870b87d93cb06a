# SPDX-License-Identifier: Apache-2.0
"""The named evaluation protocols: which pixels are scored, over which depths."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from depth_core.contracts import BoolArray, Float32Array
from depth_core.errors import ConfigError, DataError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A scored box: fractions of the image, or pixels of one image size."""

    top: float
    bottom: float
    left: float
    right: float
    size: tuple[int, int] | None = None
    """(height, width) that pixel numbers belong to; None when the numbers are fractions."""

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) in pixels of a `height` x `width` image, ends exclusive.

        Raises:
            DataError: Pixel numbers were defined for another size.
        """
        if self.size is None:
            return (
                int(self.top * height),
                int(self.bottom * height),
                int(self.left * width),
                int(self.right * width),
            )
        if self.size != (height, width):
            message = (
                f'ground truth of {height}x{width} cannot be scored in a crop defined in pixels '
                f'of {self.size[0]}x{self.size[1]}; use ground truth of that size, or protocol '
                "'none'."
            )
            raise DataError(message)
        return int(self.top), int(self.bottom), int(self.left), int(self.right)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which pixels are scored, over which depths, and which number is the headline."""

    name: str
    description: str
    min_depth_m: float
    max_depth_m: float
    crop: Crop | None = None
    window: tuple[int, int] | None = None
    """(height, width) of the bottom-centre window that image and ground truth are cut to before
    prediction; `crop` is then relative to the window. None keeps the whole image."""
    pooled: bool = False
    """True when the headline is over all pixels of the set, False for the mean over images."""
    swapped: bool = False
    """True when prediction and ground truth change places in the relative errors, as in the
    evaluation script of DenseDepth: they are then divided by the prediction."""

    def __post_init__(self) -> None:
        if not 0.0 < self.min_depth_m < self.max_depth_m < math.inf:
            message = (
                f'protocol {self.name!r} with depths [{self.min_depth_m}, {self.max_depth_m}] m '
                'has no range; give 0 < min_depth < max_depth.'
            )
            raise ConfigError(message)

    def window_origin(self, height: int, width: int) -> tuple[int, int]:
        """(top, left) of the bottom-centre window in a `height` x `width` image.

        Raises:
            DataError: The image is smaller than the window.
        """
        if self.window is None:
            return 0, 0
        if height < self.window[0] or width < self.window[1]:
            message = (
                f'image of {height}x{width} is smaller than the {self.window[0]}x{self.window[1]} '
                f'window of protocol {self.name!r}; evaluate images of native size, or choose a '
                'protocol without a window.'
            )
            raise DataError(message)
        return height - self.window[0], (width - self.window[1]) // 2

    def scored(self, target_m: Float32Array, valid: BoolArray | None = None) -> BoolArray:
        """[H, W] mask of the pixels this protocol scores (of the window, when there is one)."""
        with np.errstate(invalid='ignore'):
            mask: BoolArray = (target_m > self.min_depth_m) & (target_m < self.max_depth_m)
        if valid is not None:
            mask &= valid
        if self.crop is not None and mask.any():
            top, bottom, left, right = self.crop.box(*target_m.shape)
            inside = np.zeros_like(mask)
            inside[top:bottom, left:right] = True
            mask &= inside
        return mask


_GARG: Final = Crop(top=0.40810811, bottom=0.99189189, left=0.03594771, right=0.96405229)
_EIGEN: Final = Crop(top=0.3324324, bottom=0.91351351, left=0.0359477, right=0.96405229)
_NYU_EIGEN: Final = Crop(top=45, bottom=471, left=41, right=601, size=(480, 640))
_NYU_DENSEDEPTH: Final = Crop(top=20, bottom=460, left=24, right=616, size=(480, 640))

PROTOCOLS: Final[dict[str, Protocol]] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name='kitti_eigen_garg_80m',
            description='KITTI, crop of Garg et al., up to 80 m',
            min_depth_m=1e-3,
            max_depth_m=80.0,
            crop=_GARG,
        ),
        Protocol(
            name='kitti_eigen_garg_50m',
            description='KITTI, crop of Garg et al., up to 50 m',
            min_depth_m=1e-3,
            max_depth_m=50.0,
            crop=_GARG,
        ),
        Protocol(
            name='kitti_eigen_crop_80m',
            description='KITTI, crop of Eigen et al., up to 80 m',
            min_depth_m=1e-3,
            max_depth_m=80.0,
            crop=_EIGEN,
        ),
        Protocol(
            name='kitti_window_garg_80m',
            description='KITTI, image and ground truth cut to the bottom-centre 352x1216 before '
            'prediction, then the crop of Garg et al. within it, up to 80 m',
            min_depth_m=1e-3,
            max_depth_m=80.0,
            crop=_GARG,
            window=(352, 1216),
        ),
        Protocol(
            name='nyu_eigen',
            description='NYU, rows 45..470 and columns 41..600 of 480x640, up to 10 m',
            min_depth_m=1e-3,
            max_depth_m=10.0,
            crop=_NYU_EIGEN,
        ),
        Protocol(
            name='nyu_densedepth',
            description='NYU, crop of DenseDepth (rows 20..459, columns 24..615 of 480x640), '
            '0.1 to 10 m',
            min_depth_m=0.1,
            max_depth_m=10.0,
            crop=_NYU_DENSEDEPTH,
        ),
        Protocol(
            name='nyu_densedepth_official',
            description='NYU as the released DenseDepth script scores it: its crop, pooled over '
            'all pixels, relative errors divided by the prediction',
            min_depth_m=0.1,
            max_depth_m=10.0,
            crop=_NYU_DENSEDEPTH,
            pooled=True,
            swapped=True,
        ),
        Protocol(
            name='none',
            description='whole image, 1 mm to 80 m unless given',
            min_depth_m=1e-3,
            max_depth_m=80.0,
        ),
    )
}


def find_protocol(
    name: str, *, min_depth_m: float | None = None, max_depth_m: float | None = None
) -> Protocol:
    """Return the protocol called `name`; only 'none' takes another depth range.

    Raises:
        ConfigError: The name is unknown, or a depth range was given to a protocol that has one.
    """
    if name not in PROTOCOLS:
        raise ConfigError(unknown_name('protocol', name, PROTOCOLS))
    protocol = PROTOCOLS[name]
    if min_depth_m is None and max_depth_m is None:
        return protocol
    if name != 'none':
        message = (
            f'protocol {name!r} fixes its depth range to [{protocol.min_depth_m}, '
            f"{protocol.max_depth_m}] m; leave the range out, or use protocol 'none'."
        )
        raise ConfigError(message)
    low = protocol.min_depth_m if min_depth_m is None else min_depth_m
    high = protocol.max_depth_m if max_depth_m is None else max_depth_m
    return replace(
        protocol, min_depth_m=low, max_depth_m=high, description=f'whole image, {low} to {high} m'
    )
