# SPDX-License-Identifier: Apache-2.0
"""Depth and label files to arrays, and arrays to samples: what every file dataset shares."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import render_sparse_depth, resize_intrinsics, unproject
from depth_core.images import MAX_PIXELS, ImageError, limit_pixels, read_header

NO_LABEL: Final = 255
"""Semantic train id of a pixel that nothing is known about."""

LabelIds: TypeAlias = Literal['train_ids', 'label_ids']
"""What the codes of label files are: the train ids of Cityscapes, or its ids of all 34 labels."""

LABEL_IDS: Final[tuple[LabelIds, ...]] = get_args(LabelIds)

_TRAIN_IDS: Final = 19
_OF_LABEL_ID: Final = (
    7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
)  # fmt: skip
"""The label id of each train id, as in cityscapesScripts, helpers/labels.py."""
_LABELS: Final = 34
_CODES_SHOWN: Final = 8
_LABEL_MODES: Final = ('L', 'P')


def read_depth_png(
    path: Path, *, unit_m: float, eight_bit_unit_m: float | None = None
) -> Float32Array:
    """Read a depth image whose code 0 means 'no value'.

    Args:
        path: A 16-bit grey PNG.
        unit_m: Metres in one 16-bit code: 1/256 for KITTI, 0.001 for millimetres.
        eight_bit_unit_m: Metres in one code of an 8-bit file; None refuses 8-bit files.

    Returns:
        [H, W] float32 metres, NaN where there is no value.

    Raises:
        DataError: It is missing, truncated, corrupt or not of the declared kind.
    """
    image = _decode(_read_bytes(path, 'depth'), str(path))
    if image.mode.startswith('I'):
        codes = np.asarray(image).astype(np.float32)
        scale = unit_m
    elif image.mode == 'L' and eight_bit_unit_m is not None:
        codes = np.asarray(image).astype(np.float32)
        scale = eight_bit_unit_m
    else:
        message = (
            f'depth {path} has pixel type {image.mode}; depth images are 16-bit grey PNG files '
            'with a declared unit: give the depth itself, not a coloured preview of it.'
        )
        raise DataError(message)
    depth_m: Float32Array = np.where(codes > 0, codes * np.float32(scale), np.float32(np.nan))
    return depth_m


def read_labels(path: Path, *, labels: LabelIds = 'train_ids') -> Uint8Array:
    """Read an image of semantic classes as Cityscapes train ids.

    Args:
        path: An 8-bit PNG of one channel, grey or with a palette, a code a pixel.
        labels: What the codes are: train_ids 0..18, or label_ids 0..33, of which those that are
            not trained on become 255. In both 255 is no label.

    Returns:
        [H, W] uint8 train ids 0..18, 255 = none.

    Raises:
        DataError: It is missing, truncated, corrupt, of another kind, or has other codes.
    """
    image = _decode(_read_bytes(path, 'labels'), str(path))
    if image.mode not in _LABEL_MODES:
        message = (
            f'labels {path} have pixel type {image.mode}; labels are 8-bit PNG files of one '
            'channel that hold a class a pixel: give the ids, not a coloured picture of them.'
        )
        raise DataError(message)
    codes: Uint8Array = np.asarray(image, np.uint8)
    known = _TRAIN_IDS if labels == 'train_ids' else _LABELS
    strange = np.unique(codes[(codes >= known) & (codes != NO_LABEL)])
    if strange.size:
        shown = ', '.join(str(code) for code in strange[:_CODES_SHOWN])
        other = ', or labels label_ids if they are those' if labels == 'train_ids' else ''
        message = (
            f'labels {path} hold the codes {shown}; {labels} are 0..{known - 1}, and {NO_LABEL} '
            f'where there is no label: convert them{other}.'
        )
        raise DataError(message)
    if labels == 'train_ids':
        return codes
    table = np.full(256, NO_LABEL, np.uint8)
    table[list(_OF_LABEL_ID)] = np.arange(_TRAIN_IDS)
    trained: Uint8Array = table[codes]
    return trained


def read_depth_npy(
    path: Path, *, code_unit_m: float | None = None, float_unit_m: float = 1.0
) -> Float32Array:
    """Read an NPY file of [H, W] depths; NaN, 0 and negative values mean 'no value'.

    Args:
        path: The file.
        code_unit_m: Metres in one code of integers; None refuses them.
        float_unit_m: Metres in 1.0 of floats.

    Returns:
        [H, W] float32 metres, NaN where there is no value.

    Raises:
        DataError: It is missing, truncated, no NPY file, no plane of numbers, or has integers
            whose unit is not known.
    """
    values = open_npy(path)
    if values.dtype.kind != 'f':
        if code_unit_m is None and values.dtype.kind in 'iu':
            message = (
                f'depth {path} has {values.dtype} codes, whose unit is not known; give '
                'depth_unit_m: 0.001 for millimetres, 1.0 for metres.'
            )
            raise DataError(message)
        return depth_plane(values, source=str(path), unit_m=code_unit_m or 1.0)
    return depth_plane(values, source=str(path), unit_m=float_unit_m)


def open_npy(path: Path) -> NDArray[np.generic]:
    """Map an NPY file without reading its values; its declared shape must fit its size.

    Raises:
        DataError: It is missing, truncated, longer than it declares, or no NPY file of numbers.
    """
    try:
        values = np.load(path, mmap_mode='r', allow_pickle=False)
        if not isinstance(values, np.memmap):
            problem = 'it is an archive of several arrays'
        elif values.offset + values.nbytes != path.stat().st_size:
            problem = f'it has more bytes than {values.dtype} {list(values.shape)} takes'
        else:
            return values
    except Exception as error:  # noqa: BLE001  a malformed header ends anywhere in NumPy
        problem = str(error)
    message = (
        f'depth {path} cannot be read: it is missing, truncated, corrupt or no NPY file of '
        f'numbers ({problem}); write it again with numpy.save.'
    )
    raise DataError(message)


def depth_plane(values: NDArray[np.generic], *, source: str, unit_m: float = 1.0) -> Float32Array:
    """Check that `values` is a plane of depths and turn what is not positive into NaN.

    Args:
        values: [H, W] depths; further axes must have length 1.
        source: Where they came from, for the error message.
        unit_m: Metres in 1.

    Raises:
        DataError: It is not [H, W], or not of a real number type.
    """
    plane = np.squeeze(values)
    if plane.ndim != 2 or plane.dtype.kind not in 'fiu':  # noqa: PLR2004  rows and columns
        message = (
            f'depth {source} has shape {values.shape} and type {values.dtype}; it must be [H, W] '
            'numbers.'
        )
        raise DataError(message)
    depth_m: Float32Array = (plane.astype(np.float64) * unit_m).astype(np.float32)
    with np.errstate(invalid='ignore'):
        depth_m[~(depth_m > 0.0)] = np.nan
    return depth_m


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
        depth_m = _resize_depth(depth_m, size, sparse=sparse)
    if semantic is not None:
        semantic = _picked(semantic, size)
    truth = np.full(size, np.nan, np.float32) if depth_m is None else depth_m
    matrix = np.full((3, 3), np.nan) if intrinsics is None else intrinsics.matrix
    with np.errstate(invalid='ignore'):
        valid = np.isfinite(truth) & (truth > 0.0)
    return Sample(
        image=image_tensor(image),
        depth_m=torch.from_numpy(np.array(truth, np.float32)),
        valid=torch.from_numpy(valid),
        intrinsics=torch.from_numpy(matrix).float(),
        key=key,
        semantic=None if semantic is None else torch.from_numpy(semantic.astype(np.int64)),
    )


def image_tensor(image: Uint8Array) -> torch.Tensor:
    """Turn [H, W, 3] uint8 into [3, H, W] float32 in [0, 1]."""
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / np.float32(255.0))


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


def _resize_depth(depth_m: Float32Array, size: tuple[int, int], *, sparse: bool) -> Float32Array:
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


def _read_bytes(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = (
            f'{what} {path} cannot be read: {error.strerror or error}; check the path and that '
            'the data set is complete.'
        )
        raise DataError(message) from error


def _decode(content: bytes, source: str) -> Image.Image:
    """Decode with Pillow, which keeps the codes of palette images, after the checks of images."""
    try:
        header = read_header(content)
        limit_pixels(header.height, header.width, MAX_PIXELS)
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, SyntaxError, ValueError, ImageError) as error:
        message = (
            f'image {source} ({len(content)} bytes) cannot be decoded ({error}); copy or download '
            'it again.'
        )
        raise DataError(message) from error
    return image
