# SPDX-License-Identifier: Apache-2.0
"""KITTI raw drives (Geiger et al., IJRR 2013) with lidar as ground truth.

Layout, as the official archives unpack:

    root/2011_09_26/calib_cam_to_cam.txt, calib_velo_to_cam.txt
    root/2011_09_26/2011_09_26_drive_0052_sync/image_02/data/0000000000.png (or .jpg)
    root/2011_09_26/2011_09_26_drive_0052_sync/velodyne_points/data/0000000000.bin

A scan is projected by P_rect * R_rect_00 * [R|T] and rounded to the pixel; the habit of then
subtracting one (the development kit is written in Matlab) misplaces the depth and is not followed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.images import (
    check_size,
    depth_plane,
    make_sample,
    read_depth_png,
    read_image,
    require_folder,
    resize_together,
)
from depth_core.data.kitti_split import KittiFrame, frames_on_disk, read_split
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.geometry import (
    intrinsics_from_matrix,
    render_sparse_depth,
    transform,
)

GroundTruth: TypeAlias = Literal['velodyne', 'annotated', 'proj_depth']
GROUND_TRUTHS: Final = ('velodyne', 'annotated', 'proj_depth')

_ANNOTATED_UNIT_M: Final = 1.0 / 256.0
_POINT_BYTES: Final = 16
_MISSING_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class KittiCalibration:
    """What a day's two calibration files say about one rectified camera."""

    intrinsics: Intrinsics
    """Of the rectified image, from P_rect."""
    camera_from_velodyne: NDArray[np.float64]
    """[4, 4] lidar frame to the rectified frame of this camera, metres."""


class KittiDataset:
    """Frames of KITTI raw, at native size unless told otherwise.

    A frame without ground truth (no scan, no annotation) stays in the data set, with no valid
    pixel, so that an evaluation can count it.

    Args:
        root: Folder that holds the days (2011_09_26, ...).
        split: List of frames, plain or .gz; every frame on disk when None.
        ground_truth: 'velodyne' projects the raw scan; 'annotated' reads the 16-bit PNG files of
            the depth benchmark (11 scans, cleaned); 'proj_depth' reads NPZ files of projected
            scans (`proj_depth/velodyne`).
        depth_root: Where `annotated` and `proj_depth` files are; `root` when None. The layout of
            the depth benchmark (train|val/<drive>/proj_depth/groundtruth) is understood.
        camera: Which cameras are taken when there is no split.
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
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        if ground_truth not in GROUND_TRUTHS:
            raise ConfigError(unknown_name('ground truth', ground_truth, GROUND_TRUTHS))
        check_size(height, width)
        self.root = Path(root)
        require_folder(self.root, 'KITTI raw')
        self.ground_truth = ground_truth
        self.depth_root = self.root if depth_root is None else Path(depth_root)
        self.height, self.width = height, width
        if split is None:
            self.frames: Sequence[KittiFrame] = frames_on_disk(self.root, camera)
        else:
            self.frames = read_split(Path(split))
            self._check_present(Path(split))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        frame = self.frames[index]
        path = self._image_path(frame)
        if path is None:
            message = (
                f'the image of frame {frame.key} was removed from {self.root} after the data set '
                'was opened; restore it.'
            )
            raise DataError(message)
        image = read_image(path)
        calibration = _calibration(self.root / frame.day, frame.camera)
        camera = calibration.intrinsics
        if image.shape[:2] != (camera.height, camera.width):
            message = (
                f'image {path} is {image.shape[0]}x{image.shape[1]}, but its calibration is for '
                f'{camera.height}x{camera.width}; keep KITTI images at native size and let the '
                'data set resize them (height, width).'
            )
            raise DataError(message)
        if self.ground_truth == 'velodyne':
            # Points are projected at the size of the sample: no value is lost to resizing.
            image, camera = resize_together(image, camera, self.height, self.width)
            return make_sample(
                image, self._projected_scan(frame, calibration, camera), camera, key=frame.key
            )
        return make_sample(
            image,
            self._stored_depth(frame),
            camera,
            key=frame.key,
            height=self.height,
            width=self.width,
            sparse=True,
        )

    def _projected_scan(
        self, frame: KittiFrame, calibration: KittiCalibration, camera: Intrinsics
    ) -> Float32Array | None:
        path = self.root / frame.day / frame.drive / f'velodyne_points/data/{frame.stem}.bin'
        if not path.is_file():
            return None
        points = transform(read_velodyne(path), calibration.camera_from_velodyne)
        return render_sparse_depth(points, camera)

    def _stored_depth(self, frame: KittiFrame) -> Float32Array | None:
        kind, suffix = {
            'annotated': ('groundtruth', 'png'),
            'proj_depth': ('velodyne', 'npz'),
        }[self.ground_truth]
        inside = f'{frame.drive}/proj_depth/{kind}/image_{frame.camera:02d}/{frame.stem}.{suffix}'
        for folder in (frame.day, '.', 'train', 'val'):
            path = self.depth_root / folder / inside
            if path.is_file():
                if suffix == 'png':
                    return read_depth_png(path, unit_m=_ANNOTATED_UNIT_M)
                return _read_projected(path)
        return None

    def _image_path(self, frame: KittiFrame) -> Path | None:
        folder = self.root / frame.day / frame.drive / f'image_{frame.camera:02d}/data'
        paths = (folder / f'{frame.stem}{suffix}' for suffix in ('.png', '.jpg'))
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


def read_velodyne(path: Path) -> NDArray[np.float32]:
    """Read a scan (x, y, z, reflectance as float32) as [N, 3] metres in the lidar frame.

    Raises:
        DataError: It is missing, empty or truncated.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f'scan {path} cannot be read: {error.strerror or error}; check the data set.'
        raise DataError(message) from error
    if not content or len(content) % _POINT_BYTES:
        message = (
            f'scan {path} has {len(content)} bytes, which is not a positive multiple of '
            f'{_POINT_BYTES} (x, y, z, reflectance as float32); it is truncated: unpack it again.'
        )
        raise DataError(message)
    return np.frombuffer(content, '<f4').reshape(-1, 4)[:, :3]


def read_calibration(day: Path, camera: int) -> KittiCalibration:
    """Read the calibration of one camera (2 = left colour, 3 = right colour) of a day.

    Raises:
        DataError: A file or an entry is missing or malformed.
    """
    cameras = _CalibrationFile(day / 'calib_cam_to_cam.txt')
    lidar = _CalibrationFile(day / 'calib_velo_to_cam.txt')
    projection = cameras.numbers(f'P_rect_{camera:02d}', 12).reshape(3, 4)
    width, height = cameras.numbers(f'S_rect_{camera:02d}', 2)
    rectify = np.eye(4)
    rectify[:3, :3] = cameras.numbers('R_rect_00', 9).reshape(3, 3)
    reference_from_velodyne = np.eye(4)
    reference_from_velodyne[:3, :3] = lidar.numbers('R', 9).reshape(3, 3)
    reference_from_velodyne[:3, 3] = lidar.numbers('T', 3)
    # P = K [I | t]: the fourth column carries this camera's place beside the reference camera.
    own_from_reference = np.eye(4)
    own_from_reference[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    return KittiCalibration(
        intrinsics=intrinsics_from_matrix(projection, height=int(height), width=int(width)),
        camera_from_velodyne=own_from_reference @ rectify @ reference_from_velodyne,
    )


_calibration = lru_cache(maxsize=64)(read_calibration)


class _CalibrationFile:
    """The `name: numbers` lines of a calibration file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            lines = path.read_text(encoding='ascii').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            message = (
                f'calibration {path} cannot be read: {error}; unpack the calibration archive of '
                'that day into the folder of the day.'
            )
            raise DataError(message) from error
        self._entries = dict(line.split(':', 1) for line in lines if ':' in line)

    def numbers(self, name: str, count: int) -> NDArray[np.float64]:
        words = self._entries.get(name, '').split()
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            values = np.empty(0)
        if values.size != count:
            message = (
                f'calibration {self._path} gives {len(words)} numbers for {name!r}; it must give '
                f'{count}: the file is truncated or of another kind.'
            )
            raise DataError(message)
        return values


def _read_projected(path: Path) -> Float32Array:
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = archive['velodyne_depth']
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        message = (
            f'projected depth {path} cannot be read: {error}; it must be an NPZ file with an '
            "array 'velodyne_depth' in metres."
        )
        raise DataError(message) from error
    return depth_plane(values, source=str(path))
