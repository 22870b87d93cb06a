# SPDX-License-Identifier: Apache-2.0
"""What `mono_depth` publishes: one row of `OUTPUTS` for each topic, and the publishers of them.

A row says what its message is made from and by which function. Nothing is computed for a topic
without a subscriber: the network runs, and camera_info is fitted, where a row in demand needs it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Float64

from depth_core.preview import colour_depth
from depth_ros.frames.result import FrameResult, Part
from depth_ros.messages.compressed import (
    CodedRange,
    compressed_colours,
    compressed_depth,
    compressed_millimetres,
)
from depth_ros.messages.conversions import image_message, millimetres
from depth_ros.messages.point_cloud import point_cloud
from depth_ros.middleware.process import StartableNode
from depth_ros.middleware.qos import output_events, output_qos
from depth_ros.middleware.qos_overrides import Profiles, usual_profile
from depth_ros.middleware.topics import CameraTopics

DEPTH: Final = 'depth/image_raw'
CAMERA_INFO: Final = 'depth/camera_info'
SIGMA: Final = 'sigma/image_raw'
CONFIDENCE: Final = 'confidence/image_raw'
PREVIEW: Final = 'depth/color'
POINTS: Final = 'points'
SCALE: Final = 'scale'
RELATIVE: Final = 'relative/image_raw'
RELATIVE_CAMERA_INFO: Final = 'relative/camera_info'

COMPRESSED_DEPTH: Final = 'compressedDepth'
"""Ending of the topics that a subscriber with the transport of this name reads."""
COMPRESSED: Final = 'compressed'

SIGMA_FINEST_M: Final = 0.01
"""Smallest sigma that a compressed one states, metres; smaller ones are stated as this."""
CODED_CONFIDENCE: Final = CodedRange(0.01, 1.0, saturates=True)
"""Confidence that a compressed one states, to 0.0008; no confidence at all is no value."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """One topic."""

    topic: str
    """Its relative name."""
    kind: Any
    """Class of its messages."""
    encoding: str = ''
    """Of an image."""
    sentence: str
    """What the messages hold."""
    needs: Part
    rate: str = 'depth_hz'
    """The limit that it obeys, an attribute of `RateOptions`."""
    make: Callable[[FrameResult], Any]
    """Makes the message; it may raise `FrameError` to withhold this one."""
    of: str = ''
    """The topic of the same image uncompressed, where this one is compressed."""

    def name_for(self, topics: CameraTopics) -> str:
        """Name that the publisher takes; remapping an image remaps its transports too."""
        if not self.of:
            return topics.name(self.topic)
        return topics.resolved(self.of, self.topic.removeprefix(f'{self.of}/'))

    @property
    def type_text(self) -> str:
        """The type of the messages, for people."""
        return ', '.join(filter(None, (str(self.kind.__name__), self.encoding)))


def _depth(result: FrameResult) -> Image:
    encoding = result.settings.depth_encoding
    array = millimetres(result.shown_m) if encoding == '16UC1' else result.shown_m
    return image_message(array, encoding, result.header)


def _camera_info(result: FrameResult) -> CameraInfo:
    return result.fitted_info


def _sigma(result: FrameResult) -> Image:
    return image_message(result.depth_map.sigma_m, '32FC1', result.header)


def _confidence(result: FrameResult) -> Image:
    return image_message(result.depth_map.confidence, '32FC1', result.header)


def _relative(result: FrameResult) -> Image:
    return image_message(result.relative_map.depth_m, '32FC1', result.header)


def _preview(result: FrameResult) -> Image:
    scale = result.settings.preview_scale(result.depth_map.depth_range)
    colours = colour_depth(result.shown_m, scale)
    return image_message(colours, 'rgb8', result.header)


def _points(result: FrameResult) -> PointCloud2:
    depth, options = result.depth_map, result.settings.cloud
    return point_cloud(
        depth.depth_m,
        result.rays(result.fitted_info),
        header=result.header,
        options=options,
        rgb=result.colours if options.color else None,
        confidence=depth.confidence if options.needs_confidence else None,
        keep=np.isfinite(result.shown_m) if result.settings.depth.filters else None,
        memory=result.cloud_memory,
    )


def _compressed_depth(result: FrameResult) -> CompressedImage:
    depth_m, options = result.shown_m, result.settings.compressed
    if result.settings.depth_encoding == '16UC1':
        return compressed_millimetres(
            millimetres(depth_m), header=result.header, png_level=options.png_level
        )
    coded = CodedRange(options.depth_min_m, options.depth_max_m)
    return compressed_depth(depth_m, coded, header=result.header, png_level=options.png_level)


def _compressed_sigma(result: FrameResult) -> CompressedImage:
    options = result.settings.compressed
    coded = CodedRange(SIGMA_FINEST_M, options.depth_max_m, saturates=True)
    return compressed_depth(
        result.depth_map.sigma_m, coded, header=result.header, png_level=options.png_level
    )


def _compressed_confidence(result: FrameResult) -> CompressedImage:
    return compressed_depth(
        result.depth_map.confidence,
        CODED_CONFIDENCE,
        header=result.header,
        png_level=result.settings.compressed.png_level,
    )


def _compressed_preview(result: FrameResult) -> CompressedImage:
    settings = result.settings
    scale = settings.preview_scale(result.depth_map.depth_range)
    colours = colour_depth(result.shown_m, scale)
    quality = settings.compressed.jpeg_quality
    return compressed_colours(colours, header=result.header, jpeg_quality=quality)


OUTPUTS: Final = (
    Output(  # the first, so that it is there when the images arrive
        topic=CAMERA_INFO,
        kind=CameraInfo,
        sentence='that of the input, for the published image',
        needs=Part.CAMERA_INFO,
        make=_camera_info,
    ),
    Output(
        topic=DEPTH,
        kind=Image,
        encoding='32FC1 or 16UC1',
        sentence='z-depth, metres (NaN unknown, +inf beyond) or millimetres (0 unknown)',
        needs=Part.DEPTH,
        make=_depth,
    ),
    Output(
        topic=SIGMA,
        kind=Image,
        encoding='32FC1',
        sentence='standard deviation, metres',
        needs=Part.DEPTH,
        rate='sigma_hz',
        make=_sigma,
    ),
    Output(
        topic=CONFIDENCE,
        kind=Image,
        encoding='32FC1',
        sentence='probability that the depth is within a factor of 1.25',
        needs=Part.DEPTH,
        rate='confidence_hz',
        make=_confidence,
    ),
    Output(
        topic=PREVIEW,
        kind=Image,
        encoding='rgb8',
        sentence='a preview for people',
        needs=Part.DEPTH,
        rate='color_hz',
        make=_preview,
    ),
    Output(
        topic=f'{DEPTH}/{COMPRESSED_DEPTH}',
        of=DEPTH,
        kind=CompressedImage,
        encoding='16-bit PNG',
        sentence='the same depth for slow links, see docs/parameters.md; unknown beyond its range',
        needs=Part.DEPTH,
        make=_compressed_depth,
    ),
    Output(
        topic=f'{SIGMA}/{COMPRESSED_DEPTH}',
        of=SIGMA,
        kind=CompressedImage,
        encoding='16-bit PNG',
        sentence='the same, at least 0.01 m',
        needs=Part.DEPTH,
        rate='sigma_hz',
        make=_compressed_sigma,
    ),
    Output(
        topic=f'{CONFIDENCE}/{COMPRESSED_DEPTH}',
        of=CONFIDENCE,
        kind=CompressedImage,
        encoding='16-bit PNG',
        sentence='the same, at least 0.01 or unknown',
        needs=Part.DEPTH,
        rate='confidence_hz',
        make=_compressed_confidence,
    ),
    Output(
        topic=f'{PREVIEW}/{COMPRESSED}',
        of=PREVIEW,
        kind=CompressedImage,
        encoding='JPEG',
        sentence='the same preview',
        needs=Part.DEPTH,
        rate='color_hz',
        make=_compressed_preview,
    ),
    Output(
        topic=POINTS,
        kind=PointCloud2,
        sentence='organised or dense, xyz with rgb and confidence on request',
        needs=Part.DEPTH | Part.CAMERA_INFO,
        rate='points_hz',
        make=_points,
    ),
)


RELATIVE_OUTPUTS: Final = (
    Output(  # the first, as above
        topic=RELATIVE_CAMERA_INFO,
        kind=CameraInfo,
        sentence='with `publish_relative` only: that of the input, for this image',
        needs=Part.CAMERA_INFO,
        make=_camera_info,
    ),
    Output(
        topic=RELATIVE,
        kind=Image,
        encoding='32FC1',
        sentence=(
            'with `publish_relative` only: what a relative network answers, without unit; '
            'inverse: larger is nearer, up_to_scale: larger is farther (NaN unknown)'
        ),
        needs=Part.RELATIVE,
        make=_relative,
    ),
)
"""Those that there are with the parameter `publish_relative`."""


def parts_needed(outputs: Sequence[Output]) -> Part:
    """Return what must be computed for `outputs`."""
    return functools.reduce(operator.or_, (output.needs for output in outputs), Part(0))


class Outputs:
    """The lifecycle publishers of one camera of a configured node."""

    def __init__(
        self,
        node: LifecycleNode | StartableNode,
        *,
        reliability: str,
        camera: str = '',
        scale: bool = False,
        relative: bool = False,
        profile: Profiles = usual_profile,
    ) -> None:
        """Create the topics.

        Args:
            node: Theirs.
            reliability: What they offer.
            camera: Namespace of the camera; empty for a node of one camera.
            scale: Whether there is one for the scale too.
            relative: Whether there are those of relative depth too.
            profile: Gives the profile of a resolved topic, from the usual one.
        """
        self._node = node
        self._rows = (*OUTPUTS, *RELATIVE_OUTPUTS) if relative else OUTPUTS
        self._profile = profile
        self._qos = output_qos(reliability)
        topics = CameraTopics(node, camera)
        self._scale: Any = None
        if scale:
            self._scale = self._publisher(Float64, topics.name(SCALE))
        self._publishers: dict[str, Any] = {
            output.topic: self._publisher(output.kind, output.name_for(topics))
            for output in self._rows
        }

    def _publisher(self, kind: Any, name: str) -> Any:  # noqa: ANN401 a class of messages, and its publisher
        return self._node.create_lifecycle_publisher(
            kind,
            name,
            self._profile(self._node.resolve_topic_name(name), 'publisher', self._qos),
            event_callbacks=output_events(name, self._node.get_logger().warning),
        )

    def destroy(self) -> None:
        """Remove the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()
        if self._scale is not None:
            self._node.destroy_lifecycle_publisher(self._scale)
        self._scale = None

    @property
    def scale_is_wanted(self) -> bool:
        """Whether the scale has a subscriber right now."""
        return self._scale is not None and self._scale.get_subscription_count() > 0

    def publish_scale(self, scale: float) -> None:
        """Publish the scale of a frame, NaN where it has none."""
        if self.scale_is_wanted:
            self._scale.publish(Float64(data=scale))

    def wanted(self) -> tuple[Output, ...]:
        """Return the outputs that have a subscriber right now."""
        return tuple(
            output
            for output in self._rows
            if output.topic in self._publishers
            and self._publishers[output.topic].get_subscription_count()
        )

    def publish(self, output: Output, result: FrameResult) -> None:
        """Make the message of one output and publish it.

        Raises:
            FrameError: It cannot be made from this frame.
        """
        self._publishers[output.topic].publish(output.make(result))
