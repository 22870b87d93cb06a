# SPDX-License-Identifier: Apache-2.0
"""The pinhole cameras synthetic images are taken with."""

from __future__ import annotations

from random import Random
from typing import Final

from depth_core.contracts import Intrinsics
from depth_core.errors import ConfigError, unknown_name

_HALF_TURN_DEG: Final = 180.0

CAMERAS = {
    'kitti': Intrinsics(
        fx_px=721.5377, fy_px=721.5377, cx_px=609.5593, cy_px=172.854, height=375, width=1242
    ),
    'vga': Intrinsics(fx_px=525.0, fy_px=525.0, cx_px=319.5, cy_px=239.5, height=480, width=640),
    'nyu': Intrinsics(
        fx_px=518.8579, fy_px=519.4696, cx_px=325.5825, cy_px=253.7362, height=480, width=640
    ),
    'wide': Intrinsics(fx_px=760.0, fy_px=760.0, cx_px=639.5, cy_px=359.5, height=720, width=1280),
    'narrow': Intrinsics(
        fx_px=1500.0, fy_px=1500.0, cx_px=639.5, cy_px=359.5, height=720, width=1280
    ),
}
"""Distortion-free cameras by name: KITTI's left colour camera, VGA depth cameras of two makes,
and a wider (80 degrees) and a narrower (46 degrees) 16:9 camera."""

MIXED = 'mixed'
"""Instead of a name of a camera or a scene: drawn anew for every sample."""


def check_view(hfov_deg: tuple[float, float] | None) -> None:
    """Refuse a range of fields of view that no camera with straight lines has.

    Raises:
        ConfigError: An end is not between 0 and 180 degrees, or the first is the larger one.
    """
    if hfov_deg is None:
        return
    low, high = hfov_deg
    if not 0.0 < low <= high < _HALF_TURN_DEG:
        message = (
            f'hfov_deg={low:g} to {high:g} is no range of fields of view; give degrees above 0 '
            'and below 180, one number or the smallest and the largest.'
        )
        raise ConfigError(message)


def draw_camera(name: str, source: Random) -> Intrinsics:
    """Return the camera `name`, or one of all cameras when it is `'mixed'`.

    Raises:
        ConfigError: There is no such camera.
    """
    if name == MIXED:
        return CAMERAS[source.choice(sorted(CAMERAS))]
    if name not in CAMERAS:
        raise ConfigError(unknown_name('camera', name, (*CAMERAS, MIXED)))
    return CAMERAS[name]
