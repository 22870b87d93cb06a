# SPDX-License-Identifier: Apache-2.0
"""KITTI odometry: sequences with poses, and lidar where it is unpacked too.

    root/sequences/06/calib.txt, times.txt, image_2/000000.png, velodyne/000000.bin
    root/poses/06.txt

`root` may be one sequence as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.data.images import check_size, make_sample, require_folder, resize_together
from depth_core.data.kitti.files import read_velodyne
from depth_core.data.kitti.poses import read_poses
from depth_core.data.kitti.recording import Recording, open_recording
from depth_core.data.places import Place
from depth_core.data.sample import Sample
from depth_core.data.sequences import check_offsets, with_neighbours
from depth_core.data.text import read_lines
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.files import visible_paths
from depth_core.geometry import render_sparse_depth, transform
from depth_core.images import read_image

_CAMERAS: Final = {'left': 2, 'right': 3, 'gray_left': 0, 'gray_right': 1}
_SIDES: Final = {'l': 2, 'r': 3}
_WORDS: Final = 3


@dataclass(frozen=True, kw_only=True)
class OdometryFrame:
    """One image."""

    sequence: str
    frame: int
    camera: int

    @property
    def key(self) -> str:
        """As `06/image_2/000012`."""
        return f'{self.sequence}/image_{self.camera}/{self.frame:06d}'


class KittiOdometryDataset:
    """The images of sequences, with projected scans as ground truth where there are any.

    A frame without a scan stays, with no valid pixel.

    Args:
        root: Folder that holds `sequences`, or one sequence.
        split: List of frames, a line `9 0 l`: sequence, frame, l or r; all when None.
        camera: left and right are the colour cameras, gray_left and gray_right the others; of a
            list its lines say.
        neighbours: Offsets, in frames, of the neighbours to give too, with times and, where poses
            are known, speeds and poses; frames that lack one are left out.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        ConfigError: An option is unknown.
        DataError: A folder, a calibration, the list or a frame of it is missing or malformed.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        split: Path | str | None = None,
        camera: Literal['left', 'right', 'gray_left', 'gray_right'] = 'left',
        neighbours: Sequence[int] = (),
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        if camera not in _CAMERAS:
            raise ConfigError(unknown_name('camera', camera, _CAMERAS))
        check_size(height, width)
        self.root = Path(root)
        require_folder(self.root, 'KITTI odometry')
        self.height, self.width = height, width
        self.neighbours = check_offsets(neighbours)
        self._sequences: dict[str, Recording] = {}
        self._poses: dict[str, NDArray[np.float64] | None] = {}
        frames = self._of_list(Path(split)) if split else self._on_disk(_CAMERAS[camera])
        self.frames = [frame for frame in frames if self._has_neighbours(frame)]
        if not self.frames:
            raise DataError(self._nothing(len(frames), camera))

    def _nothing(self, frames: int, camera: str) -> str:
        """Say why there is nothing to give."""
        numbers = {number: name for name, number in _CAMERAS.items()}
        held = sorted({item for one in self._sequences.values() for item in one.cameras})
        if held and _CAMERAS[camera] not in held:
            there = ', '.join(f'image_{item} ({numbers[item]})' for item in held)
            return (
                f'{self.root} has no images of camera {camera} (image_{_CAMERAS[camera]}), but '
                f'{there}; unpack its images, or give another camera.'
            )
        return (
            f'none of {frames} frames of {self.root} has camera {camera} and neighbours '
            f'at {list(self.neighbours)}; unpack its images, or ask for other neighbours.'
        )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self.frames[index]
        recording = self._sequences[frame.sequence]
        rig, track = recording.cameras[frame.camera]
        image, camera = resize_together(
            read_image(track.files[frame.frame]), rig.rectified, self.height, self.width
        )
        depth_m: Float32Array | None = None
        if self.has_depth(index) and rig.camera_from_lidar is not None:
            # Points are projected at the size of the sample: no value is lost to resizing.
            points_m = read_velodyne(self._scan(frame))
            depth_m = render_sparse_depth(transform(points_m, rig.camera_from_lidar), camera)
        sample = make_sample(image, depth_m, camera, key=frame.key)
        return self._in_sequence(sample, frame) if self.neighbours else sample

    def has_depth(self, index: int) -> bool:
        """Whether there is a scan for the frame at `index`, and the calibration of the lidar."""
        frame = self.frames[index]
        rig, _ = self._sequences[frame.sequence].cameras[frame.camera]
        return rig.camera_from_lidar is not None and self._scan(frame).is_file()

    def depth_looked_for(self) -> str:
        """Which scan is missing."""
        places = range(len(self.frames))
        frame = next(self.frames[index] for index in places if not self.has_depth(index))
        scan = self._scan(frame)
        if scan.is_file():
            calibration = scan.parents[1] / 'calib.txt'
            return f'{calibration} has no Tr, which says where the lidar is; unpack it again.'
        return f'{scan} is not there; unpack the Velodyne archive of KITTI odometry.'

    def sources(self, index: int) -> tuple[Path, ...]:
        """The files that the sample at `index` is made from."""
        frame = self.frames[index]
        recording = self._sequences[frame.sequence]
        _, track = recording.cameras[frame.camera]
        images = [track.files[frame.frame + step] for step in (0, *self.neighbours)]
        scan = self._scan(frame)
        scans = [scan] if scan.is_file() else []
        return (*images, *scans, recording.root / 'calib.txt', recording.root / 'times.txt')

    def _in_sequence(self, sample: Sample, frame: OdometryFrame) -> Sample:
        """Put images, times, speeds and poses of the neighbours beside a frame."""
        recording = self._sequences[frame.sequence]
        rig, track = recording.cameras[frame.camera]
        others = [frame.frame + step for step in self.neighbours]
        pictures = [
            resize_together(
                read_image(track.files[other]), rig.rectified, self.height, self.width
            )[0]
            for other in others
        ]
        begin_ns = track.stamps_ns[frame.frame]
        dt_s = [(track.stamps_ns[other] - begin_ns) * 1e-9 for other in others]
        poses = self._camera_poses(frame, rig.camera_from_reference)
        speeds = [float('nan')] * len(others)
        if poses is not None:
            ways_m = np.linalg.norm(poses[1:, :3, 3] - poses[0, :3, 3], axis=1)
            speeds = [
                float(way / abs(dt)) if dt else float('nan')
                for way, dt in zip(ways_m, dt_s, strict=True)
            ]
        return with_neighbours(
            sample,
            pictures,
            offsets=self.neighbours,
            dt_s=dt_s,
            speed_mps=speeds,
            poses=poses,
        )

    def _camera_poses(
        self, frame: OdometryFrame, camera_from_reference: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """[1 + N, 4, 4] camera-to-world of a frame and its neighbours; None = not known."""
        stated = self._poses[frame.sequence]
        numbers = [frame.frame + step for step in (0, *self.neighbours)]
        if stated is None or max(numbers) >= len(stated):
            return None
        poses: NDArray[np.float64] = stated[numbers] @ np.linalg.inv(camera_from_reference)
        return poses

    def place(self, index: int) -> Place | None:
        """Where the camera was, by the poses of the sequence; None where it has none."""
        frame = self.frames[index]
        rig, _ = self._sequences[frame.sequence].cameras[frame.camera]
        stated = self._poses[frame.sequence]
        if stated is None or frame.frame >= len(stated):
            return None
        pose = stated[frame.frame] @ np.linalg.inv(rig.camera_from_reference)
        world = f'sequence {frame.sequence} camera {frame.camera}'
        return Place(world=world, camera_to_world=pose)

    def _scan(self, frame: OdometryFrame) -> Path:
        root = self._sequences[frame.sequence].root
        return root / f'velodyne/{frame.frame:06d}.bin'

    def _has_neighbours(self, frame: OdometryFrame) -> bool:
        cameras = self._sequences[frame.sequence].cameras
        files = cameras[frame.camera][1].files if frame.camera in cameras else {}
        return all(frame.frame + step in files for step in (0, *self.neighbours))

    def _on_disk(self, camera: int) -> list[OdometryFrame]:
        """The frames of a camera in all sequences.

        Raises:
            DataError: There is no sequence.
        """
        if (self.root / 'calib.txt').is_file():
            roots = [self.root]
        else:
            roots = [path.parent for path in visible_paths(self.root, 'sequences/*/calib.txt')]
        if not roots:
            message = (
                f'{self.root} holds no sequence of KITTI odometry; it must hold '
                'sequences/00/calib.txt, times.txt and image_2, or be one sequence.'
            )
            raise DataError(message)
        frames = []
        for root in roots:
            recording = self._opened(root)
            files = recording.cameras[camera][1].files if camera in recording.cameras else {}
            frames += [
                OdometryFrame(sequence=recording.root.name, frame=number, camera=camera)
                for number in files
            ]
        return frames

    def _opened(self, root: Path) -> Recording:
        recording = open_recording(root)
        self._sequences[recording.root.name] = recording
        self._poses[recording.root.name] = read_poses(recording.root)
        return recording

    def _of_list(self, split: Path) -> list[OdometryFrame]:
        """The frames of a list.

        Raises:
            DataError: A line is of another form, or its image is not there.
        """
        frames = []
        for number, line in read_lines(split):
            words = line.split()
            known = len(words) == _WORDS and words[0].isdigit() and words[1].isdigit()
            if not known or words[2] not in _SIDES:
                message = (
                    f'line {number} of list {split} is {line!r}; a line is sequence, frame and '
                    "side, as '9 0 l'."
                )
                raise DataError(message)
            name = f'{int(words[0]):02d}'
            if name not in self._sequences:
                self._opened(self.root / 'sequences' / name)
            frame = OdometryFrame(sequence=name, frame=int(words[1]), camera=_SIDES[words[2]])
            cameras = self._sequences[name].cameras
            if frame.camera not in cameras or frame.frame not in cameras[frame.camera][1].files:
                message = (
                    f'line {number} of list {split} names {frame.key}, which is not under '
                    f'{self.root}; complete the data set or shorten the list.'
                )
                raise DataError(message)
            frames.append(frame)
        return frames
