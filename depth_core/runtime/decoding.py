# SPDX-License-Identifier: Apache-2.0
"""From the outputs of a graph to depth and what it is to be multiplied with, at the graph's size.

In this order: what the numbers code, the shift that the camera settles, the focal length of the
image the network saw over the canonical one, the scale the graph states, the unit. Nothing is
computed that the manifest does not ask for. The factors are one product, for whoever takes the
depth into other memory anyway.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import BoolArray, DepthKind, Float32Array, Intrinsics
from depth_core.errors import ModelError
from depth_core.geometry import focal_length_px, pixel_rays, resize_intrinsics
from depth_core.manifest import Manifest, Mask
from depth_core.runtime.graph import as_planes, planes_of


class Answer(NamedTuple):
    """What a graph gave for a batch of N images."""

    depth: Float32Array
    """[N, h, w], not decoded."""
    sigma: Float32Array | None
    others: Mapping[str, NDArray[Any]]
    """Every output by name, where there are more than these two."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The answer for one image, [h, w] as the graph gives it."""

    depth: Float32Array
    """In the unit of the graph. May be memory of the backend."""
    sigma: Float32Array | None
    """In the same unit, where the graph states one."""
    factor: float
    """What both are to be multiplied with; metres follow, unless the depth is relative."""
    depth_range: tuple[float, float]
    """Nearest and farthest depth that the graph can state, after that."""
    beyond: BoolArray | None = None
    """Where a mask says that everything is out of reach; None for nowhere."""
    unknown: BoolArray | None = None
    """Where a mask takes the depth away; None for nowhere."""


class Decoder:
    """Decodes the outputs of one graph, by its manifest alone."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._spec = spec = manifest.output
        metric = spec.kind.is_metric
        self._unit = spec.unit_m * spec.scale_correction if metric else 1.0
        self._shift = _Shift(manifest) if spec.shift != 'none' else None
        self._thresholds = [_raw_threshold(item) for item in manifest.masks]

    @property
    def uses_camera(self) -> bool:
        """Whether the answer depends on the camera."""
        return self._manifest.uses_intrinsics

    def answer(self, outputs: Mapping[str, NDArray[Any]], images: int) -> Answer:
        """Find depth and sigma among the outputs of a graph for N images.

        Raises:
            ModelError: They are no planes, or another number of them.
        """
        depth, sigma = planes_of(self._manifest, outputs, images)
        stated = self._manifest.confidence
        if stated is not None and stated.meaning == 'sigma_log':
            sigma = np.exp(as_planes(outputs[stated.output], stated.output, images))
        return Answer(depth, sigma, outputs)

    def __call__(self, answer: Answer, place: int, camera: Intrinsics | None) -> Decoded:
        """Decode the answer for one image of a batch.

        Args:
            answer: For the batch.
            place: Which image.
            camera: Of the image the network saw; None where it is not known.

        Raises:
            ModelError: An output has another size or number of values than the depth, or states
                no positive number.
        """
        depth, sigma = self._decoded(
            answer.depth[place], None if answer.sigma is None else answer.sigma[place]
        )
        beyond, unknown = self._masked(answer, place)
        if self._shift is not None and camera is not None:
            hidden = [mask for mask in (beyond, unknown) if mask is not None]
            depth = self._shift(answer, place, camera, hidden)
        factor = (
            self._focal_factor(answer, place, camera)
            * self._own(answer, self._spec.scale_output, place, otherwise=1.0)
            * self._unit
        )
        return Decoded(
            depth=depth,
            sigma=sigma,
            factor=factor,
            depth_range=self._range(factor),
            beyond=beyond,
            unknown=unknown,
        )

    def _decoded(
        self, depth: Float32Array, sigma: Float32Array | None
    ) -> tuple[Float32Array, Float32Array | None]:
        """Take the coding away; sigma follows by the slope of it."""
        spec = self._spec
        if spec.coding == 'depth':
            return depth, sigma
        slope = 1.0
        inverse = depth
        if spec.sig is not None:
            far, near = 1.0 / spec.sig.max, 1.0 / spec.sig.min
            slope = near - far
            inverse = depth * np.float32(slope) + np.float32(far)
        decoded = np.reciprocal(np.maximum(inverse, np.float32(spec.eps_inverse)))
        if sigma is not None:
            sigma = sigma * np.float32(slope) * decoded**2
        return decoded, sigma

    def _focal_factor(self, answer: Answer, place: int, camera: Intrinsics | None) -> float:
        """What the focal length of the image the network saw multiplies the depth with."""
        spec = self._spec
        seen_px = None if camera is None else focal_length_px(camera, spec.focal)
        if spec.kind is DepthKind.CANONICAL:
            assert spec.canonical_focal_px is not None  # noqa: S101  held by OutputSpec
            if seen_px is None:
                seen_px = self._own_focal_px(answer, place)
            return seen_px / spec.canonical_focal_px
        if seen_px is None or (spec.own_focal_output is None and spec.fov_output is None):
            return 1.0
        return seen_px / self._own_focal_px(answer, place)

    def _own_focal_px(self, answer: Answer, place: int) -> float:
        """The focal length that the graph states of the image it saw."""
        spec = self._spec
        if spec.fov_output is None:
            return self._own(answer, spec.own_focal_output, place, otherwise=math.nan)
        fov_deg = self._own(answer, spec.fov_output, place, otherwise=math.nan)
        if fov_deg >= _HALF_TURN_DEG:
            message = (
                f'output {spec.fov_output!r} states {fov_deg:g} degrees; a field of view is below '
                '180: correct depth.fov_output of the manifest.'
            )
            raise ModelError(message)
        return 0.5 * self._manifest.input.width / math.tan(math.radians(fov_deg) / 2.0)

    def _own(self, answer: Answer, name: str | None, place: int, *, otherwise: float) -> float:
        """The number that an output states for an image."""
        if name is None:
            return otherwise
        found, images = answer.others[name], len(answer.depth)
        values = np.asarray(found, np.float64).reshape(-1)
        if values.size not in {1, images}:
            message = (
                f'output {name!r} has shape {list(found.shape)}, and one number for each of '
                f'{images} images is wanted; correct the manifest.'
            )
            raise ModelError(message)
        value = float(values[place % values.size])
        if not (value > 0.0 and math.isfinite(value)):
            message = (
                f'output {name!r} states {value:g} for an image; only a positive number says how '
                'large the depth is: correct the manifest, or use another precision.'
            )
            raise ModelError(message)
        return value

    def _range(self, factor: float) -> tuple[float, float]:
        spec = self._spec
        if spec.kind is DepthKind.INVERSE:
            return 0.0, math.inf
        if spec.saturates:
            return spec.min_depth * factor, spec.max_depth * factor
        return spec.min_depth, spec.max_depth

    def _masked(self, answer: Answer, place: int) -> tuple[BoolArray | None, BoolArray | None]:
        """(beyond the range, without an estimate): where masks say so, None for nowhere."""
        beyond: BoolArray | None = None
        unknown: BoolArray | None = None
        shape = answer.depth.shape
        for item, threshold in zip(self._manifest.masks, self._thresholds, strict=True):
            planes = as_planes(answer.others[item.output], item.output, shape[0], item.channel)
            if planes.shape != shape:
                message = (
                    f'mask {item.output!r} has shape {list(planes.shape)} and the depth '
                    f'{list(shape)}; a mask has a value for each pixel of the depth.'
                )
                raise ModelError(message)
            high = planes[place] >= threshold
            taken = high if item.polarity == 'high_is_sky' else ~high
            if not taken.any():
                continue
            if item.fill == 'max':
                beyond = taken if beyond is None else beyond | taken
            else:
                unknown = taken if unknown is None else unknown | taken
        return beyond, unknown


def _raw_threshold(item: Mask) -> np.float32:
    """The threshold in the output itself, so that no sigmoid is computed."""
    if item.activation == 'none':
        return np.float32(item.threshold)
    return np.float32(math.log(item.threshold / (1.0 - item.threshold)))


class _Shift:
    """Finds what is to be added to the z of points, so that they project to their pixels.

    A point (x, y, z + t) is at u = x / (z + t), v = y / (z + t), and its pixel states u and v by
    the camera: t = (x u + y v) / (u^2 + v^2) - z, of which the median over all pixels counts.
    """

    def __init__(self, manifest: Manifest) -> None:
        channel = manifest.output.channel
        assert channel is not None  # noqa: S101  held by OutputSpec
        self._name = manifest.output.depth
        self._coordinates = [replace(channel, index=index) for index in range(_COORDINATES)]
        self._camera: Intrinsics | None = None
        self._weights: tuple[Float32Array, Float32Array, BoolArray]

    def __call__(
        self,
        answer: Answer,
        place: int,
        camera: Intrinsics,
        hidden: list[BoolArray],
    ) -> Float32Array:
        """Return z + t, [h, w]; NaN everywhere when no pixel tells t."""
        points, images = answer.others[self._name], len(answer.depth)
        x, y, z = (
            as_planes(points, self._name, images, coordinate)[place]
            for coordinate in self._coordinates
        )
        along_x, along_y, off_axis = self._along(resize_intrinsics(
            camera, height=z.shape[0], width=z.shape[1]
        ))  # fmt: skip
        shifts = x * along_x + y * along_y - z
        counted = off_axis & np.isfinite(shifts)
        for mask in hidden:
            counted &= ~mask
        if not counted.any():
            return np.full_like(z, np.nan)
        shifted: Float32Array = z + np.float32(np.median(shifts[counted]))
        return shifted

    def _along(self, camera: Intrinsics) -> tuple[Float32Array, Float32Array, BoolArray]:
        """Return u / (u^2 + v^2), v / (u^2 + v^2) and where they are numbers, [h, w] each."""
        if camera != self._camera:
            u, v = np.moveaxis(pixel_rays(camera).astype(np.float64), -1, 0)
            square = u**2 + v**2
            off_axis = square > _ON_AXIS
            weight = np.divide(1.0, square, out=np.zeros_like(square), where=off_axis)
            self._weights = (
                (u * weight).astype(np.float32),
                (v * weight).astype(np.float32),
                off_axis,
            )
            self._camera = camera
        return self._weights


_HALF_TURN_DEG: Final = 180.0
_COORDINATES: Final = 3
_ON_AXIS: Final = 1e-12
"""A ray nearer to the optical axis does not tell the shift."""
