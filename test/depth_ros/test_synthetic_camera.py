# SPDX-License-Identifier: Apache-2.0
"""The rendered camera: what it publishes is what was rendered, under one stamp."""

from __future__ import annotations

import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_core.errors import ConfigError
from depth_ros.demo.monitor import float_image
from depth_ros.messages.conversions import rgb_from_compressed, rgb_from_image
from depth_ros.synthetic_camera import (
    Frame,
    SteadyRate,
    camera_info,
    forth_and_back,
    frame_messages,
    main,
    render,
)
from test.depth_ros.ros_processes import ros_session
from test.depth_ros.sample_messages import stamp_ns

HEIGHT, WIDTH = 60, 80
FRAMES = 3
OPTIONS = ('--height', '60', '--width', '80', '--frames', '3', '--scene', 'office', '--seed', '4')


@pytest.mark.ros
def test_every_topic_carries_the_rendered_frame_under_one_stamp(tmp_path: Path) -> None:
    frames = list(
        render(seed=4, scene='office', height=HEIGHT, width=WIDTH, rate_hz=20.0, frames=FRAMES)
    )
    assert len({frame.image.tobytes() for frame in frames}) == FRAMES, 'the camera moves'
    with ros_session(tmp_path) as session:
        camera = session.start(
            '-m',
            'depth_ros.synthetic_camera',
            *(*OPTIONS, '--rate_hz', '20', '--image_transport', 'both', '--frame_id', 'cam'),
            *('--ros-args', '-r', '__ns:=/left'),
        )
        topics = {
            'image_raw': Image,
            'image_raw/compressed': CompressedImage,
            'camera_info': CameraInfo,
            'ground_truth/depth/image_raw': Image,
        }
        found = {name: session.collect(kind, f'/left/{name}') for name, kind in topics.items()}

        def common() -> list[int]:
            return sorted(
                set.intersection(*({stamp_ns(item) for item in got} for got in found.values()))
            )

        session.until(lambda: len(common()) > 2 * FRAMES, 'frames on all topics')
        shown = []
        for stamp in common():
            raw, jpeg, info, truth = (
                next(item for item in got if stamp_ns(item) == stamp) for got in found.values()
            )
            assert {item.header.frame_id for item in (raw, jpeg, info, truth)} == {'cam'}
            image = rgb_from_image(raw)
            index = next(i for i, frame in enumerate(frames) if np.array_equal(frame.image, image))
            shown.append(index)
            np.testing.assert_array_equal(float_image(truth), frames[index].depth_m)
            blur = np.abs(rgb_from_compressed(jpeg).astype(int) - image).mean()
            assert blur < 12.0, 'the JPEG shows the same frame'
            assert (info.height, info.width) == (HEIGHT, WIDTH)
            np.testing.assert_allclose(info.k, frames[index].matrix.ravel())
        assert set(shown) == set(range(FRAMES))
        for _ in range(2):  # from the terminal, and from launch
            camera.signal(signal.SIGINT)
        assert camera.wait() == 0, camera.output
        assert 'Traceback' not in camera.output


def test_the_film_runs_forth_and_back() -> None:
    assert [forth_and_back(i, 4) for i in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [forth_and_back(i, 1) for i in range(3)] == [0, 0, 0]


class Clock:
    """A clock that moves when somebody sleeps, or is told to."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


def test_a_missed_tick_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr('depth_ros.synthetic_camera.time', clock)
    rate = SteadyRate(8.0)
    rate.wait()
    assert (rate.missed, clock.now_s) == (0, 100.125)
    clock.now_s += 1.0625  # the tick at 100.25 and seven after it are due
    rate.wait()
    assert rate.missed == 7
    rate.wait()
    assert (rate.missed, clock.now_s) == (7, 101.25)


def frame() -> Frame:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    depth_m = np.full((4, 6), np.inf, np.float32)
    matrix = np.array([[5.0, 0.0, 2.5], [0.0, 5.5, 1.5], [0.0, 0.0, 1.0]])
    return Frame(image=image, depth_m=depth_m, matrix=matrix)


@pytest.mark.parametrize(
    ('transport', 'raw', 'compressed'),
    [('raw', True, False), ('compressed', False, True), ('both', True, True)],
)
def test_the_transport_says_which_images_there_are(
    transport: str, *, raw: bool, compressed: bool
) -> None:
    messages = frame_messages(frame(), frame_id='cam', transport=transport)
    assert (messages.raw is not None) is raw
    assert (messages.compressed is not None) is compressed
    assert np.isposinf(float_image(messages.depth)).all(), 'sky stays +inf'


def test_camera_info_describes_an_undistorted_rectified_camera() -> None:
    info = camera_info(frame(), Header(frame_id='cam'))
    assert (info.height, info.width) == (4, 6)
    assert not np.any(info.d)
    projection = np.array(info.p).reshape(3, 4)
    np.testing.assert_array_equal(projection[:, :3], np.array(info.k).reshape(3, 3))
    np.testing.assert_array_equal(projection[:, 3], 0.0)
    np.testing.assert_array_equal(np.array(info.r).reshape(3, 3), np.eye(3))


def test_the_colours_are_not_swapped() -> None:
    red = Frame(
        image=np.full((16, 16, 3), (250, 10, 10), np.uint8),
        depth_m=np.ones((16, 16), np.float32),
        matrix=np.eye(3),
    )
    messages = frame_messages(red, frame_id='cam', transport='both')
    assert messages.raw is not None
    assert messages.compressed is not None
    assert messages.raw.encoding == 'rgb8'
    encoded = np.frombuffer(messages.compressed.data, np.uint8)
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert bgr is not None
    assert bgr[8, 8, 2] > 200 > bgr[8, 8, 0], 'JPEG files hold red as red'


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--rate_hz', '0'], "'0' is not a number above 0"),
        (['--image_transport', 'theora'], 'invalid choice'),
        (['--seeds', '1'], "did you mean '--seed'?"),
        (['--ros-args', '-r', 'nonsense'], 'ROS arguments cannot be used'),
    ],
)
def test_wrong_options_are_refused(options: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint.replace('?', r'\?')):
        main(options)
