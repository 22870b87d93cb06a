# SPDX-License-Identifier: Apache-2.0
"""Depth and label files to arrays; it loads no torch, so that recordings are made without it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import DataError
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
