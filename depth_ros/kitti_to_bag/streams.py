# SPDX-License-Identifier: Apache-2.0
"""The messages of each camera, of the lidar and of their ground truth, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.data.bag.writing import Record, Topic
from depth_core.data.kitti.files import read_annotated, read_scan
from depth_core.data.kitti.recording import Track
from depth_core.data.kitti.rig import Lens, RigCamera
from depth_core.errors import DataError
from depth_core.geometry import render_sparse_depth, transform
from depth_core.images import MAX_PIXELS, ImageError, limit_pixels, read_header, rgb_from_encoded
from depth_ros.kitti_to_bag import messages
from depth_ros.kitti_to_bag.frames import LIDAR, optical

PREFIX: Final = '/kitti'
_GRAY: Final = (0, 1)
_FORMATS: Final = {'PNG': 'png', 'JPEG': 'jpeg'}
"""How image_transport names what an image file is compressed with."""


class Stream(Protocol):
    """What one sensor gives."""

    @property
    def topics(self) -> Sequence[Topic]:
        """The topics of its messages."""

    @property
    def stamps_ns(self) -> Mapping[int, int]:
        """When each of its frames was taken."""

    def records(self, number: int) -> Sequence[Record]:
        """The messages of a frame.

        Raises:
            DataError: A file is missing or damaged.
        """


class CameraStream:
    """Images of a camera with their camera_info.

    Args:
        camera: Its calibration.
        track: Its images.
        lens: How they are distorted; None for rectified ones.
        compressed: Whether the files go into the bag as they are, and are not decoded.
    """

    def __init__(
        self, camera: RigCamera, track: Track, *, lens: Lens | None, compressed: bool
    ) -> None:
        base = f'{PREFIX}/camera_{camera.name}'
        name = 'image_rect' if lens is None else 'image_raw'
        self._image = (
            Topic(name=f'{base}/{name}/compressed', msgtype=messages.COMPRESSED_IMAGE)
            if compressed
            else Topic(name=f'{base}/{name}', msgtype=messages.IMAGE)
        )
        self._info = Topic(name=f'{base}/camera_info', msgtype=messages.CAMERA_INFO)
        self._camera, self._track, self._lens = camera, track, lens
        self._compressed = compressed
        self._frame_id = optical(camera)

    @property
    def topics(self) -> Sequence[Topic]:
        """Image and camera_info."""
        return (self._image, self._info)

    @property
    def stamps_ns(self) -> Mapping[int, int]:
        """When each image was taken."""
        return self._track.stamps_ns

    def records(self, number: int) -> Sequence[Record]:
        """The messages of an image.

        Raises:
            DataError: The file is missing, damaged, or not of the size of its calibration.
        """
        path = self._track.files[number]
        content = read_content(path)
        header = messages.head(self.stamps_ns[number], self._frame_id)
        try:
            form = self._check(path, content)
            if self._compressed:
                pixels = 'mono8' if self._camera.number in _GRAY else 'bgr8'
                told = f'{pixels}; {form} compressed {pixels}'
                image = messages.compressed_image(content, told, header)
            elif self._camera.number in _GRAY:
                image = messages.image(rgb_from_encoded(content)[..., 0], 'mono8', header)
            else:
                image = messages.image(rgb_from_encoded(content), 'rgb8', header)
        except ImageError as error:
            message = f'image {path} ({len(content)} bytes) {error}; unpack it again.'
            raise DataError(message) from error
        info = messages.camera_info(self._camera.rectified, self._lens, header)
        stamp_ns = self.stamps_ns[number]
        return (
            messages.record(self._info, stamp_ns, info),
            messages.record(self._image, stamp_ns, image),
        )

    def _check(self, path: Path, content: bytes) -> str:
        """Check size and kind of an image file and say how it is compressed.

        Raises:
            DataError: It is of another kind or size.
            ImageError: It is damaged.
        """
        found = read_header(content)
        limit_pixels(found.height, found.width, MAX_PIXELS)
        size = self._camera.rectified if self._lens is None else self._lens
        if (found.height, found.width) != (size.height, size.width):
            message = (
                f'image {path} is {found.height}x{found.width}, but its calibration is for '
                f'{size.height}x{size.width}; unpack the images of the drive at their own size.'
            )
            raise DataError(message)
        if found.format not in _FORMATS:
            message = f'image {path} is a {found.format} file; KITTI images are PNG or JPEG.'
            raise DataError(message)
        return _FORMATS[found.format]


class LidarStream:
    """Scans as clouds of x, y, z, intensity and, where it is known, the time of each point.

    The stamp of a scan is when the lidar looks ahead, which triggers the cameras. It turns
    counter-clockwise from behind to behind, so that the direction of a point says its time:
    `time` is in seconds after the stamp, from about -0.05 to 0.05.

    Args:
        track: Its scans.
        sweep_ns: When scans began and ended, of those where that is known; none = no times.
    """

    topics: Sequence[Topic] = (Topic(name=f'{PREFIX}/velo/points', msgtype=messages.CLOUD),)

    def __init__(self, track: Track, sweep_ns: Mapping[int, tuple[int, int]]) -> None:
        self._track, self._sweep_ns = track, sweep_ns

    @property
    def stamps_ns(self) -> Mapping[int, int]:
        """When the lidar looked ahead, in each scan."""
        return self._track.stamps_ns

    def records(self, number: int) -> Sequence[Record]:
        """The cloud of a scan.

        Raises:
            DataError: The file is missing, empty or truncated.
        """
        points = read_scan(self._track.files[number])
        stamp_ns = self.stamps_ns[number]
        names = ['x', 'y', 'z', 'intensity']
        if self._sweep_ns:
            begun_ns, ended_ns = self._sweep_ns.get(number, (stamp_ns, stamp_ns))
            before_s, after_s = (begun_ns - stamp_ns) * 1e-9, (ended_ns - stamp_ns) * 1e-9
            times_s = point_times_s(points, before_s=before_s, after_s=after_s)
            names.append('time')
            points = np.column_stack((points, times_s))
        message = messages.cloud(names, points, messages.head(stamp_ns, LIDAR))
        return (messages.record(self.topics[0], stamp_ns, message),)


def point_times_s(
    points: NDArray[np.float32], *, before_s: float, after_s: float
) -> NDArray[np.float32]:
    """When the lidar measured points, seconds after it looked ahead.

    Args:
        points: [N, 3 or more] with x ahead and y left.
        before_s: When the turn began, looking behind; not positive.
        after_s: When it ended there.

    Returns:
        [N] float32.
    """
    part = np.arctan2(points[:, 1], points[:, 0]) / np.float32(np.pi)  # -1 behind .. 0 ahead .. 1
    times: NDArray[np.float32] = np.where(part < 0.0, -part * before_s, part * after_s)
    return times.astype(np.float32)


class TruthStream:
    """True depth of the images of a camera, 32FC1 in metres, NaN where nothing is known.

    Args:
        camera: Its calibration.
        images: Its images, whose stamps the depth has.
        truth: Scans to project, or annotated depth images.
        kind: `velodyne` or `annotated`.
    """

    def __init__(self, camera: RigCamera, images: Track, truth: Track, *, kind: str) -> None:
        base = f'{PREFIX}/camera_{camera.name}/{kind}_depth'
        self._depth = Topic(name=f'{base}/image_rect', msgtype=messages.IMAGE)
        self._info = Topic(name=f'{base}/camera_info', msgtype=messages.CAMERA_INFO)
        self._camera, self._truth, self._kind = camera, truth, kind
        self._stamps_ns = {
            number: stamp for number, stamp in images.stamps_ns.items() if number in truth.files
        }

    @property
    def topics(self) -> Sequence[Topic]:
        """Depth and camera_info."""
        return (self._depth, self._info)

    @property
    def stamps_ns(self) -> Mapping[int, int]:
        """When each image with true depth was taken."""
        return self._stamps_ns

    def records(self, number: int) -> Sequence[Record]:
        """The messages of the depth of an image.

        Raises:
            DataError: The file is missing, damaged, or not of the size of the image.
        """
        header = messages.head(self._stamps_ns[number], optical(self._camera))
        image = messages.image(self._read(self._truth.files[number]), '32FC1', header)
        info = messages.camera_info(self._camera.rectified, None, header)
        stamp_ns = self._stamps_ns[number]
        return (
            messages.record(self._info, stamp_ns, info),
            messages.record(self._depth, stamp_ns, image),
        )

    def _read(self, path: Path) -> Float32Array:
        camera = self._camera.rectified
        if self._kind == 'velodyne':
            assert self._camera.camera_from_lidar is not None  # noqa: S101  else it is not made
            points = transform(read_scan(path)[:, :3], self._camera.camera_from_lidar)
            return render_sparse_depth(points, camera)
        depth_m = read_annotated(path)
        if depth_m.shape != (camera.height, camera.width):
            message = (
                f'depth {path} is {depth_m.shape[0]}x{depth_m.shape[1]}, but its calibration is '
                f'for {camera.height}x{camera.width}; give the depth of this drive.'
            )
            raise DataError(message)
        return depth_m


def read_content(path: Path) -> bytes:
    """Read a file whole.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        message = f'{path} cannot be read: {error.strerror or error}; check the data set.'
        raise DataError(message) from error
