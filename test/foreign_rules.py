# SPDX-License-Identifier: Apache-2.0
"""What metres a stand-in of a public graph has to give, from the rules its authors publish.

NumPy alone, at every pixel of the camera: nothing of this package computes here, and nothing is
read from our presets. Focal lengths are those of the image that the network sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from test.foreign import NEAREST, OWN_FOCAL_PX, P_GAIN, RAY_GAIN, SPAN, TOKENS_M, TONE

Plane: TypeAlias = NDArray[np.float64]
Focal: TypeAlias = tuple[float, float]

TOKENS: Final = 1800
"""What our preset asks MoGe-2 for."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera; pixel centres are at whole numbers."""

    height: int
    width: int
    fx: float
    fy: float
    cx: float
    cy: float


CAMERAS: Final[Mapping[str, Camera]] = {
    '4:3': Camera(height=300, width=400, fx=330.0, fy=351.0, cx=176.0, cy=161.5),
    '16:9': Camera(height=360, width=640, fx=410.0, fy=392.0, cx=301.0, cy=203.0),
    '3.3:1': Camera(height=376, width=1242, fx=721.5, fy=702.0, cx=571.0, cy=172.9),
}
"""Three shapes; the focal lengths differ, and the principal points are off the centre."""


def camera_image(camera: Camera) -> NDArray[np.uint8]:
    """Slopes that survive resampling: red to the right, green downwards, blue from the top."""
    across = np.linspace(30.0, 220.0, camera.width)
    down = np.linspace(40.0, 210.0, camera.height)
    image = np.empty((camera.height, camera.width, 3), np.uint8)
    image[..., 0] = np.rint(across)
    image[..., 1] = np.rint(down)[:, None]
    image[..., 2] = np.rint(np.linspace(250.0, 5.0, camera.height))[:, None]
    return image


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a camera sees."""

    camera: Camera
    image: NDArray[np.uint8]
    change: float = 0.0
    """Added to the tone, to see what a rounded image may change."""

    @property
    def plain(self) -> Plane:
        """What stand-ins answer, in the unit of their output."""
        tone: Plane = self.image.astype(np.float64) / 255.0 @ np.array(TONE) + self.change
        return NEAREST + SPAN * tone

    @property
    def blue(self) -> Plane:
        """In [0, 1]."""
        blue: Plane = self.image[..., 2].astype(np.float64) / 255.0
        return blue

    @property
    def rays(self) -> tuple[Plane, Plane]:
        """x/z and y/z of the ray of each pixel."""
        camera = self.camera
        x = (np.arange(camera.width) - camera.cx) / camera.fx
        y = (np.arange(camera.height) - camera.cy) / camera.fy
        return np.broadcast_to(x, self.blue.shape), np.broadcast_to(y[:, None], self.blue.shape)


Rule: TypeAlias = Callable[[Scene], Plane]


def stretched(camera: Camera, height: int, width: int) -> Focal:
    """Fx and fy where each side is brought to the size by its own factor."""
    return camera.fx * width / camera.width, camera.fy * height / camera.height


def letterboxed(camera: Camera, height: int, width: int) -> Focal:
    """Fx and fy where the whole image fits into the size by one factor."""
    factor = min(height / camera.height, width / camera.width)
    return camera.fx * factor, camera.fy * factor


def cropped(camera: Camera, height: int, width: int) -> Focal:
    """Fx and fy where the image covers the size by one factor."""
    factor = max(height / camera.height, width / camera.width)
    return camera.fx * factor, camera.fy * factor


def mean(focal: Focal) -> float:
    return (focal[0] + focal[1]) / 2.0


def beyond_sky(scene: Scene, depth: Plane) -> Plane:
    """Depth Anything 3: the sky is where its output is high, from 0.3 on."""
    sky = np.maximum(2.0 * scene.blue - 1.0, 0.0)
    return np.where(sky >= 0.3, np.inf, depth)


def plain(scene: Scene) -> Plane:
    """Metres already, or relative: the number of the graph itself."""
    return scene.plain


def depth_anything_3(height: int, width: int) -> Rule:
    """Metres = depth * f / 300, f the mean of fx and fy."""

    def rule(scene: Scene) -> Plane:
        focal = mean(stretched(scene.camera, height, width))
        return beyond_sky(scene, scene.plain * focal / 300.0)

    return rule


def metric3d(height: int, width: int) -> Rule:
    """Metres = depth * (fx * resize scale) / 1000, at most 300."""

    def rule(scene: Scene) -> Plane:
        focal, _ = letterboxed(scene.camera, height, width)
        return np.minimum(scene.plain * focal / 1000.0, 300.0)

    return rule


def metric3d_any_size(scene: Scene) -> Plane:
    """The same inside 616x1064, which the preset keeps to."""
    return metric3d(616, 1064)(scene)


def depth_pro(scene: Scene) -> Plane:
    """Its metres belong to its own focal length; ours is known."""
    focal, _ = stretched(scene.camera, 1536, 1536)
    return scene.plain * focal / OWN_FOCAL_PX


def depth_pro_raw(scene: Scene) -> Plane:
    """The graph answers v = 1 / plain; inverse depth is v * width / fx of the camera."""
    inverse = scene.camera.width / scene.camera.fx / scene.plain
    return 1.0 / np.clip(inverse, 1e-4, 1e4)


def disparity(factor: float) -> Rule:
    """1 / (0.01 + 9.99 s), times the baseline of KITTI or nothing."""

    def rule(scene: Scene) -> Plane:
        sigmoid = 0.6 * (scene.plain - NEAREST) / SPAN + 0.05
        return factor / (0.01 + 9.99 * sigmoid)

    return rule


def unidepth_camera(scene: Scene) -> Plane:
    """The third coordinate, which this stand-in makes larger with the ray it is given."""
    x, y = scene.rays
    length = np.sqrt(x * x + y * y + 1.0)
    return scene.plain * (1.0 + (RAY_GAIN[0] * x + RAY_GAIN[1] * y) / length)


def moge(scene: Scene) -> Plane:
    """(z + t) * scale, with the t that the stand-in left out; nothing where its mask is low."""
    metres = scene.plain * TOKENS * TOKENS_M
    return np.where(scene.blue > 0.65, np.nan, metres)


def fsnet(scene: Scene) -> Plane:
    """This stand-in multiplies by what is in the P of the image at the top left."""
    camera = scene.camera
    factor = min(384 / camera.height, 1280 / camera.width)
    return scene.plain * (
        P_GAIN[0] * camera.fx * factor + P_GAIN[1] * (camera.cx + camera.cy) * factor
    )


RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(
        (
            *(f'depth_anything_v2_{size}' for size in ('small', 'base', 'large')),
            *(f'depth_anything_v2_{size}_fabio_sim' for size in ('small', 'base', 'large')),
            *('depth_anything_v2_metric_indoor', 'depth_anything_v2_metric_outdoor'),
            *('depth_anything_3_base', 'depth_anything_3_small'),
            *('midas_small', 'midas_large', 'dpt_large', 'zoedepth_nk', 'unidepth_v2'),
            *('fastdepth', 'zipdepth'),
        ),
        plain,
    ),
    'depth_anything_3_metric': depth_anything_3(504, 504),
    'depth_anything_3_metric_280x504': depth_anything_3(280, 504),
    'depth_anything_3_mono': lambda scene: beyond_sky(scene, scene.plain),
    'metric3d_v2': metric3d(616, 1064),
    'metric3d_v2_convnext': metric3d(544, 1216),
    'metric3d_v2_onnx_community': metric3d_any_size,
    'depth_pro': depth_pro,
    'depth_pro_raw': depth_pro_raw,
    'unidepth_v2_camera': unidepth_camera,
    'moge_2': moge,
    'lite_mono': disparity(1.0),
    'monodepth2_stereo': disparity(5.4),
    'fsnet': fsnet,
}
"""Metres, or the unit of the graph where it knows none, by the name of the preset."""

RELATIVE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *(f'depth_anything_v2_{size}' for size in ('small', 'base', 'large')),
            *(f'depth_anything_v2_{size}_fabio_sim' for size in ('small', 'base', 'large')),
            *('midas_small', 'midas_large', 'dpt_large', 'zipdepth'),
        ),
        'inverse',
    ),
    **dict.fromkeys(
        (
            *('depth_anything_3_base', 'depth_anything_3_small', 'depth_anything_3_mono'),
            'lite_mono',
        ),
        'up_to_scale',
    ),
}
"""The kind of those that know no metres."""
