# SPDX-License-Identifier: Apache-2.0
"""Recorded bags (rosbag2 in mcap or sqlite3, and ROS 1): images, lidar as ground truth, speed."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from depth_core.camera import Rectification, image_is_rectified
from depth_core.contracts import Float32Array, Intrinsics, Uint8Array
from depth_core.data.bag.messages import (
    FrameTree,
    calibration_of,
    decode_image_message,
    points_of,
    rectification_of,
)
from depth_core.data.bag.motion import log_known, read_speeds
from depth_core.data.bag.opener import open_bag
from depth_core.data.bag.reading import (
    CLOUD_TYPES,
    IMAGE_TYPES,
    KeptOpen,
    Record,
    choose_camera_info,
    choose_speed,
    choose_topic,
    messages_of,
    read_message,
    record_of,
    topics_of,
)
from depth_core.data.bag.storage import files_of
from depth_core.data.images import check_size, make_sample, resize_together
from depth_core.data.sample import Sample
from depth_core.data.sequences import check_offsets, neighbour_indices, with_neighbours
from depth_core.errors import ConfigError, DataError
from depth_core.geometry import render_sparse_depth, transform

_STATIC_TOPIC: Final = '/tf_static'

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
            not K and D; None means yes when the image topic has `rect` or `rectified` as a whole
            word in its name, or the calibration has no distortion, as in the node.
        max_offset_s: Largest time between image and scan, seconds.
        neighbours: Offsets, in images, of the neighbouring images to give too. An image without
            all of them, at the ends or where images were dropped, is left out.
        odometry_topic: Odometry to read the speed from; found when the bag has one and no
            velocity topic is given. Without any the speed is NaN (unknown).
        velocity_topic: TwistStamped, TwistWithCovarianceStamped or Twist to read the speed from
            instead. Never chosen by itself: many such topics are commands, not measurements.
        max_speed_offset_s: Largest time between an image and the nearest speed, seconds.
        max_speed_gap_s: Largest time between two speeds with an image between them, seconds: its
            speed is interpolated, however far the nearest one is.
        min_speed_mps: Leave out images at which the robot is known to be slower, on the mean over
            all its neighbours: a camera that stands still says nothing about depth.
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
        max_speed_gap_s: float = 1.0,
        min_speed_mps: float = 0.0,
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
        _check_limits(max_speed_offset_s=max_speed_offset_s, max_speed_gap_s=max_speed_gap_s)
        self.max_speed_offset_s = max_speed_offset_s
        self.max_speed_gap_s = max_speed_gap_s
        self.min_speed_mps = min_speed_mps
        self.max_offset_s = max_offset_s
        self._frames = FrameTree()
        with open_bag(self.root) as bag:
            image = choose_topic(bag, 'image', IMAGE_TYPES, image_topic, option='image_topic')
            info = choose_camera_info(bag, image, camera_info_topic)
            cloud = None
            if cloud_topic is not None or topics_of(bag, CLOUD_TYPES):
                cloud = choose_topic(bag, 'lidar', CLOUD_TYPES, cloud_topic, option='cloud_topic')
            speed = None
            if self.neighbours:
                speed = choose_speed(bag, odometry_topic, velocity_topic)
            self.topics = BagTopics(image=image, camera_info=info, cloud=cloud, speed=speed)
            self._images = [record_of(*item) for item in messages_of(bag, image)]
            self._clouds = sorted(
                record_of(*item) for item in (messages_of(bag, cloud) if cloud else ())
            )
            self._info = next((message for _, message in messages_of(bag, info)), None)
            self._speeds = speed and read_speeds(
                messages_of(bag, speed),
                tolerance_s=max_speed_offset_s,
                gap_s=max_speed_gap_s,
                source=f'topic {speed} of bag {self.root}',
            )
            for _, message in messages_of(bag, _STATIC_TOPIC):
                self._frames.add(message)
        for topic, found in ((image, self._images), (info, self._info)):
            if not found:
                message = f'bag {self.root} has no message on its topic {topic}; record it again.'
                raise DataError(message)
        self._calibration = calibration_of(self._info, source=f'{info} of bag {self.root}')
        if rectified is None:
            rectified = image_is_rectified(self._calibration, topic=image)
        self.rectified = rectified
        self._windows = self._pair() if self.neighbours else [(item,) for item in self._images]
        if self._speeds:
            log_known(
                self._speeds,
                [[item.stamp_ns * 1e-9 for item in window] for window in self._windows],
                source=f'topic {speed} of bag {self.root}',
            )
        if min_speed_mps > 0.0:
            self._windows = self._moving()
        self._kept: Rectification | None = None
        self._bag = KeptOpen(self.root)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        window = self._windows[index]
        record = window[0]
        scan = self._nearest_scan(record.stamp_ns)
        with self._bag.opened() as bag:
            messages = [read_message(bag, self.topics.image, item) for item in window]
            cloud = scan and self.topics.cloud and read_message(bag, self.topics.cloud, scan)
        pictures = []
        for item, message in zip(window, messages, strict=True):
            image = decode_image_message(message, source=f'{self._key(item)} of bag {self.root}')
            camera = self._rectification(image)
            picture, intrinsics = resize_together(
                camera.apply(image), camera.intrinsics, self.height, self.width
            )
            pictures.append(picture)
        depth_m = self._project(cloud, camera, intrinsics) if cloud else None
        sample = make_sample(pictures[0], depth_m, intrinsics, key=self._key(record))
        if not self.neighbours:
            return sample
        return with_neighbours(
            sample,
            pictures[1:],
            offsets=self.neighbours,
            dt_s=[(item.stamp_ns - record.stamp_ns) * 1e-9 for item in window[1:]],
            speed_mps=[self._speed(record, item) for item in window[1:]],
        )

    def has_depth(self, index: int) -> bool:
        """Whether a scan is near enough in time to the image at `index`."""
        return self._nearest_scan(self._windows[index][0].stamp_ns) is not None

    def depth_looked_for(self) -> str:
        """Which scans are looked for, and what there is instead."""
        if self.topics.cloud is None:
            return (
                f'bag {self.root} has no lidar topic ({" or ".join(CLOUD_TYPES)}) to project as '
                'ground truth; record one, or train without labels.'
            )
        alone = next(index for index in range(len(self)) if not self.has_depth(index))
        stamp_ns = self._windows[alone][0].stamp_ns
        away_s = min((abs(item.stamp_ns - stamp_ns) for item in self._clouds), default=0) * 1e-9
        return (
            f'of {len(self._clouds)} scans on {self.topics.cloud} the nearest to image {alone} is '
            f'{away_s:.3f} s away, and max_offset_s is {self.max_offset_s:g}; give a '
            'larger one, or record camera and lidar by one clock.'
        )

    def sources(self, _index: int) -> tuple[Path, ...]:
        """The files that every sample is made from."""
        return files_of(self.root)

    def _speed(self, first: Record, second: Record) -> float:
        """Mean speed between two images, m/s; NaN = unknown."""
        if not self._speeds:
            return float('nan')
        return self._speeds.mean(first.stamp_ns * 1e-9, second.stamp_ns * 1e-9)

    def _key(self, record: Record) -> str:
        return f'{self.topics.image} {record.stamp_ns}'

    def _pair(self) -> list[tuple[Record, ...]]:
        """Each image that has all its neighbours, with them."""
        # An image recorded twice is no neighbour of itself.
        images = sorted({item.stamp_ns: item for item in sorted(self._images)}.values())
        if len(images) < len(self._images):
            _LOG.info(
                '%d of %d images of %s have the stamp of another: left out',
                len(self._images) - len(images),
                len(self._images),
                self.topics.image,
            )
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

    def _moving(self) -> list[tuple[Record, ...]]:
        """The windows that are not known to be slower than asked for."""
        if not self._speeds:
            message = (
                f'min_speed_mps is {self.min_speed_mps}, but bag {self.root} is read without '
                'speeds; give neighbours and an odometry_topic or velocity_topic, or leave '
                'min_speed_mps out.'
            )
            raise ConfigError(message)

        def slow(window: tuple[Record, ...]) -> bool:
            return self._speed(min(window), max(window)) < self.min_speed_mps

        moving = [window for window in self._windows if not slow(window)]
        if not moving:
            message = (
                f'all {len(self._windows)} sequences of bag {self.root} are slower than '
                f'{self.min_speed_mps} m/s by {self.topics.speed}; record while driving, or lower '
                'min_speed_mps.'
            )
            raise DataError(message)
        if len(moving) < len(self._windows):
            _LOG.info(
                '%d of %d sequences of %s are slower than %g m/s: left out',
                len(self._windows) - len(moving),
                len(self._windows),
                self.topics.image,
                self.min_speed_mps,
            )
        return moving

    def _nearest_scan(self, stamp_ns: int) -> Record | None:
        place = bisect.bisect_left(self._clouds, Record(stamp_ns=stamp_ns, recorded_ns=0))
        near = self._clouds[max(place - 1, 0) : place + 1]
        best = min(near, key=lambda record: abs(record.stamp_ns - stamp_ns), default=None)
        if best is None or abs(best.stamp_ns - stamp_ns) > round(self.max_offset_s * 1e9):
            return None
        return best

    def _rectification(self, image: Uint8Array) -> Rectification:
        """How images of the size of this one are rectified; kept, as they all have one size."""
        height, width = image.shape[:2]
        kept = self._kept
        if kept is None or (kept.intrinsics.height, kept.intrinsics.width) != (height, width):
            kept = self._kept = rectification_of(
                self._calibration,
                height=height,
                width=width,
                rectified=self.rectified,
                source=f'{self.topics.camera_info} of bag {self.root}',
            )
        return kept

    def _project(
        self,
        cloud: Any,  # noqa: ANN401  rosbags makes its message classes at run time
        camera: Rectification,
        intrinsics: Intrinsics,
    ) -> Float32Array:
        assert self._info is not None  # noqa: S101  checked when the bag was opened
        optical_from_lidar = self._frames.between(
            self._info.header.frame_id, cloud.header.frame_id, bag=str(self.root)
        )
        points_m = points_of(cloud, source=f'{self.topics.cloud} of bag {self.root}')
        matrix = optical_from_lidar.copy()
        matrix[:3] = camera.rotation @ optical_from_lidar[:3]
        return render_sparse_depth(transform(points_m, matrix), intrinsics)


def _check_limits(**limits_s: float) -> None:
    for key, limit_s in limits_s.items():
        if not limit_s >= 0.0:
            message = f'{key} is {limit_s}; give seconds, at least 0.'
            raise ConfigError(message)
