# SPDX-License-Identifier: Apache-2.0
"""KITTI raw drives (Geiger et al., IJRR 2013) with lidar as ground truth, alone or in sequence.

Layout, as the official archives unpack:

    root/2011_09_26/calib_cam_to_cam.txt, calib_velo_to_cam.txt
    root/2011_09_26/2011_09_26_drive_0052_sync/image_02/data/0000000000.png (or .jpg)
    root/2011_09_26/2011_09_26_drive_0052_sync/velodyne_points/data/0000000000.bin

A scan is projected by P_rect * R_rect_00 * [R|T] and rounded to the pixel; the habit of then
subtracting one (the development kit is written in Matlab) misplaces the depth and is not followed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.ground_truth import describe_files
from depth_core.data.images import check_size, make_sample, require_folder, resize_together
from depth_core.data.kitti.files import (
    IMAGE_ENDINGS,
    calibration_files,
    read_annotated,
    read_calibration,
    read_projected,
    read_velodyne,
)
from depth_core.data.kitti.motion import (
    camera_poses,
    mean_speed,
    motion_files,
    read_timestamps,
    speed_at,
)
from depth_core.data.kitti.oxts import oxts_file
from depth_core.data.kitti.split import (
    KittiFrame,
    find_split,
    frames_on_disk,
    missing_cameras,
    read_excluded,
    read_split,
    sequences,
)
from depth_core.data.places import Place
from depth_core.data.sample import Sample
from depth_core.data.sequences import check_offsets, with_neighbours
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.geometry import crop_intrinsics, render_sparse_depth, transform
from depth_core.images import read_image
from depth_core.metrics import PROTOCOLS

GroundTruth: TypeAlias = Literal['velodyne', 'annotated', 'proj_depth', 'none']
GROUND_TRUTHS: Final = ('velodyne', 'annotated', 'proj_depth', 'none')
CROPS: Final = ('none', 'kb')

_MISSING_SHOWN: Final = 3

_BENCHMARK: Final = PROTOCOLS['kitti_window_garg_80m']

_LOG = logging.getLogger(__name__)


class KittiDataset:
    """Frames of KITTI raw, at native size unless another is given.

    A frame without ground truth (no scan, no annotation) stays in the data set, with no valid
    pixel, so that an evaluation can count it.

    Args:
        root: Folder that holds the days (2011_09_26, ...).
        split: List of frames, plain or .gz, or the name of one (`find_split`); every frame on
            disk when None.
        ground_truth: 'velodyne' projects the raw scan; 'annotated' reads the 16-bit PNG files of
            the depth benchmark (11 scans, cleaned); 'proj_depth' reads NPZ files of projected
            scans (`proj_depth/velodyne`); 'none' reads nothing, for training without labels.
        depth_root: Where `annotated` and `proj_depth` files are; `root` when None. The layout of
            the depth benchmark (train|val/<drive>/proj_depth/groundtruth) is understood.
        camera: Which cameras are taken when there is no split.
        crop: 'kb' cuts the bottom-centre window of 352 x 1216 of the KITTI benchmark from every
            image before it is resized.
        neighbours: Offsets, in frames of about 0.1 s, of the neighbouring frames to give too,
            with the time to them and the mean forward speed of the car on the way, NaN where the
            drive has no timestamps.txt or no oxts; their order is known anyway. Frames without
            all of them, at the ends of a drive or beside a gap, are left out; neighbours need not
            be in the split.
        poses: Give the camera poses of a sequence too, from oxts; frames without are left out.
        exclude: List of frames to leave out, plain or .gz, in the form of a split or of the
            static frames of SfMLearner (`day drive frame`, then for all cameras).
        min_speed_mps: Leave out frames at which the car is known to be slower: a camera that
            stands still says nothing about depth. Frames of unknown speed stay.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        ConfigError: An option is unknown.
        DataError: The folder, the split or a frame of the split is missing or malformed.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        split: Path | str | None = None,
        ground_truth: GroundTruth = 'velodyne',
        depth_root: Path | str | None = None,
        camera: Literal['left', 'right', 'both'] = 'left',
        crop: Literal['none', 'kb'] = 'none',
        neighbours: Sequence[int] = (),
        poses: bool = False,
        exclude: Path | str | None = None,
        min_speed_mps: float = 0.0,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        if ground_truth not in GROUND_TRUTHS:
            raise ConfigError(unknown_name('ground truth', ground_truth, GROUND_TRUTHS))
        if crop not in CROPS:
            raise ConfigError(unknown_name('crop', crop, CROPS))
        check_size(height, width)
        self.root = Path(root)
        require_folder(self.root, 'KITTI raw')
        self.ground_truth = ground_truth
        self.depth_root = self.root if depth_root is None else Path(depth_root)
        self.height, self.width = height, width
        self.crop = crop
        self.neighbours = check_offsets(neighbours)
        self._missing: Sequence[Path] = ()
        if split is None:
            self.frames: Sequence[KittiFrame] = frames_on_disk(self.root, camera)
            self._missing = missing_cameras(self.root, camera, self.frames)
        else:
            found = find_split(self.root, Path(split))
            self.frames = read_split(found)
            self._check_present(found)
        self._windows: dict[KittiFrame, tuple[KittiFrame, ...]] = {}
        if self.neighbours:
            self._windows = sequences(self.root, self.frames, self.neighbours)
            self._keep(lambda frame: frame in self._windows, 'have no neighbours on disk')
        self.poses = poses
        if poses and not self.neighbours:
            message = (
                'poses are those of a sequence, but no neighbours are asked for; give neighbours, '
                'as [-1, 1], or leave poses out.'
            )
            raise ConfigError(message)
        if poses:
            self._keep(lambda frame: self._camera_poses(frame) is not None, 'have no oxts')
        if exclude is not None:
            excluded = read_excluded(Path(exclude))
            self._keep(lambda frame: frame not in excluded, f'are in {exclude}')
        if min_speed_mps > 0.0:
            self._keep(
                lambda frame: not speed_at(self._drive(frame), frame.frame) < min_speed_mps,
                f'are slower than {min_speed_mps} m/s',
            )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self.frames[index]
        image, camera = self._picture(frame)
        if self.ground_truth == 'velodyne':
            # Points are projected at the size of the sample: no value is lost to resizing.
            image, camera = resize_together(image, camera, self.height, self.width)
            sample = make_sample(image, self._stored_depth(frame, camera), camera, key=frame.key)
        else:
            sample = make_sample(
                image,
                self._stored_depth(frame, camera),
                camera,
                key=frame.key,
                height=self.height,
                width=self.width,
                sparse=True,
            )
        return self._in_sequence(sample, frame) if self.neighbours else sample

    def _picture(self, frame: KittiFrame) -> tuple[Uint8Array, Intrinsics]:
        """The image of a frame and its camera, cut to the window asked for."""
        path = self._image_path(frame)
        if path is None:
            message = (
                f'the image of frame {frame.key} was removed from {self.root} after the data set '
                'was opened; restore it.'
            )
            raise DataError(message)
        image = read_image(path)
        camera = read_calibration(self.root / frame.day, frame.camera).intrinsics
        if image.shape[:2] != (camera.height, camera.width):
            message = (
                f'image {path} is {image.shape[0]}x{image.shape[1]}, but its calibration is for '
                f'{camera.height}x{camera.width}; keep KITTI images at native size and let the '
                'data set resize them (height, width).'
            )
            raise DataError(message)
        if self.crop == 'none':
            return image, camera
        rows, columns = _benchmark_window((camera.height, camera.width))
        image = np.ascontiguousarray(image[rows, columns])
        height, width = image.shape[:2]
        return image, crop_intrinsics(
            camera, top=rows.start, left=columns.start, height=height, width=width
        )

    def _in_sequence(self, sample: Sample, frame: KittiFrame) -> Sample:
        """Put images, times, speeds and poses of the neighbours beside a frame."""
        others = self._windows[frame]
        drive = self._drive(frame)
        pictures = [
            resize_together(*self._picture(other), self.height, self.width)[0] for other in others
        ]
        stamps_s = read_timestamps(drive, frame.camera)
        dt_s = [
            float('nan') if stamps_s is None else stamps_s[other.frame] - stamps_s[frame.frame]
            for other in others
        ]
        return with_neighbours(
            sample,
            pictures,
            offsets=self.neighbours,
            dt_s=dt_s,
            speed_mps=[mean_speed(drive, frame.frame, other.frame) for other in others],
            poses=self._camera_poses(frame) if self.poses else None,
        )

    def _camera_poses(self, frame: KittiFrame) -> NDArray[np.float64] | None:
        """[1 + N, 4, 4] of a frame and its neighbours."""
        frames = (frame, *self._windows.get(frame, ()))
        calibration = read_calibration(self.root / frame.day, frame.camera)
        return camera_poses(
            self._drive(frame),
            tuple(item.frame for item in frames),
            calibration.camera_from_velodyne,
        )

    def place(self, index: int) -> Place | None:
        """Where the camera was by GPS and inertial unit; None where there is no oxts."""
        frame = self.frames[index]
        calibration = read_calibration(self.root / frame.day, frame.camera)
        poses = camera_poses(self._drive(frame), (frame.frame,), calibration.camera_from_velodyne)
        if poses is None:
            return None
        return Place(world=f'{frame.drive} camera {frame.camera}', camera_to_world=poses[0])

    def _drive(self, frame: KittiFrame) -> Path:
        return self.root / frame.day / frame.drive

    def _keep(self, wanted: Callable[[KittiFrame], bool], reason: str) -> None:
        """Leave out the frames that are not wanted, and say how many."""
        kept = [frame for frame in self.frames if wanted(frame)]
        if len(kept) < len(self.frames):
            _LOG.info(
                '%d of %d frames %s: left out',
                len(self.frames) - len(kept),
                len(self.frames),
                reason,
            )
        if not kept:
            message = (
                f'all {len(self.frames)} frames of {self.root} {reason}, so that none is left; '
                'give a longer drive, other neighbours, or a weaker filter.'
            )
            raise DataError(message)
        self.frames = kept

    def has_depth(self, index: int) -> bool:
        """Whether there is a file of ground truth for the frame at `index`."""
        path = self._depth_path(self.frames[index])
        return path is not None and path.is_file()

    def depth_looked_for(self) -> str:
        """Which files of ground truth are looked for, and what is there instead."""
        if self.ground_truth == 'none':
            return (
                "ground_truth is 'none', which reads none; give velodyne, annotated or proj_depth."
            )
        frames = (frame for index, frame in enumerate(self.frames) if not self.has_depth(index))
        frame = next(frames)
        path = self._depth_path(frame)
        assert path is not None  # noqa: S101  only 'none' has no path
        drive = self._drive(frame)
        others = [item.name for item in drive.iterdir() if item.is_dir()]
        folder = path.parent
        there = folder.is_dir()
        beside = f'has {describe_files(folder.iterdir())}' if there else 'does not exist'
        return (
            f'ground_truth {self.ground_truth} looks for {path} (its folder {beside}; {drive} '
            f'holds {", ".join(sorted(others))}); unpack the ground truth of the drives there, '
            'or give another ground_truth or depth_root.'
        )

    def remarks(self) -> Sequence[str]:
        """Cameras without images, and frames whose place is not known."""
        said = []
        if self._missing:
            named = ', '.join(map(str, self._missing[:_MISSING_SHOWN]))
            more = ', ...' if len(self._missing) > _MISSING_SHOWN else ''
            said.append(
                f'{len(self._missing)} folders of a camera that is asked for have no image '
                f'({named}{more}): unpack them, or give a split of the frames that are there'
            )
        paths = [oxts_file(self._drive(frame), frame.frame) for frame in self.frames]
        lost = [path for path in paths if not path.is_file()]
        if lost:
            said.append(
                f'{len(lost)} of {len(paths)} frames have no oxts, the first {lost[0]}: neither '
                'their speed nor their place is known, nor flicker; unpack oxts of the drives'
            )
        return said

    def sources(self, index: int) -> tuple[Path, ...]:
        """The files that the sample at `index` is made from."""
        frame = self.frames[index]
        drive = self._drive(frame)
        frames = (frame, *self._windows.get(frame, ()))
        images = (self._image_path(item) for item in frames)
        paths = [path for path in (*images, self._depth_path(frame)) if path is not None]
        paths += calibration_files(self.root / frame.day)
        if self.neighbours:
            paths += motion_files(drive, frame.camera, [item.frame for item in frames])
        return tuple(paths)

    def _stored_depth(self, frame: KittiFrame, camera: Intrinsics) -> Float32Array | None:
        """The ground truth of a frame from its file, in the window asked for."""
        path = self._depth_path(frame)
        if path is None or not path.is_file():
            return None
        if self.ground_truth == 'velodyne':
            calibration = read_calibration(self.root / frame.day, frame.camera)
            points = transform(read_velodyne(path), calibration.camera_from_velodyne)
            return render_sparse_depth(points, camera)
        if self.ground_truth == 'annotated':
            depth_m = read_annotated(path)
        else:
            depth_m = read_projected(path)
        return depth_m if self.crop == 'none' else depth_m[_benchmark_window(depth_m.shape)]

    def _depth_path(self, frame: KittiFrame) -> Path | None:
        """Where the ground truth of a frame is, or would be; None when none is asked for."""
        if self.ground_truth == 'none':
            return None
        if self.ground_truth == 'velodyne':
            return self._drive(frame) / f'velodyne_points/data/{frame.stem}.bin'
        kind, suffix = {
            'annotated': ('groundtruth', 'png'),
            'proj_depth': ('velodyne', 'npz'),
        }[self.ground_truth]
        inside = f'{frame.drive}/proj_depth/{kind}/image_{frame.camera:02d}/{frame.stem}.{suffix}'
        paths = [self.depth_root / folder / inside for folder in (frame.day, '.', 'train', 'val')]
        return next((path for path in paths if path.is_file()), paths[0])

    def _image_path(self, frame: KittiFrame) -> Path | None:
        folder = self.root / frame.day / frame.drive / f'image_{frame.camera:02d}/data'
        paths = (folder / f'{frame.stem}{suffix}' for suffix in IMAGE_ENDINGS)
        return next((path for path in paths if path.is_file()), None)

    def _check_present(self, split: Path) -> None:
        missing = [frame.key for frame in self.frames if self._image_path(frame) is None]
        if missing:
            message = (
                f'{len(missing)} of {len(self.frames)} frames of split {split} have no image '
                f'under {self.root}, first: {", ".join(missing[:_MISSING_SHOWN])}; unpack these '
                'drives there, or give a split of the frames that are there.'
            )
            raise DataError(message)


def _benchmark_window(size: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the bottom-centre window of the KITTI benchmark."""
    assert _BENCHMARK.window is not None  # noqa: S101  it is what the protocol is about
    top, left = _BENCHMARK.window_origin(size[0], size[1])
    return slice(top, top + _BENCHMARK.window[0]), slice(left, left + _BENCHMARK.window[1])
