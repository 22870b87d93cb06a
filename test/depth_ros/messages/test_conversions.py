# SPDX-License-Identifier: Apache-2.0
"""Messages give the colours that were put in, and wrong ones are counted under their reason."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_ros.frames.drops import DropReason, FrameError
from depth_ros.messages.camera_info import CameraInfoStore
from depth_ros.messages.conversions import (
    depth_from_image,
    image_message,
    millimetres,
    rgb_from_compressed,
    rgb_from_image,
)
from depth_ros.middleware.publishers import Publishers

COLOUR = (200, 100, 30)
"""An RGB in which no two channels can be confused."""


def message(**changes: Any) -> Image:
    """A raw image of COLOUR in BGR with two bytes of padding a row."""
    rows = np.pad(np.tile(np.array(COLOUR[::-1], np.uint8), (6, 8)), ((0, 0), (0, 2)))
    given = {'height': 6, 'width': 8, 'step': 26, 'encoding': 'bgr8'} | changes
    result = Image(**given)
    result.data = array.array('B', rows.tobytes())
    return result


def test_a_raw_image_gives_rgb() -> None:
    np.testing.assert_array_equal(rgb_from_image(message()), np.full((6, 8, 3), COLOUR))


def test_byte_order_is_that_of_the_message() -> None:
    deep = Image(height=1, width=2, step=4, encoding='mono16', data=array.array('B', [1, 2, 3, 4]))
    assert rgb_from_image(deep)[0, :, 0].tolist() == [2, 4]
    deep.is_bigendian = 1
    assert rgb_from_image(deep)[0, :, 0].tolist() == [1, 3]


@pytest.mark.parametrize(
    ('changes', 'reason', 'said'),
    [
        ({'encoding': 'rbg8'}, DropReason.ENCODING, "did you mean 'rgb8'"),
        ({'step': 23}, DropReason.SIZE, 'a row needs at least 24'),
        ({'height': 5}, DropReason.SIZE, '156 bytes arrived'),
        ({'height': 0}, DropReason.SIZE, 'at least 1'),
    ],
)
def test_a_wrong_message_is_counted_under_its_reason(
    changes: dict[str, Any], reason: DropReason, said: str
) -> None:
    with pytest.raises(FrameError, match=said) as caught:
        rgb_from_image(message(**changes))
    assert caught.value.reason is reason


def test_the_largest_image_is_that_of_the_camera() -> None:
    assert rgb_from_image(message(), max_pixels=48).shape == (6, 8, 3)
    for given, decode in ((message(), rgb_from_image), (compressed('.jpg'), rgb_from_compressed)):
        with pytest.raises(FrameError, match='at most 47 are read') as caught:
            decode(given, max_pixels=47)
        assert caught.value.reason is DropReason.SIZE


def compressed(suffix: str, **changes: Any) -> CompressedImage:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30] = COLOUR
    encoded = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    result = CompressedImage(format=changes.get('format', f'bgr8; {suffix[1:]} compressed bgr8'))
    result.data = array.array('B', encoded.tobytes())
    return result


@pytest.mark.parametrize(('suffix', 'tolerance'), [('.png', 0), ('.jpg', 6)])
def test_compressed_images_give_rgb(suffix: str, tolerance: int) -> None:
    rgb = rgb_from_compressed(compressed(suffix))
    assert rgb.shape == (40, 60, 3)
    np.testing.assert_allclose(rgb[20, 10].astype(int), COLOUR, atol=tolerance)
    np.testing.assert_allclose(rgb[20, 50].astype(int), 0, atol=tolerance)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('share', [0.5, 0.9])
def test_a_compressed_image_cut_short_is_refused(suffix: str, share: float) -> None:
    given = compressed(suffix)
    del given.data[int(len(given.data) * share) :]
    with pytest.raises(FrameError, match='is a truncated') as caught:
        rgb_from_compressed(given)
    assert caught.value.reason is DropReason.CORRUPT


@pytest.mark.parametrize('data', [b'', b'\xff', b'not an image at all', b'\xff\xd8\xff\xd9'])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        rgb_from_compressed(CompressedImage(format='jpeg', data=array.array('B', data)))
    assert caught.value.reason is DropReason.CORRUPT


def test_a_compressed_depth_image_is_refused_by_name() -> None:
    with pytest.raises(FrameError, match='depth image') as caught:
        rgb_from_compressed(compressed('.png', format='32FC1; compressedDepth png'))
    assert caught.value.reason is DropReason.ENCODING


def test_an_image_message_holds_the_array_and_the_header() -> None:
    header = Header(frame_id='camera_optical_frame')
    header.stamp.sec, header.stamp.nanosec = 12, 345
    depth = np.array([[1.5, np.nan, np.inf], [-np.inf, 0.25, 80.0]], np.float32)
    given = image_message(depth, '32FC1', header)
    assert (given.height, given.width, given.step, given.encoding) == (2, 3, 12, '32FC1')
    assert given.header == header
    assert given.is_bigendian == (sys.byteorder == 'big')
    held = np.frombuffer(given.data, np.float32).reshape(2, 3)
    np.testing.assert_array_equal(held, depth)
    assert np.shares_memory(held, depth)
    taken = deserialize_message(serialize_message(given), Image)
    assert taken.data == array.array('B', depth.tobytes())


def test_millimetres_round_and_never_wrap() -> None:
    depth = np.array(
        [0.0004, 0.0006, 1.2344, 1.2346, 65.535, 65.536, 1e9, np.nan, np.inf, -np.inf, -1.0],
        np.float32,
    )
    np.testing.assert_array_equal(
        millimetres(depth[None]), [[0, 1, 1234, 1235, 65535, 0, 0, 0, 0, 0, 0]]
    )


def test_depth_images_are_read_with_padding_and_either_byte_order() -> None:
    depth_m = np.array([[1.5, np.nan], [np.inf, 0.25]], np.float32)
    depth = image_message(depth_m, '32FC1', Header())
    np.testing.assert_array_equal(depth_from_image(depth), depth_m)
    millis = np.array([[1500, 0], [65535, 250]], np.uint16)
    padded = np.zeros((2, 3), '>u2')
    padded[:, :2] = millis
    depth = image_message(millis, '16UC1', Header())
    depth.is_bigendian, depth.step = 1, 6
    depth.data = array.array('B', padded.tobytes())
    np.testing.assert_allclose(depth_from_image(depth), [[1.5, np.nan], [65.535, 0.25]])
    depth.step = 3
    with pytest.raises(FrameError, match='contradicts itself'):
        depth_from_image(depth)
    depth.encoding = 'mono8'
    with pytest.raises(FrameError, match='give 32FC1 or 16UC1'):
        depth_from_image(depth)


@pytest.mark.parametrize('big_endian', [False, True])
def test_mono16_of_twelve_bits_is_as_bright_as_it_is(big_endian: bool) -> None:
    codes = np.array([[0, 0x0010, 0x0800, 0x0FFF, 0x1FFF]], '>u2' if big_endian else '<u2')
    message = Image(height=1, width=5, encoding='mono16', step=10, is_bigendian=int(big_endian))
    message.data.frombytes(codes.tobytes())
    found = rgb_from_image(message, mono16_bits=12)
    assert found[0, :, 0].tolist() == [0, 1, 128, 255, 255]
    assert rgb_from_image(message)[0, :, 0].tolist() == [0, 0, 8, 15, 31]


def test_a_header_that_the_camera_cannot_have_is_refused_before_it_is_decoded() -> None:
    store = CameraInfoStore(Publishers('/camera_info', kind='sensor_msgs/msg/CameraInfo'))
    picture = np.zeros((30, 60, 3), np.uint8)
    encoded = cv2.imencode('.png', picture)[1].tobytes()
    message = CompressedImage(format='png')
    message.data.frombytes(encoded)
    assert rgb_from_compressed(message, check_size=store.check_size).shape == (30, 60, 3)
    store.add(CameraInfo(height=60, width=120))
    assert rgb_from_compressed(message, check_size=store.check_size).shape == (30, 60, 3)
    store.add(CameraInfo(height=60, width=60))
    with pytest.raises(FrameError, match='60x60 pixels are described') as caught:
        rgb_from_compressed(message, check_size=store.check_size)
    assert caught.value.reason is DropReason.CAMERA_INFO_SIZE
