# SPDX-License-Identifier: Apache-2.0
"""Videos as cameras, browsers and screen recorders write them: rates, uneven frames, cut files."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_core.contracts import Uint8Array
from depth_core.errors import DataError
from depth_core.runtime.matroska import is_cut_short, is_matroska
from depth_core.runtime.video_file import open_video, playable_rate_hz, write_video

SIZE = (64, 48)  # width, height
UNKNOWN = b'\x01' + b'\xff' * 7


def pictures(count: int) -> Iterator[Uint8Array]:
    for number in range(count):
        yield np.full((SIZE[1], SIZE[0], 3), number * 5, np.uint8)


def write_avi(path: Path, rate_hz: float, count: int = 12) -> Path:
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), rate_hz, SIZE)
    assert film.isOpened()
    for picture in pictures(count):
        film.write(picture)
    film.release()
    return path


def element(identifier: int, content: bytes, *, size: bytes | None = None) -> bytes:
    head = identifier.to_bytes((identifier.bit_length() + 7) // 8, 'big')
    return head + (size or (len(content) | 1 << 56).to_bytes(8, 'big')) + content


def number(identifier: int, value: int) -> bytes:
    return element(identifier, value.to_bytes(max(1, (value.bit_length() + 7) // 8), 'big'))


def write_matroska(
    path: Path,
    stamps_ms: Sequence[int],
    *,
    duration_ms: float | None = None,
    frame_ns: int | None = None,
    live: bool = False,
) -> Path:
    """One cluster a frame of motion JPEG; `live` leaves the sizes of segment and cluster out."""
    info = number(0x2AD7B1, 1_000_000)
    if duration_ms is not None:
        info += element(0x4489, struct.pack('>d', duration_ms))
    track = number(0xD7, 1) + number(0x73C5, 1) + number(0x83, 1) + element(0x86, b'V_MJPEG')
    if frame_ns is not None:
        track += number(0x23E383, frame_ns)
    track += element(0xE0, number(0xB0, SIZE[0]) + number(0xBA, SIZE[1]))
    body = element(0x1549A966, info) + element(0x1654AE6B, element(0xAE, track))
    for stamp_ms, picture in zip(stamps_ms, pictures(len(stamps_ms)), strict=True):
        jpeg = cv2.imencode('.jpg', picture)[1].tobytes()
        cluster = number(0xE7, stamp_ms) + element(0xA3, b'\x81\0\0\x80' + jpeg)
        body += element(0x1F43B675, cluster, size=UNKNOWN if live else None)
    head = element(0x1A45DFA3, number(0x4286, 1) + element(0x4282, b'matroska'))
    path.write_bytes(head + element(0x18538067, body, size=UNKNOWN if live else None))
    return path


def read(path: Path) -> tuple[float, int]:
    """The playable rate and the number of frames of a whole video."""
    with open_video(path) as video:
        frames = sum(1 for _ in video.frames())
        video.check_whole()
        return video.rate_hz, frames


@pytest.mark.parametrize(
    ('stated_hz', 'stamps_s', 'expected_hz'),
    [
        (30.0, [0.0, 1 / 30, 2 / 30], 30.0),
        (29.97003, [0.0, 0.033, 0.067, 0.100], 29.97),  # stamps in milliseconds
        (23.976, [0.0, 1 / 23.976], 23.976),
        (196.263, [0.0, 1 / 196.263], 196.26),  # 196263 ticks a second are too many
        (66.667, [0.0, 0.015], 66.67),
        (0.5, [0.0, 2.0, 4.0], 0.5),
        (1000.0, [0.0, 0.04, 0.09, 0.12], 25.0),  # the clock of a browser
        (60.0, [0.0, 0.016, 3.0], 0.667),  # a screen that seldom changes
        (1000.0, [0.0, 0.001, 0.002], 240.0),
        (0.0, [0.0, 0.1, 0.2], 10.0),
        (float('nan'), [0.0, 0.1, 0.2], 10.0),
        (float('nan'), [], 25.0),
        (0.0, [0.0], 25.0),
        (float('inf'), [0.0, 0.0], 25.0),
        (-5.0, [0.0, 0.0, 0.0], 25.0),
        (30.0, [0.0, 0.0, 0.0], 30.0),  # a container without stamps
        (1000.0, [0.0, 0.0, 0.0], 25.0),  # a clock, and no stamps
        (1000.0, [0.1, 0.05, 0.0, 0.15], 20.0),  # not in order
        (1e-9, [0.0, 1e9], 0.1),
    ],
)
def test_a_rate_is_that_of_the_frames_and_can_be_played(
    stated_hz: float, stamps_s: list[float], expected_hz: float
) -> None:
    assert playable_rate_hz(stated_hz, stamps_s) == pytest.approx(expected_hz)


@pytest.mark.parametrize(
    'rate_hz', [0.5, 29.97003, 59.94006, 66.667, 119.915, 196.263, 239.76, 240.0154, 1000.0]
)
def test_every_rate_can_be_written_again(tmp_path: Path, rate_hz: float) -> None:
    rate_out_hz, frames = read(write_avi(tmp_path / 'in.avi', rate_hz))
    assert frames == 12
    assert rate_out_hz == pytest.approx(min(rate_hz, 240.0), rel=1e-3)
    write_video(tmp_path / 'out.mp4', pictures(frames), rate_hz=rate_out_hz)
    assert read(tmp_path / 'out.mp4') == pytest.approx((rate_out_hz, 12), rel=1e-3)


def test_a_recording_of_a_browser_keeps_its_frames_and_their_mean_rate(tmp_path: Path) -> None:
    stamps_ms = np.cumsum(np.random.default_rng(1).integers(20, 60, 30)).tolist()
    mean_hz = 29 / (stamps_ms[-1] - stamps_ms[0]) * 1e3
    for name, duration_ms, live in (('a', None, True), ('b', stamps_ms[-1] + 40.0, False)):
        path = write_matroska(
            tmp_path / f'{name}.webm', stamps_ms, duration_ms=duration_ms, live=live
        )
        assert read(path) == pytest.approx((mean_hz, 30), rel=2e-2)


def test_a_screen_that_seldom_changes_is_no_truncated_video(tmp_path: Path) -> None:
    stamps_ms = [0, 16, 33, 50, 2000, 2016, 5000, 5016, 9000]
    path = write_matroska(tmp_path / 'a.mkv', stamps_ms, duration_ms=20_000.0, frame_ns=16_666_667)
    with open_video(path) as video:
        assert video.frames_stated == 1200, 'an estimate from the duration'
    assert read(path) == pytest.approx((8 / 9.0, 9), rel=1e-2)


@pytest.mark.parametrize('live', [False, True])
def test_a_matroska_file_is_whole_only_to_its_last_byte(tmp_path: Path, *, live: bool) -> None:
    path = write_matroska(tmp_path / 'a.mkv', [0, 40, 80, 120], live=live)
    assert is_matroska(path)
    assert not is_cut_short(path)
    content = path.read_bytes()
    for lost in (1, 40, len(content) // 2):
        path.write_bytes(content[:-lost])
        assert is_cut_short(path)
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r'a\.mkv gave \d frames, and its last element is cut'):
        read(path)
    path.write_bytes(content + bytes(64))
    assert not is_cut_short(path), 'room that was reserved is no element'


def test_frames_of_another_size_are_brought_to_that_of_the_first(tmp_path: Path) -> None:
    frames = [*pictures(3), np.full((96, 64, 3), 90, np.uint8), *pictures(2)]
    write_video(tmp_path / 'out.mp4', iter(frames), rate_hz=10.0)
    with open_video(tmp_path / 'out.mp4') as video:
        assert [frame.shape for frame in video.frames()] == [(48, 64, 3)] * 6


def test_the_frames_of_a_video_come_in_order(tmp_path: Path) -> None:
    with open_video(write_avi(tmp_path / 'in.avi', 10.0)) as video:
        levels = [float(frame.mean()) for frame in video.frames()]
    assert all(earlier < later for earlier, later in pairwise(levels))
