# SPDX-License-Identifier: Apache-2.0
"""The rows of the outputs: their public names, what they need, and what they make of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_core.contracts import DepthMap
from depth_core.preview import ColourScale, colour_depth
from depth_ros.frames.outputs import OUTPUTS, RELATIVE_OUTPUTS, Output, parts_needed
from depth_ros.frames.result import FrameResult, Part
from depth_ros.messages.point_cloud import PixelRays
from depth_ros.settings import Settings, settings_from
from test.depth_ros.sample_messages import camera_info, header, picture, pixels_of

ROWS = (*OUTPUTS, *RELATIVE_OUTPUTS)
BY_TOPIC = {output.topic: output for output in ROWS}
DEPTH_M = np.array([[1.0, 2.0], [np.nan, np.inf]], np.float32)
SIGMA_M = np.full((2, 2), 0.25, np.float32)


def result(parts: Part, settings: Settings | None = None) -> FrameResult:
    """A 2x2 frame of which only `parts` are there."""
    depth = DepthMap(depth_m=DEPTH_M, sigma_m=SIGMA_M, depth_range=(0.5, 10.0))
    return FrameResult(
        header=header(3),
        rgb=picture(0, height=2, width=2),
        settings=settings or Settings(),
        rays=lambda _: PixelRays.of(np.ones((2, 2, 2), np.float32)),
        depth=depth if Part.DEPTH in parts else None,
        relative=depth if Part.RELATIVE in parts else None,
        camera_info=camera_info(3, height=2, width=2) if Part.CAMERA_INFO in parts else None,
    )


def test_the_public_topics_and_types() -> None:
    assert {output.topic: output.kind for output in ROWS} == {
        'depth/image_raw': Image,
        'depth/camera_info': CameraInfo,
        'sigma/image_raw': Image,
        'confidence/image_raw': Image,
        'depth/color': Image,
        'depth/image_raw/compressedDepth': CompressedImage,
        'sigma/image_raw/compressedDepth': CompressedImage,
        'confidence/image_raw/compressedDepth': CompressedImage,
        'depth/color/compressed': CompressedImage,
        'points': PointCloud2,
        'relative/image_raw': Image,
        'relative/camera_info': CameraInfo,
    }
    assert len(BY_TOPIC) == len(ROWS)


@pytest.mark.parametrize('output', ROWS, ids=lambda output: output.topic)
def test_a_message_is_made_from_what_the_row_needs(output: Output) -> None:
    message = output.make(result(output.needs))
    assert isinstance(message, output.kind)
    assert message.header == header(3)
    if not isinstance(message, CompressedImage):
        assert (message.height, message.width) == (2, 2)
    if isinstance(message, Image):
        assert message.encoding in output.encoding.split(' or ')
    for part in Part:
        if part in output.needs:
            with pytest.raises(LookupError, match='its row does not need it'):
                output.make(result(output.needs & ~part))


def test_only_what_is_wanted_is_needed() -> None:
    assert parts_needed(()) == Part(0)
    assert parts_needed((BY_TOPIC['depth/camera_info'],)) == Part.CAMERA_INFO
    assert parts_needed((BY_TOPIC['depth/color'], BY_TOPIC['sigma/image_raw'])) == Part.DEPTH
    assert parts_needed(OUTPUTS) == Part.DEPTH | Part.CAMERA_INFO
    assert parts_needed(ROWS) == Part.DEPTH | Part.CAMERA_INFO | Part.RELATIVE


def test_the_values_of_the_images() -> None:
    complete = result(Part.DEPTH)
    assert_array_equal(pixels_of(BY_TOPIC['depth/image_raw'].make(complete)), DEPTH_M)
    assert_array_equal(pixels_of(BY_TOPIC['sigma/image_raw'].make(complete)), SIGMA_M)
    confidence = pixels_of(BY_TOPIC['confidence/image_raw'].make(complete))
    assert (confidence[0] > 0.5).all()
    assert (confidence[1] == 0.0).all(), 'nothing is confident where there is no estimate'
    preview = pixels_of(BY_TOPIC['depth/color'].make(complete))
    assert_array_equal(preview, colour_depth(DEPTH_M, ColourScale(near=0.5, far=10.0)))


def test_settings_change_the_messages() -> None:
    settings = settings_from({'depth_encoding': '16UC1', 'cloud.color': False})
    complete = result(Part.DEPTH | Part.CAMERA_INFO, settings)
    depth_mm = BY_TOPIC['depth/image_raw'].make(complete)
    assert depth_mm.encoding == '16UC1'
    assert_array_equal(pixels_of(depth_mm), [[1000, 2000], [0, 0]])
    assert [item.name for item in BY_TOPIC['points'].make(complete).fields] == ['x', 'y', 'z']
