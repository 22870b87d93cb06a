# SPDX-License-Identifier: Apache-2.0
"""Which frames of KITTI raw: split lists, and what is on disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from depth_core.data.kitti.files import IMAGE_ENDINGS
from depth_core.data.kitti.motion import read_timestamps
from depth_core.data.sequences import neighbour_indices
from depth_core.data.text import read_lines
from depth_core.errors import ConfigError, DataError, unknown_name

LEFT: Final = 2
"""Number of the left colour camera."""
RIGHT: Final = 3
"""Number of the right colour camera."""

_CAMERAS: Final = {'left': (LEFT,), 'right': (RIGHT,), 'both': (LEFT, RIGHT)}
_DRIVE: Final = r'(?P<day>\d{4}_\d\d_\d\d)/(?P<drive>\d{4}_\d\d_\d\d_drive_\d{4}_\w+)'
_BY_NUMBER: Final = re.compile(rf'{_DRIVE}\s+(?P<frame>\d+)\s+(?P<side>[lr])')
_STATIC: Final = re.compile(
    r'(?P<day>\d{4}_\d\d_\d\d)\s+(?P<drive>\d{4}_\d\d_\d\d_drive_\d{4}_\w+)\s+(?P<frame>\d+)'
)
_BY_FILE: Final = re.compile(rf'{_DRIVE}/image_0(?P<camera>[23])/data/(?P<frame>\d+)\.\w+(\s.*)?')


@dataclass(frozen=True, kw_only=True)
class KittiFrame:
    """One image of KITTI raw."""

    day: str
    """Folder of the day, 2011_09_26."""
    drive: str
    """Folder of the drive, 2011_09_26_drive_0052_sync."""
    frame: int
    camera: int
    """2 = left colour, 3 = right colour."""

    @property
    def stem(self) -> str:
        """File name without its ending."""
        return f'{self.frame:010d}'

    @property
    def key(self) -> str:
        """The frame in the form of split lists."""
        return f'{self.day}/{self.drive} {self.stem} {"l" if self.camera == LEFT else "r"}'


def find_split(root: Path, split: Path) -> Path:
    """The list that a split names: a file, or a list that the user has put beside the data.

    `eigen_benchmark` is `splits/eigen_benchmark/test_files.txt` of the folder of the data or of
    the one above it, as the lists of monodepth2 unpack, and `eigen_zhou/val` its val_files.txt;
    plain or .gz. The lists are not part of this package: their licence does not allow it.

    Args:
        root: Folder of the data.
        split: A path or a name.

    Raises:
        DataError: It is a name, and there is no such list.
    """
    folder, part = (split, 'test') if len(split.parts) == 1 else (split.parent, split.name)
    if split.is_file() or split.is_absolute():
        return split
    places = [
        place / 'splits' / folder / f'{part}_files.txt{ending}'
        for place in (root, root.parent)
        for ending in ('', '.gz')
    ]
    found = next((place for place in places if place.is_file()), None)
    if found is None and not split.suffix:
        message = (
            f'split {str(split)!r} is no file, and there is no list of that name ({places[0]} or '
            f'{places[2]}, or .gz); put the lists of monodepth2 there, or give the path of a list.'
        )
        raise DataError(message)
    return found or split


def read_split(path: Path) -> Sequence[KittiFrame]:
    """Read a list of frames.

    A line is `2011_09_26/2011_09_26_drive_0052_sync 0000000000 l` (l or r), or begins with the
    path of the image, `2011_09_26/.../image_02/data/0000000000.png`.

    Raises:
        DataError: The list is missing, empty or has a line of another form.
    """
    frames = []
    for number, line in read_lines(path):
        frame = _frame_of(line)
        if frame is None:
            message = (
                f'line {number} of split {path} is {line!r}; a line is '
                "'2011_09_26/2011_09_26_drive_0052_sync 0000000000 l' (l = left, r = right), or "
                'begins with the path of an image of such a drive.'
            )
            raise DataError(message)
        frames.append(frame)
    return frames


def read_excluded(path: Path) -> frozenset[KittiFrame]:
    """Read a list of frames to leave out.

    A line is one of a split, or `2011_09_26 2011_09_26_drive_0009_sync 0000000386` as in the
    static frames of SfMLearner, which stands for both cameras.

    Raises:
        DataError: The list is missing, empty or has a line of another form.
    """
    frames: set[KittiFrame] = set()
    for number, line in read_lines(path):
        frame = _frame_of(line)
        static = _STATIC.fullmatch(line)
        if frame is not None:
            frames.add(frame)
        elif static is not None:
            frames.update(
                KittiFrame(
                    day=static['day'],
                    drive=static['drive'],
                    frame=int(static['frame']),
                    camera=camera,
                )
                for camera in (LEFT, RIGHT)
            )
        else:
            message = (
                f'line {number} of list {path} is {line!r}; a line is '
                "'2011_09_26 2011_09_26_drive_0009_sync 0000000386', or one of a split."
            )
            raise DataError(message)
    return frozenset(frames)


def sequences(
    root: Path, frames: Sequence[KittiFrame], offsets: Sequence[int]
) -> dict[KittiFrame, tuple[KittiFrame, ...]]:
    """Find the neighbours of frames on disk, in the order of `offsets`.

    A frame that lacks one is not in the answer: at the ends of a drive, where a file is missing,
    and where timestamps.txt shows that the camera dropped frames.

    Raises:
        DataError: A file of time stamps is malformed.
    """
    drives: dict[tuple[str, str, int], set[int]] = {}
    found = {}
    for frame in frames:
        key = (frame.day, frame.drive, frame.camera)
        if key not in drives:
            drives[key] = _paired(root, key, offsets)
        if frame.frame in drives[key]:
            found[frame] = tuple(replace(frame, frame=frame.frame + offset) for offset in offsets)
    return found


def _paired(root: Path, key: tuple[str, str, int], offsets: Sequence[int]) -> set[int]:
    """Numbers of the frames of a drive that have all neighbours."""
    day, drive, camera = key
    folder = root / day / drive / f'image_{camera:02d}'
    numbers = {
        int(path.stem)
        for path in (folder / 'data').iterdir()
        if path.suffix in IMAGE_ENDINGS and path.stem.isdigit()
    }
    stamps_s = read_timestamps(root / day / drive, camera)
    whole = {number for number in numbers if all(number + offset in numbers for offset in offsets)}
    if stamps_s is None:
        return whole
    if len(stamps_s) <= max(numbers, default=-1):
        message = (
            f'{folder / "timestamps.txt"} has {len(stamps_s)} lines, but {folder} holds image '
            f'{max(numbers)}; unpack the drive again.'
        )
        raise DataError(message)
    windows = neighbour_indices(stamps_s, offsets)
    return {number for number in whole if windows[number] is not None}


def _frame_of(line: str) -> KittiFrame | None:
    """The frame a line of a split names; None when it is none."""
    line = line.replace('\\', '/')  # lists that Windows wrote
    match = _BY_NUMBER.fullmatch(line) or _BY_FILE.fullmatch(line)
    if match is None:
        return None
    found = match.groupdict()
    right = found.get('side') == 'r' or found.get('camera') == str(RIGHT)
    return KittiFrame(
        day=found['day'],
        drive=found['drive'],
        frame=int(found['frame']),
        camera=RIGHT if right else LEFT,
    )


def missing_cameras(
    root: Path, camera: Literal['left', 'right', 'both'], frames: Sequence[KittiFrame]
) -> Sequence[Path]:
    """Folders of cameras without an image, in drives that are there.

    Args:
        root: Folder of the days.
        camera: Which cameras are wanted.
        frames: What `frames_on_disk` found of them.
    """
    found = {(frame.day, frame.drive, frame.camera) for frame in frames}
    return [
        drive / f'image_{number:02d}'
        for drive in _drives(root)
        for number in _CAMERAS[camera]
        if (drive.parent.name, drive.name, number) not in found
    ]


def _drives(root: Path) -> Sequence[Path]:
    return sorted(root.glob('????_??_??/????_??_??_drive_*'))


def _held(root: Path) -> str:
    """Which cameras the drives have images of."""
    held = sorted({path.parents[1].name for path in root.glob('*/*_drive_*/image_0?/data/*')})
    return f'its drives hold {", ".join(held)}' if held else 'its drives hold no images'


def frames_on_disk(
    root: Path, camera: Literal['left', 'right', 'both'] = 'left'
) -> Sequence[KittiFrame]:
    """List every frame under `root`, in order of drive, camera and number.

    Raises:
        ConfigError: The camera is unknown.
        DataError: There is no frame.
    """
    if camera not in _CAMERAS:
        raise ConfigError(unknown_name('camera', camera, _CAMERAS))
    frames = [
        KittiFrame(
            day=path.parents[3].name,
            drive=path.parents[2].name,
            frame=int(path.stem),
            camera=number,
        )
        for drive in _drives(root)
        for number in _CAMERAS[camera]
        for path in sorted((drive / f'image_{number:02d}/data').glob('*'))
        if path.suffix in IMAGE_ENDINGS and path.stem.isdigit()
    ]
    if not frames:
        message = (
            f'{root} holds no KITTI raw frame of the {camera} camera; it must hold '
            f'2011_09_26/2011_09_26_drive_0052_sync/image_{_CAMERAS[camera][0]:02d}/data/'
            f'0000000000.png and the like, and {_held(root)}: unpack the images there, or give '
            'another camera.'
        )
        raise DataError(message)
    return frames
