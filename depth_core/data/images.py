# SPDX-License-Identifier: Apache-2.0
"""Images and planes of depth and labels to samples: what every file dataset shares."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import render_sparse_depth, resize_intrinsics, unproject


def make_sample(
    image: Uint8Array,
    depth_m: Float32Array | None,
    intrinsics: Intrinsics | None,
    *,
    key: str,
    semantic: Uint8Array | None = None,
    height: int | None = None,
    width: int | None = None,
    sparse: bool = False,
    exact: bool = False,
) -> Sample:
    """Put image, ground truth and camera together, at native size or resized together.

    Args:
        image: [H, W, 3] uint8 RGB.
        depth_m: [H, W] metres, NaN = unknown; None when the image has no ground truth.
        intrinsics: Camera of the image; None gives a matrix of NaN (unknown).
        key: Name of the sample.
        semantic: [H, W] Cityscapes train ids, 255 = none; None when the image has no labels.
        height: Rows of the sample; the image's own when None.
        width: Columns of the sample; the image's own when None.
        sparse: True for scattered depth (lidar): each value is then moved to the pixel it falls
            on, the nearest winning, where picking pixels would lose most of them.
        exact: Keep the image in uint8 and the camera in float64, as who scores wants them.

    Raises:
        DataError: Depth or labels and image differ in size.
    """
    rows, columns = image.shape[:2]
    for name, plane in (('depth', depth_m), ('labels', semantic)):
        if plane is not None and plane.shape != (rows, columns):
            turned = ''
            if plane.shape == (columns, rows):
                turned = (
                    ' Images are turned upright by their EXIF orientation: turn the '
                    f'{name} likewise.'
                )
            message = (
                f'{key}: {name} of {plane.shape[0]}x{plane.shape[1]} does not belong to an image '
                f'of {rows}x{columns}; ground truth has the size of its image.{turned}'
            )
            raise DataError(message)
    image, intrinsics = resize_together(image, intrinsics, height, width)
    size = image.shape[:2]
    if depth_m is not None and depth_m.shape != size:
        depth_m = resize_depth(depth_m, size, sparse=sparse)
    if semantic is not None:
        semantic = _picked(semantic, size)
    truth = np.full(size, np.nan, np.float32) if depth_m is None else depth_m
    matrix = np.full((3, 3), np.nan) if intrinsics is None else intrinsics.matrix
    with np.errstate(invalid='ignore'):
        valid = np.isfinite(truth) & (truth > 0.0)
    camera = torch.from_numpy(matrix)
    return Sample(
        image=_bytes_tensor(image) if exact else image_tensor(image),
        depth_m=torch.from_numpy(np.array(truth, np.float32)),
        valid=torch.from_numpy(valid),
        intrinsics=camera if exact else camera.float(),
        key=key,
        semantic=None if semantic is None else torch.from_numpy(semantic.astype(np.int64)),
    )


def image_tensor(image: Uint8Array) -> torch.Tensor:
    """Turn [H, W, 3] uint8 into [3, H, W] float32 in [0, 1]."""
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / np.float32(255.0))


def _bytes_tensor(image: Uint8Array) -> torch.Tensor:
    """[3, H, W] uint8 in the memory of [H, W, 3], or a copy where that is read-only."""
    return torch.from_numpy(np.require(image, requirements='W')).permute(2, 0, 1)


CameraT = TypeVar('CameraT', Intrinsics, Intrinsics | None)


def resize_together(
    image: Uint8Array, intrinsics: CameraT, height: int | None, width: int | None
) -> tuple[Uint8Array, CameraT]:
    """Resize an image and its camera; a None keeps that side as it is."""
    rows, columns = image.shape[:2]
    size = (height or rows, width or columns)
    if size == (rows, columns):
        return image, intrinsics
    smaller = size[0] * size[1] < rows * columns
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(image, size[::-1], interpolation=method), np.uint8)
    if intrinsics is None:
        return resized, intrinsics
    return resized, resize_intrinsics(intrinsics, height=size[0], width=size[1])


def resize_depth(depth_m: Float32Array, size: tuple[int, int], *, sparse: bool) -> Float32Array:
    """Bring depth [H, W] to `size`, (height, width), in metres, without averaging.

    Args:
        depth_m: NaN = unknown.
        size: Rows and columns.
        sparse: As in `make_sample`.
    """
    rows, columns = depth_m.shape
    if not sparse:
        return _picked(depth_m, size)
    # Any camera serves: what it lifts is projected back by the same one, resized.
    camera = Intrinsics(
        fx_px=float(columns),
        fy_px=float(columns),
        cx_px=0.0,
        cy_px=0.0,
        height=rows,
        width=columns,
    )
    points = unproject(depth_m, camera)[np.isfinite(depth_m)]
    return render_sparse_depth(points, resize_intrinsics(camera, height=size[0], width=size[1]))


PlaneT = TypeVar('PlaneT', Float32Array, Uint8Array)


def _picked(plane: PlaneT, size: tuple[int, int]) -> PlaneT:
    """Resize by taking the nearest pixel: depths and classes are not averaged."""
    rows, columns = plane.shape
    row = ((np.arange(size[0]) + 0.5) * rows / size[0]).astype(np.int64)
    column = ((np.arange(size[1]) + 0.5) * columns / size[1]).astype(np.int64)
    picked: PlaneT = plane[row[:, None], column]
    return picked


def check_size(height: int | None, width: int | None) -> None:
    """Refuse a half-given or non-positive sample size.

    Raises:
        ConfigError: Only one of the two is given, or one is below 1.
    """
    sides = [side for side in (height, width) if side is not None]
    if len(sides) == 1 or any(side < 1 for side in sides):
        message = (
            f'sample size height={height}, width={width} is not a size; '
            'give both in pixels, at least 1, or neither for the native size.'
        )
        raise ConfigError(message)


def require_folder(root: Path, what: str) -> None:
    """Refuse a dataset root that is not a folder.

    Raises:
        DataError: It does not exist or is a file.
    """
    if not root.is_dir():
        found = 'is a file' if root.exists() else 'does not exist'
        message = f'{what} folder {root} {found}; give the folder that holds the data.'
        raise DataError(message)
