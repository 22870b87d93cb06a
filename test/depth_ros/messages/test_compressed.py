# SPDX-License-Identifier: Apache-2.0
"""Compressed outputs, read back by the published rules of the image_transport plugins.

The reader below is written from what compressed_depth_image_transport documents and does: twelve
bytes (format, A, B), then an image file; a 32-bit encoding means A / (q - B) with 0 as NaN, a
16-bit one the pixels themselves. compressed_image_transport decodes the whole message as a file.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from depth_core.contracts import DepthMap
from depth_core.errors import ConfigError
from depth_ros.frames.outputs import OUTPUTS
from depth_ros.frames.result import FrameResult
from depth_ros.messages.compressed import CodedRange, compressed_colours
from depth_ros.messages.point_cloud import PixelRays
from depth_ros.settings import Settings, settings_from
from test.depth_ros.sample_messages import header, picture

BY_TOPIC = {output.topic: output for output in OUTPUTS}
DEPTH = 'depth/image_raw/compressedDepth'
SIGMA = 'sigma/image_raw/compressedDepth'
CONFIDENCE = 'confidence/image_raw/compressedDepth'


def decoded(content: bytes) -> NDArray[Any]:
    """The pixels of an image file, as OpenCV has them."""
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED))


def read_as_the_plugin(message: CompressedImage) -> NDArray[Any]:
    """What a subscriber with the transport compressedDepth is given."""
    encoding, _, transport = message.format.partition('; ')
    assert transport == 'compressedDepth png'
    content = message.data.tobytes()
    kind, a, b = struct.unpack('<iff', content[:12])
    assert kind == 0
    codes = decoded(content[12:])
    assert codes.dtype == np.uint16
    if encoding == '16UC1':
        return codes
    assert encoding == '32FC1'
    q = codes.astype(np.float32)
    with np.errstate(divide='ignore'):
        return np.where(q == 0, np.float32(np.nan), np.float32(a) / (q - np.float32(b)))


def made(topic: str, depth: DepthMap, settings: Settings | None = None) -> CompressedImage:
    height, width = depth.depth_m.shape
    result = FrameResult(
        header=header(5),
        rgb=picture(0, height=height, width=width),
        settings=settings or Settings(),
        rays=lambda _: PixelRays.of(np.ones((2, height, width), np.float32)),
        depth=depth,
    )
    message = BY_TOPIC[topic].make(result)
    assert isinstance(message, CompressedImage)
    assert message.header == header(5)
    return message


def a_map(depth_m: Any, sigma_m: Any = 0.5) -> DepthMap:
    values = np.atleast_2d(np.asarray(depth_m, np.float32))
    sigma = np.broadcast_to(np.asarray(sigma_m, np.float32), values.shape).copy()
    return DepthMap(depth_m=values, sigma_m=sigma, depth_range=(0.1, 200.0))


def test_the_codes_are_those_of_the_formula() -> None:
    """A = 65534 / (1 / 2 - 1 / 4) = 262136; B = 1 - 262136 / 4 = -65533."""
    coded = CodedRange(2.0, 4.0)
    assert (coded.a, coded.b) == (262136.0, -65533.0)
    values = np.array([[2.0, 4.0, 3.0, 1.99, 4.01, np.nan, np.inf, -np.inf, 0.0, -3.0]])
    assert coded.codes(values.astype(np.float32)).tolist() == [
        [65535, 1, round(262136 / 3 - 65533), 0, 0, 0, 0, 0, 0, 0]
    ]


def test_values_outside_may_be_stated_as_the_nearer_end() -> None:
    coded = CodedRange(2.0, 4.0, saturates=True)
    values = np.array([[1.0, 9.0, np.nan, np.inf, 0.0]], np.float32)
    assert coded.codes(values).tolist() == [[65535, 1, 0, 0, 0]]


def test_depth_comes_back_within_half_a_code_up_to_80_m_and_on_to_the_end() -> None:
    depth_m = np.geomspace(0.151, 99.9, 5000, dtype=np.float32).reshape(50, 100)
    found = read_as_the_plugin(made(DEPTH, a_map(depth_m)))
    options = Settings().compressed
    coded = CodedRange(options.depth_min_m, options.depth_max_m)
    allowed = np.array([coded.largest_error(float(value)) for value in depth_m.ravel()])
    error = np.abs(found - depth_m).ravel()
    assert (error <= 1.02 * allowed + 1e-6).all()  # float32 beside the codes
    assert error.max() > 0.1, 'the bound is no loose one'
    at_80_m = coded.largest_error(80.0)
    assert at_80_m == pytest.approx(0.33, abs=0.01), 'what docs/parameters.md states'


def test_what_depth_cannot_be_stated_is_unknown() -> None:
    values = [np.nan, np.inf, -np.inf, 0.14, 101.0, 7.0]
    found = read_as_the_plugin(made(DEPTH, a_map(values)))[0]
    assert np.isnan(found[:5]).all()
    assert found[5] == pytest.approx(7.0, abs=0.003)


def test_the_range_is_a_parameter() -> None:
    settings = settings_from({'compressed.depth_max_m': 20.0, 'compressed.depth_min_m': 0.5})
    found = read_as_the_plugin(made(DEPTH, a_map([19.0, 21.0, 0.4]), settings))[0]
    assert found[0] == pytest.approx(19.0, abs=0.006)
    assert np.isnan(found[1:]).all()


def test_a_range_without_values_is_refused() -> None:
    with pytest.raises(ConfigError, match='depth_max_m = 1 is not above compressed'):
        settings_from({'compressed.depth_max_m': 1.0, 'compressed.depth_min_m': 2.0})


def test_millimetres_come_back_as_they_are() -> None:
    settings = settings_from({'depth_encoding': '16UC1'})
    message = made(DEPTH, a_map([1.234, 65.535, 70.0, np.nan]), settings)
    assert message.format == '16UC1; compressedDepth png'
    assert read_as_the_plugin(message).tolist() == [[1234, 65535, 0, 0]]


def test_sigma_keeps_its_relative_precision_and_is_never_stated_too_small() -> None:
    sigma_m = [0.001, 0.01, 0.5, 5.0, 50.0, 300.0]
    found = read_as_the_plugin(made(SIGMA, a_map([10.0] * 6, sigma_m)))[0]
    assert_allclose(found, [0.01, 0.01, 0.5, 5.0, 50.0, 100.0], rtol=0.04)
    assert_allclose(found[:4], [0.01, 0.01, 0.5, 5.0], rtol=0.005)


def test_confidence_comes_back_and_none_is_unknown() -> None:
    depth = a_map([10.0, 10.0, 10.0, np.nan], [0.5, 2.0, 9.0, 1.0])
    found = read_as_the_plugin(made(CONFIDENCE, depth))[0]
    assert_allclose(found[:3], depth.confidence[0, :3], atol=8e-4)
    assert np.isnan(found[3])


def test_the_header_holds_the_plugins_own_parameters() -> None:
    """A subscriber that asks for depth_quantization z and depth_max reads the same numbers."""
    _, a, b = struct.unpack('<iff', made(DEPTH, a_map([1.0])).data.tobytes()[:12])
    z = (np.sqrt(1.0 + 4.0 * a) - 1.0) / 2.0
    assert z == pytest.approx(98.7, abs=0.05), 'what docs/parameters.md states'
    assert b == pytest.approx(1.0 - a / 100.0)


def test_colours_are_decoded_as_the_image_they_state() -> None:
    rgb = picture(3, height=40, width=60)
    message = compressed_colours(rgb, header=header(1), jpeg_quality=95)
    assert message.format == 'rgb8; jpeg compressed bgr8'
    bgr = decoded(message.data.tobytes())
    assert_allclose(bgr[..., ::-1].astype(np.int64), rgb, atol=12)


def test_quality_and_level_change_the_size_only() -> None:
    depth = a_map(np.linspace(2.0, 60.0, 64 * 64).reshape(64, 64))
    small = settings_from({'compressed.png_level': 9, 'compressed.jpeg_quality': 30})
    for topic in (DEPTH, 'depth/color/compressed'):
        assert len(made(topic, depth, small).data) < len(made(topic, depth).data)
    assert_array_equal(
        read_as_the_plugin(made(DEPTH, depth, small)), read_as_the_plugin(made(DEPTH, depth))
    )
