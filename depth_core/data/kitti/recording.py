# SPDX-License-Identifier: Apache-2.0
"""What a KITTI drive or odometry sequence holds on disk: files of each sensor, with their times.

2011_09_26/2011_09_26_drive_0052_sync       rectified images, one measurement of each a frame
2011_09_26/2011_09_26_drive_0052_extract    images as taken, every sensor at its own rate
sequences/06 (with poses/06.txt beside)     rectified images and camera poses
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from depth_core.data.kitti.files import IMAGE_ENDINGS
from depth_core.data.kitti.rig import CAMERAS, RigCamera, read_odometry_camera, read_raw_camera
from depth_core.data.kitti.stamps import NANOSECONDS, midnight_ns, read_stamps, read_times
from depth_core.errors import DataError
from depth_core.files import visible_paths
from depth_core.images import ImageError, read_header

_DRIVE: Final = re.compile(r'(\d{4}_\d\d_\d\d)_drive_\d{4}_(sync|extract)')
_PERIOD_NS: Final = 100_000_000
"""Of the sensors of KITTI, where no times are stated."""
_ODOMETRY_DAY: Final = '2011_09_26'
"""The day odometry sequences are put at: they say no date."""


class Kind(Enum):
    """What sort of recording it is."""

    SYNC = 'sync'
    EXTRACT = 'extract'
    ODOMETRY = 'odometry'


@dataclass(frozen=True, kw_only=True)
class Track:
    """The measurements of one sensor."""

    name: str
    files: Mapping[int, Path]
    """By number of the frame."""
    stamps_ns: Mapping[int, int] = field(default_factory=dict)
    """Of the frames that have a file, nanoseconds since 1970."""

    def only(self, numbers: Iterable[int]) -> Track:
        """The same of some frames."""
        chosen = sorted(numbers)
        return Track(
            name=self.name,
            files={number: self.files[number] for number in chosen},
            stamps_ns={number: self.stamps_ns[number] for number in chosen},
        )


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A drive or sequence."""

    root: Path
    kind: Kind
    cameras: Mapping[int, tuple[RigCamera, Track]]
    """Those that have images, by number."""
    lidar: Track | None
    sweep_ns: Mapping[int, tuple[int, int]]
    """When each scan began and ended, of those where that is stated."""
    oxts: Track | None
    times_ns: Sequence[int] = ()
    """Of all frames of an odometry sequence."""
    remarks: Sequence[str]
    """What is missing or made up, a sentence each."""

    @property
    def day(self) -> Path:
        """Folder of the calibration of KITTI raw."""
        return self.root.parent


def open_recording(root: Path) -> Recording:
    """Look at a recording.

    Args:
        root: Folder of a drive of KITTI raw, or of a sequence of KITTI odometry.

    Raises:
        DataError: It is none, or its calibration or times are missing or malformed.
    """
    match = _DRIVE.fullmatch(root.resolve().name)
    if match is not None and root.is_dir():
        return _open_raw(root.resolve(), Kind(match[2]), match[1])
    if (root / 'calib.txt').is_file() and (root / 'times.txt').is_file():
        return _open_odometry(root.resolve())
    raise DataError(_no_recording(root))


def annotated_track(recording: Recording, number: int, depth_root: Path | None) -> Track | None:
    """The annotated depth images of a camera of a drive; None when there are none.

    Args:
        recording: A drive of KITTI raw.
        number: Of the camera.
        depth_root: Folder that holds the drives, or train and val, of the depth benchmark; the
            folder of the days when None.
    """
    inside = f'{recording.root.name}/proj_depth/groundtruth'
    root = recording.day.parent if depth_root is None else depth_root
    for folder in (root / recording.day.name, root, root / 'train', root / 'val'):
        track = _track(folder / inside, f'image_{number:02d}', ('.png',), inside='')
        if track is not None:
            return track
    return None


def _no_recording(root: Path) -> str:
    if not root.is_dir():
        found = 'is a file' if root.exists() else 'does not exist'
        return f'KITTI drive {root} {found}; give the folder of one drive or sequence.'
    drives = [
        *visible_paths(root, '*_drive_*'),
        *visible_paths(root, '*/*_drive_*'),
        *(path.parent for path in visible_paths(root, '*/calib.txt')),
        *(path.parent for path in visible_paths(root, 'sequences/*/calib.txt')),
    ]
    if drives:
        names = ', '.join(str(path) for path in drives[:8])
        return f'{root} is no single drive; it holds {names}: give one of them.'
    return (
        f'{root} is no KITTI recording: it is neither a drive of KITTI raw '
        '(2011_09_26/2011_09_26_drive_0052_sync or _extract) nor a sequence of KITTI odometry, '
        'with calib.txt and times.txt (sequences/06).'
    )


def _open_raw(root: Path, kind: Kind, day: str) -> Recording:
    remarks: list[str] = []
    tracks = {
        number: track
        for number in CAMERAS
        if (track := _track(root, f'image_{number:02d}', IMAGE_ENDINGS)) is not None
    }
    lidar = _track(root, 'velodyne_points', ('.bin', '.txt'))
    oxts = _track(root, 'oxts', ('.txt',))
    if not tracks:
        message = (
            f'drive {root} holds no image; it must hold image_02/data/0000000000.png and the '
            'like: the drive is not unpacked, or only partly.'
        )
        raise DataError(message)
    everything = [*tracks.values(), *(track for track in (lidar, oxts) if track is not None)]
    stamped = _stamped(root, everything, kind, day, remarks)
    for track in everything:
        _remark_gaps(track, remarks)
    return Recording(
        root=root,
        kind=kind,
        cameras={
            number: (read_raw_camera(root.parent, number), stamped[track.name])
            for number, track in tracks.items()
        },
        lidar=lidar and stamped[lidar.name],
        sweep_ns=_sweeps(root, lidar) if lidar else {},
        oxts=oxts and stamped[oxts.name],
        remarks=remarks,
    )


def _open_odometry(root: Path) -> Recording:
    remarks = [
        f'sequence {root.name} says no date: its first image is put at {_ODOMETRY_DAY} 00:00 UTC'
    ]
    start_ns = midnight_ns(_ODOMETRY_DAY)
    assert start_ns is not None  # noqa: S101  a constant
    times = [start_ns + time_ns for time_ns in read_times(root / 'times.txt')]

    def stamped(track: Track) -> Track:
        last = max(track.files)
        if last >= len(times):
            raise DataError(_too_few(root / 'times.txt', len(times), track.files[last]))
        _remark_gaps(track, remarks)
        stamps = {number: times[number] for number in track.files}
        return Track(name=track.name, files=track.files, stamps_ns=stamps)

    cameras = {}
    for number in CAMERAS:
        track = _track(root, f'image_{number}', IMAGE_ENDINGS, inside='')
        if track is not None:
            size = _size_of(next(iter(track.files.values())))
            cameras[number] = (read_odometry_camera(root, number, size), stamped(track))
    if not cameras:
        message = f'sequence {root} holds no image_0 to image_3; unpack its images there.'
        raise DataError(message)
    lidar = _track(root, 'velodyne', ('.bin',), inside='')
    return Recording(
        root=root,
        kind=Kind.ODOMETRY,
        cameras=cameras,
        lidar=None if lidar is None else stamped(lidar),
        sweep_ns={},
        oxts=None,
        times_ns=times,
        remarks=remarks,
    )


def _track(root: Path, name: str, endings: Sequence[str], *, inside: str = 'data') -> Track | None:
    """The files of a sensor; None when it has none."""
    folder = root / name / inside
    found: dict[int, Path] = {}
    for ending in reversed(endings):  # of several files of a frame the first ending counts
        for path in visible_paths(folder, f'*{ending}'):
            if path.stem.isdigit() and path.is_file():
                found[int(path.stem)] = path
    return Track(name=name, files=dict(sorted(found.items()))) if found else None


def _stamped(
    root: Path, tracks: Sequence[Track], kind: Kind, day: str, remarks: list[str]
) -> dict[str, Track]:
    """Each sensor with the times of its measurements, its own or those that stand for them.

    Raises:
        DataError: A file of times is malformed or shorter than the measurements, or is missing
            where nothing can stand for it.
    """
    paths = {track.name: root / track.name / 'timestamps.txt' for track in tracks}
    read = {name: read_stamps(path) for name, path in paths.items() if path.is_file()}
    answer = {}
    for track in tracks:
        stamps: Sequence[int | None] | None = read.get(track.name)
        if stamps is None and kind is Kind.EXTRACT:
            message = (
                f'{paths[track.name]} is missing, and every sensor of an unsynchronised drive '
                'has times of its own; unpack the drive again.'
            )
            raise DataError(message)
        if stamps is None and read:
            name, stamps = next(iter(read.items()))
            remarks.append(f'{paths[track.name]} is missing: the times of {name} stand for it')
        if stamps is None:
            stamps = _made_up(track, day)
            remarks.append(
                f'{paths[track.name]} is missing: its frames are put at 10 a second from {day} '
                '00:00 UTC'
            )
        last = max(track.files)
        if last >= len(stamps):
            raise DataError(_too_few(paths[track.name], len(stamps), track.files[last]))
        if last + 1 < len(stamps) and track.name in read:
            remarks.append(
                f'{track.name} ends at frame {last}, and {paths[track.name]} lists '
                f'{len(stamps)} frames: the drive may be unpacked only partly'
            )
        times = {number: stamp for number in track.files if (stamp := stamps[number]) is not None}
        if len(times) < len(track.files):
            remarks.append(
                f'{len(track.files) - len(times)} measurements of {track.name} have no time in '
                f'{paths[track.name]} and are left out'
            )
        files = {number: track.files[number] for number in times}
        answer[track.name] = Track(name=track.name, files=files, stamps_ns=times)
    return answer


def _made_up(track: Track, day: str) -> Sequence[int | None]:
    start_ns = midnight_ns(day)
    if start_ns is None:
        message = f'{track.name} has no timestamps.txt, and {day} is no day to begin at.'
        raise DataError(message)
    # A stamp of 0 would mean that it was never set, and each day of KITTI is long after 1970.
    return [start_ns + number * _PERIOD_NS for number in range(max(track.files) + 1)]


def _too_few(path: Path, lines: int, last: Path) -> str:
    return (
        f'{path} has {lines} lines, but there is {last}; the file is truncated: unpack it again.'
    )


def _sweeps(root: Path, lidar: Track) -> dict[int, tuple[int, int]]:
    """When scans began and ended, where the drive says so."""
    paths = [root / lidar.name / f'timestamps_{end}.txt' for end in ('start', 'end')]
    if not all(path.is_file() for path in paths):
        return {}
    starts, ends = (read_stamps(path) for path in paths)
    return {
        number: (start, end)
        for number, (start, end) in enumerate(zip(starts, ends, strict=False))
        if start is not None and end is not None and 0 < end - start < NANOSECONDS
    }


def _remark_gaps(track: Track, remarks: list[str]) -> None:
    numbers = track.files
    missing = [number for number in range(max(numbers)) if number not in numbers]
    if missing:
        remarks.append(
            f'{track.name} lacks {len(missing)} of the frames 0 to {max(numbers)}, first '
            f'{missing[0]}: the drive may be unpacked only partly'
        )


def _size_of(path: Path) -> tuple[int, int]:
    try:
        header = read_header(path.read_bytes())
    except (OSError, ImageError) as error:
        message = f'image {path} cannot be read ({error}); unpack it again.'
        raise DataError(message) from error
    return header.height, header.width
