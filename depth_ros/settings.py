# SPDX-License-Identifier: Apache-2.0
"""Every parameter of `mono_depth` once: a typed field with its default, range, unit and meaning.

What the node declares and checks, config/mono_depth.yaml, docs/parameters.md and the text of the
launch arguments are all made from these fields (`depth_ros.parameters`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError
from depth_core.images import MAX_PIXELS
from depth_core.manifest import Manifest
from depth_core.preview import ColourScale, scale_of_range
from depth_core.runtime import Precision
from depth_core.runtime.backends import AUTO, BACKENDS, describe_backends
from depth_core.shipped import default_model, find_model
from depth_ros.options.cameras import CameraOptions
from depth_ros.options.compressed import CompressedOptions
from depth_ros.options.engine import EngineParameters
from depth_ros.options.fields import (
    ParameterField,
    When,
    parameter,
    parameters_of,
    split_names,
    with_values,
)
from depth_ros.options.health import HealthOptions
from depth_ros.options.output import CloudOptions, DepthOptions, RateOptions
from depth_ros.options.scale import ScaleOptions, ScaleSource

Reliability: TypeAlias = Literal['best_effort', 'reliable']

ENGINE_BACKENDS: Final = tuple(name for name, entry in BACKENDS.items() if entry.builds_engine)
"""Those that build an engine before they run."""

OUTPUT_SIZES: Final = ('camera', 'network')
LEAST_COLUMNS: Final = 16
MOST_COLUMNS: Final = 16384

_FOR_INVERSE: Final = ('none', 'sparse_depth', 'lidar')
"""Sources of scale for inverse depth; none is refused, or published as relative, elsewhere."""

USUAL_RANGE_M: Final = (0.5, 100.0)
"""Depths that a preview shows of a model that states no range."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of the node, by attribute."""

    model: str = parameter(
        'ONNX file or checkpoint to run (a path), or the name of a shipped model; without one, '
        'the default shipped model runs.',
        default='',
    )
    manifest: str = parameter(
        'What the graph takes and gives, in place of its own manifest: a .json file (a path), or '
        'the name of a public graph that python -m depth_core.presets lists.',
        default='',
    )
    assumed_hfov_deg: float = parameter(
        'Horizontal field of view that is assumed while no camera_info has come, for models that '
        'need the focal length; 0 assumes none, and their frames wait for camera_info.',
        default=0.0,
        minimum=0.0,
        maximum=179.0,
        unit='degrees',
    )
    image_height: int = parameter(
        'Rows of the images that will come, where the size of the input follows from the camera: '
        'the model is opened at that size at once. 0 waits for the first image, and then opens it '
        'again, which takes minutes where an engine is built.',
        default=0,
        minimum=0,
        maximum=16384,
        unit='pixels',
    )
    image_width: int = parameter(
        'Columns of these images; give both or none.',
        default=0,
        minimum=0,
        maximum=16384,
        unit='pixels',
    )
    scale_source: ScaleSource = parameter(
        'Where metres come from, or what corrects them. none: the model gives them itself, and a '
        'relative one is refused, or published as relative only. fixed: scale.factor. '
        'ground_plane: the ground in the lower image, at scale.camera_height_m. sparse_depth: '
        'each answer is fitted to the depth image on the topic sparse_depth (32FC1 or 16UC1, '
        'pixel by pixel that of the camera, NaN or 0 where nothing was measured). lidar: the same '
        'with the points on the topic lidar_points (PointCloud2), seen from the camera by '
        '/tf or scale.lidar_to_camera. speed: how far the camera moved by the topic odometry, '
        'and how far by the images. Inverse depth takes sparse_depth and lidar only.',
        default='none',
    )
    scale: ScaleOptions = ScaleOptions()
    publish_relative: bool = parameter(
        'Publish what a relative model answers, without unit, on relative/image_raw and its '
        'calibration on relative/camera_info. Outputs in metres still need a scale_source, and '
        'are counted as no_scale without one.',
        default=False,
    )
    backend: str = parameter(
        f'Backends to try in order, separated by commas: {describe_backends()}. {AUTO} takes a '
        'GPU where one can be used, else the runtime of the processor that answers fastest here.',
        default=AUTO,
        names=tuple(BACKENDS),
    )
    strict_backend: bool = parameter(
        'Fail instead of falling back to the next backend.', default=False
    )
    precision: Precision = parameter(
        'Arithmetic of the backend; fp16 and int8 engines take the graph of that precision beside '
        'the model.',
        default='fp32',
    )
    device: str = parameter(
        'Device of the backend, as its runtime calls it (GPU.0, NPU, cuda:1); without one, the '
        'first.',
        default='',
    )
    threads: int = parameter(
        'CPU threads of the backend; 0 leaves it to the backend.',
        default=0,
        minimum=0,
        maximum=256,
    )
    engine: EngineParameters = EngineParameters()
    build_only: bool = parameter(
        'Build the engine, or check the one in the cache, and end: status 0 when it may be used, '
        '2 when not. Nothing is subscribed to, and no output published.',
        default=False,
        when=When.READ_ONLY,
    )
    cameras: CameraOptions = CameraOptions()
    image_transport: Literal['raw', 'compressed'] = parameter(
        'Subscribe to image (raw) or to image/compressed (JPEG or PNG).', default='raw'
    )
    input_reliability: Reliability = parameter(
        'Reliability that the subscriptions request; best_effort works with every camera.',
        default='best_effort',
    )
    output_reliability: Reliability = parameter(
        'Reliability that the outputs offer; reliable works with every subscriber.',
        default='reliable',
    )
    policy: Literal['newest', 'every'] = parameter(
        'What happens to images that come faster than they are answered. newest: the newest '
        'waits, older ones are dropped. every: each is answered in turn, for recordings; '
        'queue_depth of each camera wait in the node, then it takes no more, its subscriptions '
        'are reliable and keep the rest.',
        default='newest',
    )
    queue_depth: int = parameter(
        'History depth of the subscriptions. The node takes images at once and keeps the newest, '
        'so a larger one adds no latency. With policy every, images that wait.',
        default=5,
        minimum=1,
        maximum=100,
        unit='images',
    )
    camera_info_pairing: Literal['latest', 'exact'] = parameter(
        'Which camera_info an image gets: the one with its stamp, else the latest (latest) or '
        'none (exact).',
        default='latest',
    )
    max_image_megapixels: float = parameter(
        'Larger images are dropped, by their header, before they are decoded; 0 takes the larger '
        'of 16 megapixels and four times those of camera_info.',
        default=0.0,
        minimum=0.0,
        maximum=MAX_PIXELS * 1e-6,
        unit='megapixels',
        when=When.LIVE,
    )
    mono16_bits: int = parameter(
        'Bits that images in mono16 use: 12 of a camera of 12 bits, whose pictures are nearly '
        'black else.',
        default=16,
        minimum=8,
        maximum=16,
        unit='bits',
        when=When.LIVE,
    )
    image_geometry: Literal['auto', 'rectified', 'raw'] = parameter(
        'Whether P holds for the images (rectified) or K and D do (raw). auto: rectified when '
        'rect or rectified is a whole word of the image topic, or D is zero.',
        default='auto',
    )
    rectify: Literal['auto', 'on', 'off'] = parameter(
        'Whether raw images of a lens with distortion are undistorted before the network sees '
        'them; every output is then that of the rectified view, P. auto: where a camera_info says '
        'how. on: images without such a camera_info are dropped. off: outputs keep the raw view.',
        default='auto',
    )
    output_size: str = parameter(
        'Size of the outputs: camera (that of the images), network (what the network sees of '
        'them), or a number of columns, 16 to 16384; rows follow, and no output is larger than '
        'its image.',
        default='camera',
        counted=True,
    )
    depth_encoding: Literal['32FC1', '16UC1'] = parameter(
        'Depth in metres (32FC1, NaN unknown, +inf beyond) or in millimetres (16UC1, 0 unknown).',
        default='32FC1',
    )
    preview_near_m: float = parameter(
        'Depth drawn in the first colour of depth/color, red; 0 takes the smallest depth of the '
        'model.',
        default=0.0,
        minimum=0.0,
        maximum=1000.0,
        unit='m',
        when=When.LIVE,
    )
    preview_far_m: float = parameter(
        'Depth drawn in the last colour of depth/color, blue; 0 takes the largest depth of the '
        'model.',
        default=0.0,
        minimum=0.0,
        maximum=10000.0,
        unit='m',
        when=When.LIVE,
    )
    depth: DepthOptions = DepthOptions()
    cloud: CloudOptions = CloudOptions()
    compressed: CompressedOptions = CompressedOptions()
    health: HealthOptions = HealthOptions()
    rate: RateOptions = RateOptions()
    autostart: bool = parameter(
        'Configure and activate at start; false leaves both to a lifecycle manager.',
        default=True,
        when=When.READ_ONLY,
    )
    diagnostics_period_s: float = parameter(
        'Time between two messages on /diagnostics.',
        default=1.0,
        minimum=0.1,
        maximum=60.0,
        unit='s',
        when=When.READ_ONLY,
    )

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends to try, in order; for `build_only` those that build an engine."""
        names = split_names(self.backend) or (AUTO,)
        if not self.build_only:
            return names
        return (
            ENGINE_BACKENDS
            if names == (AUTO,)
            else tuple(name for name in names if name in ENGINE_BACKENDS)
        )

    @property
    def names_backends(self) -> bool:
        """Whether the user chose the backends, rather than leaving it to `auto`."""
        return split_names(self.backend) not in {(), (AUTO,)}

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) of the images that will come; None where it is not known."""
        return (self.image_height, self.image_width) if self.image_height else None

    def on_backend(self, name: str) -> Settings:
        """The same on the backend of that name alone."""
        return replace(self, backend=name, strict_backend=True)

    @property
    def output_columns(self) -> int | None:
        """Columns of the outputs, where `output_size` is a number of them."""
        if not (self.output_size.isascii() and self.output_size.isdecimal()):
            return None
        columns = int(self.output_size)
        return columns if LEAST_COLUMNS <= columns <= MOST_COLUMNS else None

    def model_file(self) -> Path:
        """Return the file of the model.

        Raises:
            ModelError: There is no such file and no such shipped model.
        """
        return find_model(self.model) if self.model else default_model()

    def preview_scale(self, depth_range: tuple[float, float]) -> ColourScale:
        """Return the colours of the preview for depths in `depth_range`, metres."""
        near, far = self.preview_near_m or None, self.preview_far_m or None
        known = depth_range if math.isfinite(depth_range[1]) else USUAL_RANGE_M
        return scale_of_range(known, near=near, far=far)

    def check(self, model: Manifest | None = None) -> None:
        """Compare the parameters with each other, and with the model once it is open.

        Raises:
            ConfigError: Some contradict each other. All contradictions are in the one message.
        """
        if problems := list(self._contradictions(model)):
            raise ConfigError('\n  '.join(problems))

    def _contradictions(self, model: Manifest | None) -> Iterator[str]:
        if not self.backends:
            yield (
                f'parameter build_only is true and backend = {self.backend!r} builds no engine; '
                f'name {" or ".join(ENGINE_BACKENDS)}, or auto.'
            )
        if bool(self.image_height) != bool(self.image_width):
            yield (
                f'parameters image_height = {self.image_height} and image_width = '
                f'{self.image_width} are no size; give both, or 0 for both.'
            )
        near_m, far_m = self.preview_near_m, self.preview_far_m
        if 0.0 < far_m <= near_m:
            yield (
                f'parameter preview_far_m = {far_m:g} is not above preview_near_m = {near_m:g}; '
                'give a larger one, or 0 for the largest depth of the model.'
            )
        yield from self.compressed.contradictions()
        yield from self.cameras.contradictions()
        if self.output_size not in OUTPUT_SIZES and self.output_columns is None:
            yield (
                f'parameter output_size = {self.output_size!r} is no size; give '
                f'{" or ".join(OUTPUT_SIZES)}, or a number of columns from {LEAST_COLUMNS} to '
                f'{MOST_COLUMNS}.'
            )
        if 0.0 < self.depth.max_m <= self.depth.min_m:
            yield (
                f'parameter depth.max_m = {self.depth.max_m:g} is not above depth.min_m = '
                f'{self.depth.min_m:g}, so every depth would be removed; give a larger one, or 0.'
            )
        yield from self.scale.contradictions(self.scale_source)
        if model is not None:
            yield from self._contradictions_of_model(model)

    def _contradictions_of_model(self, model: Manifest) -> Iterator[str]:
        if model.output.kind is DepthKind.INVERSE and self.scale_source not in _FOR_INVERSE:
            yield (
                f'parameter scale_source is {self.scale_source} and the model gives inverse depth '
                'of unknown scale and shift, which one factor does not settle; set it to '
                'sparse_depth or lidar.'
            )
        if self.publish_relative and model.output.kind.is_metric:
            yield (
                f'parameter publish_relative is true and the model gives {model.output.kind} '
                'depth, which follows in metres; set it to false.'
            )
        confidences = {
            'min_confidence': self.cloud.min_confidence,
            'depth.min_confidence': self.depth.min_confidence,
        }
        for name, least in confidences.items():
            if not model.gives_sigma and least > 0.0:
                yield (
                    f'parameter {name} = {least:g} and the model gives no sigma, so every point '
                    'would be removed; set it to 0.'
                )


PARAMETERS: Final[tuple[ParameterField, ...]] = tuple(parameters_of(Settings))
BY_NAME: Final[Mapping[str, ParameterField]] = {entry.name: entry for entry in PARAMETERS}


def settings_from(
    given: Mapping[str, object],
    *,
    base: Settings = Settings(),
    model: Manifest | None = None,
) -> Settings:
    """Check what the user gives and complete it.

    Args:
        given: Values by parameter name. Names that rclpy itself declares are passed over.
        base: What holds for the rest.
        model: The manifest of the open model; None while there is none.

    Raises:
        ConfigError: Names are unknown, or values are of the wrong type, out of range or
            contradict each other. All problems are in the one message.
    """
    settings, problems = with_values(base, given)
    try:
        settings.check(model)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError('\n  '.join(problems))
    return settings
