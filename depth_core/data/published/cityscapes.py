# SPDX-License-Identifier: Apache-2.0
"""Cityscapes (Cordts et al., CVPR 2016): streets with depth from its stereo disparity.

    root/leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png
    root/disparity/val/frankfurt/frankfurt_000000_000294_disparity.png     16-bit, 0 = none
    root/camera/val/frankfurt/frankfurt_000000_000294_camera.json

Disparity in pixels is (code - 1) / 256; depth is baseline * fx / disparity. Licence: its own, not
commercial.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.documents import parse_json
from depth_core.errors import DataError
from depth_core.files import read_text, visible_paths


class CityscapesDataset(PairDataset):
    """Images of all parts and cities; see `PairDataset` for the options."""

    title = 'Cityscapes'
    layout = 'leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png'

    def find(self) -> Sequence[Pair]:
        """The left images."""
        return [
            Pair(
                image=path,
                depth=self._beside(path, 'disparity', '_disparity.png'),
                key='/'.join((*path.parts[-3:-1], path.name.removesuffix('_leftImg8bit.png'))),
            )
            for path in visible_paths(self.root, 'leftImg8bit/*/*/*_leftImg8bit.png')
        ]

    def _beside(self, image: Path, folder: str, ending: str) -> Path:
        name = image.name.removesuffix('_leftImg8bit.png') + ending
        return self.root / folder / image.parts[-3] / image.parts[-2] / name

    def read_depth(self, pair: Pair) -> Float32Array:
        """Disparity to metres.

        Raises:
            DataError: The disparity or the camera is missing or damaged.
        """
        fx_px, _, _, _, baseline_m = self._numbers(pair)
        disparity_px = read_depth_png(pair.depth, unit_m=1.0 / 256.0) - np.float32(1.0 / 256.0)
        with np.errstate(invalid='ignore', divide='ignore'):
            depth_m = np.float32(baseline_m * fx_px) / disparity_px
        known: Float32Array = np.where(disparity_px > 0.0, depth_m, np.float32(np.nan))
        return known

    def camera(self, pair: Pair, height: int, width: int) -> Intrinsics:
        """The camera of the file of this image."""
        fx_px, fy_px, cx_px, cy_px, _ = self._numbers(pair)
        return fixed_camera((fx_px, fy_px, cx_px, cy_px), height=height, width=width)

    def _numbers(self, pair: Pair) -> tuple[float, float, float, float, float]:
        """fx, fy, cx, cy in pixels, baseline in metres."""
        path = self._beside(pair.image, 'camera', '_camera.json')
        try:
            stated = parse_json(read_text(path))
            inner = stated['intrinsic']
            numbers = [float(inner[name]) for name in ('fx', 'fy', 'u0', 'v0')]
            baseline_m = float(stated['extrinsic']['baseline'])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f'camera {path} cannot be read ({error}); unpack camera_trainvaltest.zip.'
            raise DataError(message) from error
        if not (min(*numbers[:2], baseline_m) > 0.0 and np.isfinite([*numbers, baseline_m]).all()):
            message = f'camera {path} states {numbers} and baseline {baseline_m}: none is one.'
            raise DataError(message)
        fx_px, fy_px, cx_px, cy_px = numbers
        return fx_px, fy_px, cx_px, cy_px, baseline_m
