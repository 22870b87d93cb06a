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
from enum import Flag, auto
from typing import Any, Final

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from depth_core.contracts import DepthMap, Float32Array, Uint8Array
from depth_core.preview import colour_depth
from depth_ros.compressed import (
    CodedRange,
    compressed_colours,
    compressed_depth,
    compressed_millimetres,
)
from depth_ros.conversions import image_message, millimetres
from depth_ros.point_cloud import point_cloud
from depth_ros.process import StartableNode
from depth_ros.qos import output_events, output_qos
from depth_ros.settings import Settings
from depth_ros.topics import transport_topic

DEPTH: Final = 'depth/image_raw'
CAMERA_INFO: Final = 'depth/camera_info'
SIGMA: Final = 'sigma/image_raw'
CONFIDENCE: Final = 'confidence/image_raw'
PREVIEW: Final = 'depth/color'
POINTS: Final = 'points'

COMPRESSED_DEPTH: Final = 'compressedDepth'
"""Ending of the topics that a subscriber with the transport of this name reads."""
COMPRESSED: Final = 'compressed'

SIGMA_FINEST_M: Final = 0.01
"""Smallest sigma that a compressed one states, metres; smaller ones are stated as this."""
CODED_CONFIDENCE: Final = CodedRange(0.01, 1.0, saturates=True)
"""Confidence that a compressed one states, to 0.0008; no confidence at all is no value."""


class Part(Flag):
    """What is computed for a frame only where an output needs it."""

    DEPTH = auto()
    """The answer of the network."""
    CAMERA_INFO = auto()
    """The calibration, fitted to the image."""


@dataclass(frozen=True, kw_only=True)
class FrameResult:
    """Everything that a message can be made from; the parts that are not needed are None."""

    header: Header
    """Stamp and frame of the input."""
    rgb: Uint8Array
    """[H, W, 3] the image."""
    settings: Settings
    rays: Callable[[CameraInfo], Float32Array]
    """Rays of the pixels that become points, from a fitted camera_info; raises `FrameError`."""
    depth: DepthMap | None = None
    camera_info: CameraInfo | None = None

    @property
    def parts(self) -> Part:
        """The parts that are here."""
        found = Part(0)
        if self.depth is not None:
            found |= Part.DEPTH
        if self.camera_info is not None:
            found |= Part.CAMERA_INFO
        return found

    @property
    def depth_map(self) -> DepthMap:
        """The depth, for an output that needs `Part.DEPTH`."""
        if self.depth is None:
            message = 'an output uses the depth and its row does not need it'
            raise LookupError(message)
        return self.depth

    @property
    def fitted_info(self) -> CameraInfo:
        """The calibration, for an output that needs `Part.CAMERA_INFO`."""
        if self.camera_info is None:
            message = 'an output uses camera_info and its row does not need it'
            raise LookupError(message)
        return self.camera_info


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
    make: Callable[[FrameResult], Any]
    """Makes the message; it may raise `FrameError` to withhold this one."""
    of: str = ''
    """The topic of the same image uncompressed, where this one is compressed."""

    def name_for(self, node: LifecycleNode | StartableNode) -> str:
        """Name that the publisher takes; remapping an image remaps its transports too."""
        if not self.of:
            return self.topic
        return transport_topic(node, self.of, self.topic.removeprefix(f'{self.of}/'))

    @property
    def type_text(self) -> str:
        """The type of the messages, for people."""
        return ', '.join(filter(None, (str(self.kind.__name__), self.encoding)))


def _depth(result: FrameResult) -> Image:
    depth_m, encoding = result.depth_map.depth_m, result.settings.depth_encoding
    array = millimetres(depth_m) if encoding == '16UC1' else depth_m
    return image_message(array, encoding, result.header)


def _camera_info(result: FrameResult) -> CameraInfo:
    return result.fitted_info


def _sigma(result: FrameResult) -> Image:
    return image_message(result.depth_map.sigma_m, '32FC1', result.header)


def _confidence(result: FrameResult) -> Image:
    return image_message(result.depth_map.confidence, '32FC1', result.header)


def _preview(result: FrameResult) -> Image:
    depth = result.depth_map
    colours = colour_depth(depth.depth_m, result.settings.preview_scale(depth.depth_range))
    return image_message(colours, 'rgb8', result.header)


def _points(result: FrameResult) -> PointCloud2:
    depth, options = result.depth_map, result.settings.cloud
    return point_cloud(
        depth.depth_m,
        result.rays(result.fitted_info),
        header=result.header,
        options=options,
        rgb=result.rgb,
        confidence=depth.confidence if options.needs_confidence else None,
    )


def _compressed_depth(result: FrameResult) -> CompressedImage:
    depth_m, options = result.depth_map.depth_m, result.settings.compressed
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
    depth, settings = result.depth_map, result.settings
    colours = colour_depth(depth.depth_m, settings.preview_scale(depth.depth_range))
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
        make=_sigma,
    ),
    Output(
        topic=CONFIDENCE,
        kind=Image,
        encoding='32FC1',
        sentence='probability that the depth is within a factor of 1.25',
        needs=Part.DEPTH,
        make=_confidence,
    ),
    Output(
        topic=PREVIEW,
        kind=Image,
        encoding='rgb8',
        sentence='a preview for people',
        needs=Part.DEPTH,
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
        make=_compressed_sigma,
    ),
    Output(
        topic=f'{CONFIDENCE}/{COMPRESSED_DEPTH}',
        of=CONFIDENCE,
        kind=CompressedImage,
        encoding='16-bit PNG',
        sentence='the same, at least 0.01 or unknown',
        needs=Part.DEPTH,
        make=_compressed_confidence,
    ),
    Output(
        topic=f'{PREVIEW}/{COMPRESSED}',
        of=PREVIEW,
        kind=CompressedImage,
        encoding='JPEG',
        sentence='the same preview',
        needs=Part.DEPTH,
        make=_compressed_preview,
    ),
    Output(
        topic=POINTS,
        kind=PointCloud2,
        sentence='organised, xyz with rgb and confidence on request',
        needs=Part.DEPTH | Part.CAMERA_INFO,
        make=_points,
    ),
)


def parts_needed(outputs: Sequence[Output]) -> Part:
    """Return what must be computed for `outputs`."""
    return functools.reduce(operator.or_, (output.needs for output in outputs), Part(0))


class Outputs:
    """The lifecycle publishers of one configured node."""

    def __init__(self, node: LifecycleNode | StartableNode, *, reliability: str) -> None:
        self._node = node
        self._publishers: dict[str, Any] = {
            output.topic: node.create_lifecycle_publisher(
                output.kind,
                output.name_for(node),
                output_qos(reliability),
                event_callbacks=output_events(output.topic, node.get_logger().warning),
            )
            for output in OUTPUTS
        }

    def destroy(self) -> None:
        """Remove the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def wanted(self) -> tuple[Output, ...]:
        """Return the outputs that have a subscriber right now."""
        return tuple(
            output
            for output in OUTPUTS
            if output.topic in self._publishers
            and self._publishers[output.topic].get_subscription_count()
        )

    def publish(self, output: Output, result: FrameResult) -> None:
        """Make the message of one output and publish it.

        Raises:
            FrameError: It cannot be made from this frame.
        """
        self._publishers[output.topic].publish(output.make(result))
