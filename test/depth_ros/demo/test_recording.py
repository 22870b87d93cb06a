# SPDX-License-Identifier: Apache-2.0
"""The recording that the demo plays is what its camera renders, and small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.data.bag.opener import open_bag
from depth_core.errors import ConfigError
from depth_core.shipped import shipped_file
from depth_ros.demo.camera import CAMERA, IMAGE, INFO, RECORDED_HZ, RECORDING, TRUTH
from depth_ros.demo.record import main, rounded
from depth_ros.synthetic_camera import render
from test.depth_ros.sample_messages import stamp_ns

FRAMES = 40
HEIGHT, WIDTH = 480, 640


def messages(bag: Path) -> dict[str, list[Any]]:
    """The decoded messages of a recording by topic."""
    found: dict[str, list[Any]] = {}
    with open_bag(bag) as opened:
        for message in opened.messages(opened.connections):
            decoded = opened.decode(message)
            assert stamp_ns(decoded) == message.stamp_ns, 'stamped as it was recorded'
            found.setdefault(message.connection.topic.removeprefix(f'{CAMERA}/'), []).append(
                decoded
            )
    return found


def image_of(message: Any) -> Uint8Array:
    decoded = cv2.imdecode(np.asarray(message.data), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def depth_of(message: Any) -> Float32Array:
    assert (message.encoding, message.is_bigendian, message.step) == (
        '32FC1',
        0,
        4 * message.width,
    )
    values = np.asarray(message.data, np.uint8).view(np.float32)
    return values.reshape(message.height, message.width)


@pytest.fixture(scope='module')
def shipped() -> dict[str, list[Any]]:
    return messages(shipped_file(f'{RECORDING}/metadata.yaml').parent)


def test_it_is_complete_and_small(shipped: dict[str, list[Any]]) -> None:
    folder = shipped_file(f'{RECORDING}/metadata.yaml').parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6e6
    assert set(shipped) == {IMAGE, INFO, TRUTH}
    times = [[stamp_ns(message) for message in of_topic] for of_topic in shipped.values()]
    assert times[0] == times[1] == times[2]
    assert len(times[0]) == FRAMES
    assert set(np.diff(times[0])) == {round(1e9 / RECORDED_HZ)}


def test_each_frame_has_an_image_its_calibration_and_positive_depth(
    shipped: dict[str, list[Any]],
) -> None:
    for image, info, truth in zip(shipped[IMAGE], shipped[INFO], shipped[TRUTH], strict=True):
        assert image_of(image).shape == (HEIGHT, WIDTH, 3)
        assert (info.height, info.width, info.distortion_model) == (HEIGHT, WIDTH, 'plumb_bob')
        assert_array_equal(info.d, np.zeros(5))
        assert_array_equal(info.p.reshape(3, 4)[:, :3], info.k.reshape(3, 3))
        depth_m = depth_of(truth)
        assert depth_m.shape == (HEIGHT, WIDTH)
        assert depth_m.min() > 0.0
        assert np.isfinite(depth_m).mean() > 0.5, 'the rest is sky'
        assert {image.header.frame_id, info.header.frame_id, truth.header.frame_id} == {
            'camera_optical_frame'
        }


def test_the_command_still_makes_it(shipped: dict[str, list[Any]], tmp_path: Path) -> None:
    main(['--output', str(tmp_path / 'again'), '--frames', '1'])
    again = messages(tmp_path / 'again')
    assert_array_equal(again[INFO][0].k, shipped[INFO][0].k)
    ours, theirs = image_of(again[IMAGE][0]), image_of(shipped[IMAGE][0])
    # Another processor may round a pixel at the edge of a leaf to the leaf or to the sky.
    assert np.abs(ours.astype(float) - theirs).mean() < 0.5
    same = np.isclose(depth_of(again[TRUTH][0]), depth_of(shipped[TRUTH][0]), rtol=2.0**-8)
    assert same.mean() > 0.99


def test_true_depth_is_rounded_to_nine_bits() -> None:
    depth_m = np.array([1.0, 3.0, 5.123456, 79.99, np.inf], np.float32)
    # 5.123456 = 0.640432 * 2^3: 0.640432 * 512 = 327.9 becomes 328. 79.99 = 0.62492 * 2^7: 319.96.
    expected = [1.0, 3.0, 328 / 512 * 8, 320 / 512 * 128, np.inf]
    assert_array_equal(rounded(depth_m), np.array(expected, np.float32))


def test_frames_are_those_of_the_camera(tmp_path: Path) -> None:
    size = ('--height', '48', '--width', '64')
    options = ('--frames', '2', '--scene', 'office', '--seed', '7', '--rate_hz', '5')
    main(['--output', str(tmp_path / 'bag'), *size, *options])
    found = messages(tmp_path / 'bag')
    frames = list(render(seed=7, scene='office', height=48, width=64, rate_hz=5.0, frames=2))
    assert np.diff([stamp_ns(message) for message in found[IMAGE]]).tolist() == [200_000_000]
    for frame, truth, info in zip(frames, found[TRUTH], found[INFO], strict=True):
        assert_allclose(depth_of(truth), frame.depth_m, rtol=2.0**-9)
        assert_array_equal(info.k.reshape(3, 3), frame.matrix)


def test_a_recording_replaces_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f'--output {tmp_path} exists; name a new folder'):
        main(['--output', str(tmp_path)])
    absent = tmp_path / 'absent' / 'bag'
    with pytest.raises(ConfigError, match='in a folder that does not exist'):
        main(['--output', str(absent)])
    assert list(tmp_path.iterdir()) == []
