# SPDX-License-Identifier: Apache-2.0
"""What a graph takes beside the image: matrices, rays and focal lengths of the camera, constants.

The manifest says what each input is, the graph how many axes it has and of which type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Intrinsics
from depth_core.errors import ModelError
from depth_core.geometry import focal_length_px, intrinsics_from_hfov, pixel_rays
from depth_core.manifest import ExtraInput, Manifest
from depth_core.runtime.graph import TensorInfo

USUAL_HFOV_DEG: Final = 60.0
"""Field of view of the camera that runs are proven with, where no camera is at hand."""


class FrameCamera(NamedTuple):
    """The camera of one image."""

    image: Intrinsics
    """As the camera gives it."""
    network: Intrinsics
    """As the graph sees it."""


def usual_camera(manifest: Manifest) -> FrameCamera:
    """A camera to try the graph with, where answers are compared and not used."""
    spec = manifest.input
    camera = intrinsics_from_hfov(USUAL_HFOV_DEG, height=spec.height, width=spec.width)
    return FrameCamera(camera, camera)


class ExtraInputs:
    """Fills the inputs of one graph; what was filled last is kept, cameras do not change."""

    def __init__(self, manifest: Manifest, inputs: Sequence[TensorInfo]) -> None:
        """Match the manifest with the graph.

        Args:
            manifest: What the inputs are.
            inputs: All inputs of the graph; that the names agree has been checked.

        Raises:
            ModelError: An input has axes or a type that its kind, or its value, cannot have.
        """
        self._manifest = manifest
        by_name = {info.name: info for info in inputs}
        self._infos = [by_name[item.name] for item in manifest.extra_inputs]
        self._filled_for: tuple[tuple[FrameCamera, ...], int] | None = None
        self._filled: dict[str, NDArray[Any]] = {}
        for item, info in zip(manifest.extra_inputs, self._infos, strict=True):
            _check_axes(item, info)
            _check_rays(item, info, manifest)
            _check_number(item, info)

    def usual(self, images: int) -> Mapping[str, NDArray[Any]]:
        """What fits a camera that is as good as any other, by name."""
        if not self._infos:
            return self._filled
        return self.fill([usual_camera(self._manifest)], images)

    def fill(self, cameras: Sequence[FrameCamera], images: int) -> Mapping[str, NDArray[Any]]:
        """Fill every extra input; the arrays are the same as long as the cameras are.

        Args:
            cameras: Of the images of a batch; the last one stands for those that are not there.
            images: How many the graph is given.

        Returns:
            Arrays by name, of the type and with the axes of the graph; empty without such inputs.

        Raises:
            ModelError: An input without a batch axis is to hold different cameras.
        """
        if not self._infos:
            return self._filled
        asked = (tuple(cameras), images)
        if asked != self._filled_for:
            self._filled = {
                item.name: _array(item, info, cameras, images)
                for item, info in zip(self._manifest.extra_inputs, self._infos, strict=True)
            }
            self._filled_for = asked
        return self._filled


def _array(
    item: ExtraInput, info: TensorInfo, cameras: Sequence[FrameCamera], images: int
) -> NDArray[Any]:
    if item.kind == 'const':
        shape = () if info.shape is None else info.shape
        return np.full(
            [images if size is None else size for size in shape], item.value, info.dtype
        )
    known = [_value(item, camera) for camera in cameras]
    values = np.stack([*known, *[known[-1]] * (images - len(known))])  # [N, ...]
    axes = values.ndim if info.shape is None else len(info.shape)
    if axes < values.ndim:
        if any(not np.array_equal(value, values[0]) for value in values):
            message = (
                f'input {info} has no axis for images, and {images} images of different cameras '
                'are asked for at once; give them one after the other.'
            )
            raise ModelError(message)
        values = values[0]
    values = values.reshape(values.shape + (1,) * (axes - values.ndim))
    return np.array(values, info.dtype, order='C')  # `ascontiguousarray` adds an axis to scalars


def _value(item: ExtraInput, camera: FrameCamera) -> NDArray[np.float64] | np.float64:
    """Of one image, without an axis for images."""
    intrinsics = camera.network if item.at == 'network' else camera.image
    if item.kind == 'focal':
        return np.float64(focal_length_px(intrinsics, item.focal))
    if item.kind == 'rays_unit':
        return _unit_rays(intrinsics, channels_first=item.layout == 'NCHW')
    matrix = intrinsics.matrix
    if item.kind == 'P3x4':
        return np.concatenate((matrix, np.zeros((3, 1))), axis=1)
    return matrix


def _unit_rays(intrinsics: Intrinsics, *, channels_first: bool) -> NDArray[np.float64]:
    """Directions of length 1 through the centres of all pixels, [3, H, W] or [H, W, 3]."""
    flat = pixel_rays(intrinsics).astype(np.float64)
    rays = np.concatenate((flat, np.ones((*flat.shape[:2], 1))), axis=2)
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    return rays.transpose(2, 0, 1) if channels_first else rays


_AXES: Final[Mapping[str, tuple[int, ...]]] = {
    'K3x3': (2, 3),
    'P3x4': (2, 3),
    'rays_unit': (3, 4),
}
"""How many each kind may have; focal lengths and constants may have any number."""
_SIZES: Final[Mapping[str, tuple[int, ...]]] = {'K3x3': (3, 3), 'P3x4': (3, 4)}


def _check_axes(item: ExtraInput, info: TensorInfo) -> None:
    if info.shape is None:
        return
    allowed = _AXES.get(item.kind)
    last = info.shape[-2:]
    sizes = _SIZES.get(item.kind)
    wrong = sizes is not None and any(
        found is not None and found != size for found, size in zip(last, sizes, strict=False)
    )
    if wrong or (allowed is not None and len(info.shape) not in allowed):
        rule = f'{" or ".join(map(str, allowed or ()))} axes'
        if sizes is not None:
            rule += f', the last two {sizes[0]} and {sizes[1]}'
        message = (
            f'input {info} cannot be filled: {item.kind} has {rule}; correct kind in '
            'extra_inputs of the manifest.'
        )
        raise ModelError(message)


def _check_rays(item: ExtraInput, info: TensorInfo, manifest: Manifest) -> None:
    """Rays are as many as pixels of the input, with their planes where `layout` says."""
    if item.kind != 'rays_unit' or info.shape is None:
        return
    sides: tuple[int, ...] = manifest.input.height, manifest.input.width
    wanted = (3, *sides) if item.layout == 'NCHW' else (*sides, 3)
    pairs = zip(info.shape[-3:], wanted, strict=True)
    if any(found is not None and found != size for found, size in pairs):
        message = (
            f'input {info} cannot be filled: rays_unit with layout {item.layout} is '
            f'{list(wanted)} for each image, a ray for each pixel; correct extra_inputs of the '
            'manifest.'
        )
        raise ModelError(message)


def _check_number(item: ExtraInput, info: TensorInfo) -> None:
    """A focal length is one number for each image, and a constant one that the type holds."""
    if item.kind == 'focal' and any(size not in {None, 1} for size in (info.shape or ())[1:]):
        message = (
            f'input {info} cannot be filled: focal is one number for each image; correct kind in '
            'extra_inputs of the manifest.'
        )
        raise ModelError(message)
    if item.value is not None and not _holds(info.dtype, item.value):
        message = (
            f'input {info} cannot be filled with the const {item.value:g}, which its type does '
            'not hold; correct value in extra_inputs of the manifest.'
        )
        raise ModelError(message)


def _holds(dtype: str, value: float) -> bool:
    if not np.issubdtype(dtype, np.integer):
        return not np.issubdtype(dtype, np.floating) or abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return value == int(value) and limits.min <= value <= limits.max
