# SPDX-License-Identifier: Apache-2.0
"""Video files in and out, through what OpenCV was built with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from depth_core.contracts import Uint8Array
from depth_core.errors import DataError, DepthError
from depth_core.files import is_utf8, replaced_atomically, scratch_folder
from depth_core.images import MAX_PIXELS
from depth_core.runtime.matroska import is_cut_short, is_matroska

VIDEO_SUFFIXES: Final = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')
"""Endings of the files that are looked at as videos, lower case."""

_BOXES: Final = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')
"""What stands at byte 4 of the files of the MP4 and QuickTime family."""
_STARTS: Final = (b'RIFF', b'\x1a\x45\xdf\xa3')
"""What AVI, and what Matroska and WebM begin with."""
_CODEC: Final = 'mp4v'
"""MPEG-4 part 2: every build of OpenCV that writes video at all writes this."""
_RATE_UNKNOWN_HZ: Final = 25.0
_SLOWEST_HZ: Final = 0.1
_FASTEST_HZ: Final = 240.0
"""Players show no more; beyond it a container states the step of its clock, not a rate."""
_RATE_TOLERANCE: Final = 0.05
_FRAMES_TIMED: Final = 300
"""As many frames are looked at before the first is predicted, to measure their rate."""
_TICKS_A_SECOND: Final = 65535
"""The finest clock that MPEG-4 part 2 can state."""
_LACKING: Final = 0.05
"""Fraction of the stated frames, or time, that a whole video may lack: both are estimates."""


@dataclass
class Video:
    """A video that is being read."""

    path: Path
    rate_hz: float
    """At which a player can show the frames, in the time they took on average."""
    frames_stated: int
    """What the container says; 0 when it does not."""
    duration_s: float
    """What the container says; 0 when it does not."""
    capture: cv2.VideoCapture
    frames_read: int = 0
    read_s: float = 0.0
    """When the last frame that was read began."""

    def frames(self) -> Iterator[Uint8Array]:
        """Every frame that is left, [H, W, 3] uint8 RGB."""
        while True:
            more, frame = self.capture.read()
            if not more:
                return
            self.frames_read += 1
            self.read_s = self.capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)

    def check_whole(self) -> None:
        """Refuse a video that ended before it should have.

        Raises:
            DataError: A Matroska file ends inside an element; of another kind, both fewer frames
                and less time were read than the container states.
        """
        if is_matroska(self.path):
            whole = not is_cut_short(self.path)
            found = 'frames, and its last element is cut'
        else:
            whole = self.frames_read >= self.frames_stated * (
                1.0 - _LACKING
            ) or self.read_s + 1.0 / self.rate_hz >= self.duration_s * (1.0 - _LACKING)
            found = f'of the {self.frames_stated} frames that it states'
        if not whole:
            message = (
                f'video {self.path} gave {self.frames_read} {found}: it is truncated or corrupt. '
                'What could be decoded is written; copy it again for the rest.'
            )
            raise DataError(message)


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open the video file at `path`.

    Raises:
        DataError: It cannot be opened, or has no frame.
    """
    with _utf8_path(path) as readable:
        _refuse_other_content(path)
        timed = cv2.VideoCapture(str(readable))
        _limit_frames(timed, path)
        stamps_s = list(_stamps_s(timed))
        timed.release()
        capture = cv2.VideoCapture(str(readable))
        try:
            if not capture.isOpened():
                message = (
                    f'video {path} cannot be opened: it is truncated, corrupt or of a kind this '
                    'OpenCV does not decode; copy or convert it.'
                )
                raise DataError(message)
            stated_hz = _positive(capture.get(cv2.CAP_PROP_FPS))
            stated = int(_positive(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            yield Video(
                path=path,
                rate_hz=playable_rate_hz(stated_hz, stamps_s),
                frames_stated=stated,
                duration_s=stated / stated_hz if stated_hz else 0.0,
                capture=capture,
            )
        finally:
            capture.release()


def _refuse_other_content(path: Path) -> None:
    """Refuse a file that is no container of video: lists name other files, or addresses.

    Raises:
        DataError: It is missing, or begins as none of the known containers.
    """
    try:
        with path.open('rb') as file:
            start = file.read(12)
    except OSError as error:
        message = f'video {path} cannot be opened: {error.strerror or error}; check the path.'
        raise DataError(message) from error
    if start[4:8] not in _BOXES and not start.startswith(_STARTS):
        message = (
            f'video {path} cannot be opened: it is truncated, corrupt or none of MP4, MOV, AVI, '
            'Matroska or WebM; copy or convert it.'
        )
        raise DataError(message)


def _limit_frames(capture: cv2.VideoCapture, path: Path) -> None:
    """Refuse frames that are larger than images may be, before one is decoded."""
    height = int(_positive(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    width = int(_positive(capture.get(cv2.CAP_PROP_FRAME_WIDTH)))
    if height * width > MAX_PIXELS:
        capture.release()
        message = (
            f'video {path} has frames of {width}x{height}, and at most {MAX_PIXELS} pixels are '
            'read; make it smaller.'
        )
        raise DataError(message)


def playable_rate_hz(stated_hz: float, stamps_s: Sequence[float]) -> float:
    """Choose the rate of a preview that shows every frame once.

    Args:
        stated_hz: Rate that the container states; 0 or NaN when it does not.
        stamps_s: When its first frames begin.

    Returns:
        What is stated where the frames keep to it, else their mean rate; within what players
        show and rounded to what MPEG-4 part 2 can state. 25 Hz when there is neither.
    """
    stated_hz = _positive(stated_hz)
    span_s = max(stamps_s) - min(stamps_s) if stamps_s else 0.0
    if span_s > 0.0:
        rate_hz = (len(stamps_s) - 1) / span_s
        if stated_hz and abs(rate_hz / stated_hz - 1.0) <= _RATE_TOLERANCE:
            rate_hz = stated_hz  # the stamps may be rounded to milliseconds
    else:
        rate_hz = stated_hz if 0.0 < stated_hz <= _FASTEST_HZ else _RATE_UNKNOWN_HZ
    rate_hz = min(max(rate_hz, _SLOWEST_HZ), _FASTEST_HZ)
    return round(rate_hz, 3 if rate_hz * 1000.0 < _TICKS_A_SECOND else 2)


def write_video(path: Path, frames: Iterator[Uint8Array], *, rate_hz: float) -> None:
    """Write `frames`, [H, W, 3] uint8 RGB, as MPEG-4; complete or not at all.

    All are written at the size of the first: some recorders change theirs.

    Raises:
        DataError: There is no frame.
        DepthError: This OpenCV writes no MPEG-4.
    """
    with replaced_atomically(path) as temporary, _utf8_path(temporary) as writable:
        first = next(frames, None)
        if first is None:
            message = f'no frame could be decoded, so {path} was not written; check the source.'
            raise DataError(message)
        height, width = first.shape[:2]
        film = cv2.VideoWriter(
            str(writable), cv2.VideoWriter.fourcc(*_CODEC), rate_hz, (width, height)
        )
        try:
            if not film.isOpened():
                message = (
                    f'this OpenCV {cv2.__version__} cannot write {_CODEC} video of '
                    f'{width}x{height} pixels at {rate_hz:g} Hz; install opencv-python-headless, '
                    'or give smaller images.'
                )
                raise DepthError(message)
            film.write(cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
            for frame in frames:
                fitting = frame
                if frame.shape != first.shape:
                    fitting = np.asarray(cv2.resize(frame, (width, height)), np.uint8)
                film.write(cv2.cvtColor(fitting, cv2.COLOR_RGB2BGR))
        finally:
            film.release()


def _stamps_s(capture: cv2.VideoCapture) -> Iterator[float]:
    for _ in range(_FRAMES_TIMED):
        if not capture.grab():
            return
        yield capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3


def _positive(value: float) -> float:
    """`value` where it is a finite number above 0, else 0."""
    return value if 0.0 < value < math.inf else 0.0


@contextlib.contextmanager
def _utf8_path(path: Path) -> Iterator[Path]:
    """Give a path of the same file whose name is UTF-8; OpenCV ends the process at any other."""
    if is_utf8(path):
        yield path
        return
    with scratch_folder('video') as folder:
        link = Path(folder, 'video').with_suffix(path.suffix)
        link.symlink_to(path.resolve())
        yield link
