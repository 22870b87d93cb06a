# SPDX-License-Identifier: Apache-2.0
"""Video files in and out, through what OpenCV was built with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from depth_core.contracts import Uint8Array
from depth_core.errors import DataError, DepthError
from depth_core.files import replaced_atomically

VIDEO_SUFFIXES: Final = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')
"""Endings of the files that are looked at as videos, lower case."""

_CODEC: Final = 'mp4v'
"""MPEG-4 part 2: every build of OpenCV that writes video at all writes this."""
_RATE_UNKNOWN_HZ: Final = 25.0
_FRAMES_LACKING: Final = 0.05
"""Fraction of the announced frames that a whole video may lack: containers announce estimates."""


@dataclass
class Video:
    """A video that is being read."""

    path: Path
    rate_hz: float
    frames_announced: int
    """What the container says; 0 when it does not."""
    capture: cv2.VideoCapture
    frames_read: int = 0

    def frames(self) -> Iterator[Uint8Array]:
        """Every frame that is left, [H, W, 3] uint8 RGB."""
        while True:
            more, frame = self.capture.read()
            if not more:
                return
            self.frames_read += 1
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def check_whole(self) -> None:
        """Refuse a video that ended before it should have.

        Raises:
            DataError: Far fewer frames were read than the container announces.
        """
        if self.frames_read < self.frames_announced * (1.0 - _FRAMES_LACKING):
            message = (
                f'video {self.path} gave {self.frames_read} of the {self.frames_announced} frames '
                'it announces: it is truncated or corrupt. What could be decoded is written; '
                'copy it again for the rest.'
            )
            raise DataError(message)


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open the video file at `path`.

    Raises:
        DataError: It cannot be opened, or has no frame.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            message = (
                f'video {path} cannot be opened: it is truncated, corrupt or of a kind this '
                'OpenCV does not decode; copy or convert it.'
            )
            raise DataError(message)
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        yield Video(
            path=path,
            rate_hz=rate_hz if rate_hz > 0.0 else _RATE_UNKNOWN_HZ,
            frames_announced=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
            capture=capture,
        )
    finally:
        capture.release()


def write_video(path: Path, frames: Iterator[Uint8Array], *, rate_hz: float) -> None:
    """Write `frames`, [H, W, 3] uint8 RGB of one size, as MPEG-4; complete or not at all.

    Raises:
        DataError: There is no frame.
        DepthError: This OpenCV writes no MPEG-4.
    """
    with replaced_atomically(path) as temporary:
        first = next(frames, None)
        if first is None:
            message = f'no frame could be decoded, so {path} was not written; check the source.'
            raise DataError(message)
        height, width = first.shape[:2]
        film = cv2.VideoWriter(
            str(temporary), cv2.VideoWriter.fourcc(*_CODEC), rate_hz, (width, height)
        )
        try:
            if not film.isOpened():
                message = (
                    f'this OpenCV {cv2.__version__} cannot write {_CODEC} video of '
                    f'{width}x{height} pixels; install opencv-python-headless.'
                )
                raise DepthError(message)
            film.write(cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
            for frame in frames:
                film.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        finally:
            film.release()
