# SPDX-License-Identifier: Apache-2.0
"""Recorded bags (rosbag2 in mcap or sqlite3, and ROS 1): images, lidar as ground truth, speed."""

from __future__ import annotations

import bisect
import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.bag_messages import (
    BagCamera,
    FrameTree,
    camera_of,
    decode_image_message,
    header_stamp_ns,
    points_of,
)
from depth_core.data.images import check_size, make_sample, resize_together
from depth_core.data.sample import Sample
from depth_core.data.sequences import check_offsets, neighbour_indices, with_neighbours
from depth_core.data.sequences_bag import ODOMETRY_TYPES, VELOCITY_TYPES, read_speeds
from depth_core.errors import ConfigError, DataError, DepthError, unknown_name
from depth_core.geometry import render_sparse_depth, transform

_IMAGES: Final = ('sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image')
_CAMERA_INFOS: Final = ('sensor_msgs/msg/CameraInfo',)
_CLOUDS: Final = ('sensor_msgs/msg/PointCloud2',)
_STATIC_TOPIC: Final = '/tf_static'
_STORAGE_SUFFIXES: Final = ('.mcap', '.db3')

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BagTopics:
    """Which topics a data set reads."""

    image: str
    camera_info: str
    cloud: str | None
    """None when the bag has no lidar: no sample then has ground truth."""
    speed: str | None = None
    """Odometry or velocities; None when no neighbours are asked for, or the bag has none."""


@dataclass(frozen=True, kw_only=True, order=True)
class _Record:
    """Where a message is."""

    stamp_ns: int
    """Of its header; of its recording when the header has none."""
    recorded_ns: int


class BagDataset:
    """The images of a bag, each with the lidar scan nearest in time projected into it.

    Images with lens distortion are rectified by their camera_info, so that the intrinsics of a
    sample describe it. An image without a scan within `max_offset_s` stays, with no valid pixel.

    With `neighbours` a sample holds the frames around an image, the time to them and the mean
    speed of the robot on the way, so that a robot's own recording trains a network without
    labels. The speed is that of the frame the topic is about, usually the middle of the robot:
    it is that of the camera but for turns on the spot.

    Args:
        root: Bag folder, one of its storage files, or a .bag file of ROS 1.
        image_topic: Image or CompressedImage; found when the bag has one camera.
        camera_info_topic: CameraInfo; found beside the image topic.
        cloud_topic: PointCloud2; found when the bag has one.
        rectified: Whether the images are rectified already, so that P and R describe them and
            not K and D; None means yes when 'rect' is in the name of the image topic.
        max_offset_s: Largest time between image and scan, seconds.
        neighbours: Offsets, in images, of the neighbouring images to give too. An image without
            all of them, at the ends or where images were dropped, is left out.
        odometry_topic: Odometry to read the speed from; found when the bag has one and no
            velocity topic is given. Without any the speed is NaN (unknown).
        velocity_topic: TwistStamped, TwistWithCovarianceStamped or Twist to read the speed from
            instead. Never chosen by itself: many such topics are commands, not measurements.
        max_speed_offset_s: Largest time between an image and the nearest speed, seconds.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        ConfigError: A topic is not in the bag, or the choice is not unique.
        DataError: The bag is missing, empty or damaged, or lacks what is needed.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        image_topic: str | None = None,
        camera_info_topic: str | None = None,
        cloud_topic: str | None = None,
        rectified: bool | None = None,
        max_offset_s: float = 0.05,
        neighbours: Sequence[int] = (),
        odometry_topic: str | None = None,
        velocity_topic: str | None = None,
        max_speed_offset_s: float = 0.2,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        check_size(height, width)
        self.root = Path(root)
        self.height, self.width = height, width
        self.neighbours = check_offsets(neighbours)
        named = odometry_topic or velocity_topic
        if named and not self.neighbours:
            message = (
                f'topic {named!r} is to give the speed, but no neighbours are asked for, and '
                'only sequences have one; give neighbours, as [-1, 1], or leave the topic out.'
            )
            raise ConfigError(message)
        self.max_speed_offset_s = max_speed_offset_s
        self._max_offset_ns = round(max_offset_s * 1e9)
        self._frames = FrameTree()
        with _opened(self.root) as reader:
            image = _choose(reader, 'image', _IMAGES, image_topic, option='image_topic')
            info = _choose_info(reader, image, camera_info_topic)
            cloud = None
            if cloud_topic is not None or _topics(reader, _CLOUDS):
                cloud = _choose(reader, 'lidar', _CLOUDS, cloud_topic, option='cloud_topic')
            speed = None
            if self.neighbours:
                speed = _choose_speed(reader, odometry_topic, velocity_topic)
            self.topics = BagTopics(image=image, camera_info=info, cloud=cloud, speed=speed)
            self._images = [_record(*item) for item in _messages(reader, image)]
            self._clouds = sorted(
                _record(*item) for item in (_messages(reader, cloud) if cloud else ())
            )
            self._info = next((message for _, message in _messages(reader, info)), None)
            self._speeds = speed and read_speeds(
                _messages(reader, speed),
                tolerance_s=max_speed_offset_s,
                source=f'topic {speed} of bag {self.root}',
            )
            for _, message in _messages(reader, _STATIC_TOPIC):
                self._frames.add(message)
        for topic, found in ((image, self._images), (info, self._info)):
            if not found:
                message = f'bag {self.root} has no message on its topic {topic}; record it again.'
                raise DataError(message)
        self._rectified = 'rect' in image if rectified is None else rectified
        self._windows = self._pair() if self.neighbours else [(item,) for item in self._images]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        window = self._windows[index]
        record = window[0]
        scan = self._nearest_scan(record.stamp_ns)
        with _opened(self.root) as reader:
            messages = [_read(reader, self.topics.image, item) for item in window]
            cloud = scan and self.topics.cloud and _read(reader, self.topics.cloud, scan)
        pictures = []
        for item, message in zip(window, messages, strict=True):
            image = decode_image_message(message, source=f'{self._key(item)} of bag {self.root}')
            camera = camera_of(
                self._info,
                (image.shape[0], image.shape[1]),
                rectified=self._rectified,
                source=f'{self.topics.camera_info} of bag {self.root}',
            )
            picture, intrinsics = resize_together(
                camera.rectify(image), camera.intrinsics, self.height, self.width
            )
            pictures.append(picture)
        depth_m = self._project(cloud, camera, intrinsics) if cloud else None
        sample = make_sample(pictures[0], depth_m, intrinsics, key=self._key(record))
        if not self.neighbours:
            return sample
        times_s = [item.stamp_ns * 1e-9 for item in window]
        unknown = float('nan')
        return with_neighbours(
            sample,
            pictures[1:],
            dt_s=[(item.stamp_ns - record.stamp_ns) * 1e-9 for item in window[1:]],
            speed_mps=[
                self._speeds.mean(times_s[0], time_s) if self._speeds else unknown
                for time_s in times_s[1:]
            ],
        )

    def _key(self, record: _Record) -> str:
        return f'{self.topics.image} {record.stamp_ns}'

    def _pair(self) -> list[tuple[_Record, ...]]:
        """Each image that has all its neighbours, with them."""
        images = sorted(self._images)
        start_ns = images[0].stamp_ns
        stamps_s = np.array([(item.stamp_ns - start_ns) * 1e-9 for item in images])
        windows = [
            (images[place], *(images[other] for other in others))
            for place, others in enumerate(neighbour_indices(stamps_s, self.neighbours))
            if others is not None
        ]
        if not windows:
            message = (
                f'none of the {len(images)} images on {self.topics.image} of bag {self.root} has '
                f'neighbours at {list(self.neighbours)}; record longer, or without gaps.'
            )
            raise DataError(message)
        if len(windows) < len(images):
            _LOG.info(
                '%d of %d images of %s have no neighbours at %s (ends, gaps): left out',
                len(images) - len(windows),
                len(images),
                self.topics.image,
                list(self.neighbours),
            )
        return windows

    def _nearest_scan(self, stamp_ns: int) -> _Record | None:
        place = bisect.bisect_left(self._clouds, _Record(stamp_ns=stamp_ns, recorded_ns=0))
        near = self._clouds[max(place - 1, 0) : place + 1]
        best = min(near, key=lambda record: abs(record.stamp_ns - stamp_ns), default=None)
        if best is None or abs(best.stamp_ns - stamp_ns) > self._max_offset_ns:
            return None
        return best

    def _project(
        self,
        cloud: Any,  # noqa: ANN401  rosbags makes its message classes at run time
        camera: BagCamera,
        intrinsics: Intrinsics,
    ) -> Float32Array:
        assert self._info is not None  # noqa: S101  checked when the bag was opened
        optical_from_lidar = self._frames.between(
            self._info.header.frame_id, cloud.header.frame_id, bag=str(self.root)
        )
        points_m = points_of(cloud, source=f'{self.topics.cloud} of bag {self.root}')
        matrix = camera.rectified_from_optical @ optical_from_lidar
        return render_sparse_depth(transform(points_m, matrix), intrinsics)


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[AnyReader]:
    """Open a bag; whatever its reader stumbles on becomes one `DataError`."""
    if root.suffix in _STORAGE_SUFFIXES and (root.parent / 'metadata.yaml').is_file():
        root = root.parent
    if not root.exists():
        message = (
            f'bag {root} does not exist; give a rosbag2 folder (with metadata.yaml), an .mcap or '
            '.db3 file, or a ROS 1 .bag file.'
        )
        raise DataError(message)
    try:
        # Bags recorded before ROS 2 Iron carry no message definitions.
        with AnyReader([root], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader
    except DepthError:
        raise
    except Exception as error:
        # The readers let errors of YAML, SQLite, MCAP and zstd through as they come.
        message = (
            f'bag {root} cannot be read ({type(error).__name__}: {error}); it is truncated, '
            'corrupt or no bag: copy it again, with its metadata.yaml.'
        )
        raise DataError(message) from error


def _messages(
    reader: AnyReader, topic: str, *, start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[tuple[int, Any]]:
    """(recording time in ns, message) of a topic, in the order of recording."""
    connections = [item for item in reader.connections if item.topic == topic]
    if not connections:
        return
    for connection, recorded_ns, data in reader.messages(
        connections, start=start_ns, stop=stop_ns
    ):
        yield recorded_ns, reader.deserialize(data, connection.msgtype)


def _record(recorded_ns: int, message: Any) -> _Record:  # noqa: ANN401  made at run time
    return _Record(stamp_ns=header_stamp_ns(message) or recorded_ns, recorded_ns=recorded_ns)


def _read(reader: AnyReader, topic: str, record: _Record) -> Any:  # noqa: ANN401  as above
    time_ns = record.recorded_ns
    for recorded_ns, message in _messages(reader, topic, start_ns=time_ns, stop_ns=time_ns + 1):
        if _record(recorded_ns, message) == record:
            return message
    message = f'the message of {topic} recorded at {time_ns} ns is gone; the bag has changed.'
    raise DataError(message)


def _topics(reader: AnyReader, types: Iterable[str]) -> Sequence[str]:
    return sorted({item.topic for item in reader.connections if item.msgtype in types})


def _choose(
    reader: AnyReader, what: str, types: Sequence[str], topic: str | None, *, option: str
) -> str:
    """The asked-for topic, or the only one of its types."""
    candidates = _topics(reader, types)
    if topic is not None and candidates:
        if topic not in candidates:
            raise ConfigError(unknown_name(f'{what} topic', topic, candidates))
        return topic
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        message = (
            f'the bag has {len(candidates)} {what} topics ({", ".join(candidates)}); '
            f'choose one with {option}.'
        )
        raise ConfigError(message)
    recorded = ', '.join(f'{item.topic} ({item.msgtype})' for item in reader.connections)
    message = (
        f'the bag has no {what} topic ({" or ".join(types)}); it holds {recorded or "nothing"}: '
        'record the camera, its camera_info, the lidar, /tf_static and the odometry.'
    )
    raise DataError(message)


def _choose_speed(reader: AnyReader, odometry: str | None, velocity: str | None) -> str | None:
    """The topic speeds are read from; None when none is named and there is no odometry."""
    if odometry is not None and velocity is not None:
        message = (
            f'odometry_topic {odometry!r} and velocity_topic {velocity!r} both say where the '
            'speed comes from; give one of them.'
        )
        raise ConfigError(message)
    if velocity is not None:
        return _choose(reader, 'velocity', VELOCITY_TYPES, velocity, option='velocity_topic')
    if odometry is None and not _topics(reader, ODOMETRY_TYPES):
        velocities = _topics(reader, VELOCITY_TYPES)
        if velocities:
            _LOG.info(
                'the bag has no odometry; if %s is measured, and no command, name it as '
                'velocity_topic',
                ' or '.join(velocities),
            )
        return None
    return _choose(reader, 'odometry', ODOMETRY_TYPES, odometry, option='odometry_topic')


def _choose_info(reader: AnyReader, image: str, topic: str | None) -> str:
    """The camera_info beside an image topic: the one that shares most of its name."""
    candidates = _topics(reader, _CAMERA_INFOS)
    if topic is None and len(candidates) > 1:
        folders = image.split('/')
        for depth in range(len(folders), 0, -1):
            beside = '/'.join([*folders[:depth], 'camera_info'])
            if beside in candidates:
                return beside
    return _choose(reader, 'camera_info', _CAMERA_INFOS, topic, option='camera_info_topic')
