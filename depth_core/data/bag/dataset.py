# SPDX-License-Identifier: Apache-2.0
"""Recorded bags (rosbag2 in mcap or sqlite3, and ROS 1): images, lidar as ground truth, speed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from depth_core.camera import Rectification, image_is_rectified
from depth_core.data.bag.frame_tree import FrameTree
from depth_core.data.bag.messages import calibration_of, decode_image_message, rectification_of
from depth_core.data.bag.motion import log_known, read_speeds
from depth_core.data.bag.opener import Bag
from depth_core.data.bag.reading import (
    CLOUD_TYPES,
    DEPTH_IMAGES,
    KeptOpen,
    Record,
    choose_camera_info,
    choose_image,
    choose_speed,
    choose_truth,
    messages_of,
    record_of,
    topics_of,
)
from depth_core.data.bag.storage import files_of
from depth_core.data.bag.travel import Travel
from depth_core.data.bag.truth import SCANS, Truth
from depth_core.data.bag.window import check_limits, check_range, window_of
from depth_core.data.images import check_size, make_sample, resize_together
from depth_core.data.places import Place
from depth_core.data.sample import Sample
from depth_core.data.sequences import check_offsets, neighbour_indices, with_neighbours
from depth_core.errors import ConfigError, DataError

_STATIC_TOPIC: Final = '/tf_static'
_RECORDED_LATER_S: Final = 1.0
"""How much later than an image its truth may be recorded."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BagTopics:
    """Which topics a data set reads."""

    image: str
    camera_info: str
    cloud: str | None
    """Clouds that are projected as ground truth; None when the bag has none, or depth is read."""
    depth: str | None = None
    """Depth images that are the ground truth; None when the bag has none, or clouds are read."""
    speed: str | None = None
    """Odometry or velocities; None when no neighbours are asked for, or the bag has none."""


class BagDataset:
    """The images of a bag, each with the scan or depth image nearest in time as ground truth.

    Images with lens distortion are rectified by their camera_info, so that the intrinsics of a
    sample describe it. An image without truth within `max_offset_s` stays, with no valid pixel.

    With `neighbours` a sample holds the frames around an image, the time to them and the mean
    speed of the robot on the way, so that a robot's own recording trains a network without
    labels. The speed is that of the frame the topic is about, usually the middle of the robot:
    it is that of the camera but for turns on the spot.

    Args:
        root: Bag folder, one of its storage files, or a .bag file of ROS 1.
        image_topic: Image or CompressedImage; found when the bag has one camera.
        camera_info_topic: CameraInfo; found beside the image topic.
        cloud_topic: PointCloud2; found when the bag has one.
        depth_topic: Depth images of the pixels of the camera that are the ground truth in place
            of clouds; found when the bag has one and no cloud.
        depth_unit_m: Metres in one unit of the depth images; None = as REP-118 says, 1 for floats
            and 0.001 for integers.
        rectified: Whether the images are rectified already, so that P and R describe them and
            not K and D; None means yes when the image topic has `rect` or `rectified` as a whole
            word in its name, or the calibration has no distortion, as in the node.
        max_offset_s: Largest time between image and scan or depth image, seconds.
        start_s: Read only images recorded at or after this time, seconds after the first message
            of the bag: with end_s one bag is split into what is trained on and what is held out.
        end_s: Read only images recorded before this time, seconds after the first message.
        window_ns: The same as two times of recording, nanoseconds; in place of start_s and end_s.
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
        depth_topic: str | None = None,
        depth_unit_m: float | None = None,
        rectified: bool | None = None,
        max_offset_s: float = 0.05,
        start_s: float | None = None,
        end_s: float | None = None,
        window_ns: tuple[int, int] | None = None,
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
        check_range(start_s, end_s)
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
        check_limits(max_speed_offset_s=max_speed_offset_s, max_speed_gap_s=max_speed_gap_s)
        self.max_speed_offset_s, self.max_speed_gap_s = max_speed_offset_s, max_speed_gap_s
        self.min_speed_mps = min_speed_mps
        self.max_offset_s = max_offset_s
        self._frames = FrameTree(
            f'{_STATIC_TOPIC} of bag {self.root}', f'record {_STATIC_TOPIC} with the bag'
        )
        self._bag = KeptOpen(self.root)
        with self._bag.opened() as bag:
            self.lost = bag.lost
            image = choose_image(bag, image_topic)
            info = choose_camera_info(bag, image, camera_info_topic)
            truth = choose_truth(bag, image, cloud=cloud_topic, depth=depth_topic)
            is_cloud = truth in topics_of(bag, CLOUD_TYPES)
            speed = None
            if self.neighbours:
                speed = choose_speed(bag, odometry_topic, velocity_topic)
            self.topics = BagTopics(
                image=image,
                camera_info=info,
                cloud=truth if is_cloud else None,
                depth=None if is_cloud else truth,
                speed=speed,
            )
            asked_ns = window_of(bag, self.root, start_s=start_s, end_s=end_s)
            part_ns = self._window_ns = window_ns or asked_ns
            start_ns, stop_ns = part_ns or (None, None)
            self.images = [
                record_of(*item)
                for item in messages_of(bag, image, start_ns=start_ns, stop_ns=stop_ns)
            ]
            self.truth = (
                None if truth is None else self._read_truth(bag, truth, part_ns, depth_unit_m)
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
        for topic, found in ((image, self.images or window_ns), (info, self._info)):
            if not found:
                there = 'record it again' if asked_ns is None else 'give other start_s and end_s'
                part = '' if asked_ns is None else ' in the part asked for'
                message = f'bag {self.root} has no message on its topic {topic}{part}; {there}.'
                raise DataError(message)
        self._calibration = calibration_of(self._info, source=f'{info} of bag {self.root}')
        if rectified is None:
            rectified = image_is_rectified(self._calibration, topic=image)
        self.rectified = rectified
        self._windows = self._pair() if self.neighbours else [(item,) for item in self.images]
        if self._speeds:
            log_known(
                self._speeds,
                [[item.stamp_ns * 1e-9 for item in window] for window in self._windows],
                source=f'topic {speed} of bag {self.root}',
            )
        if min_speed_mps > 0.0:
            self._windows = self._moving()
        self._bag.give_away()
        self._kept: Rectification | None = None
        self._travel: Travel | None = None

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        return self._sample(index)

    def exactly(self, index: int) -> Sample:
        """The sample at `index` with its camera in float64 and its image in uint8."""
        return self._sample(index, exact=True)

    def _sample(self, index: int, *, exact: bool = False) -> Sample:
        window = self._windows[index]
        record = window[0]
        found = None if self.truth is None else self.truth.nearest(record.stamp_ns)
        messages = [self._bag.read(self.topics.image, item) for item in window]
        truth = None
        if self.truth is not None and found is not None:
            truth = self._bag.read(self.truth.topic, found)
        pictures = []
        for item, message in zip(window, messages, strict=True):
            image = decode_image_message(message, source=f'{self._key(item)} of bag {self.root}')
            camera = self._rectification(image.shape[:2])
            picture, intrinsics = resize_together(
                camera.apply(image), camera.intrinsics, self.height, self.width
            )
            pictures.append(picture)
        depth_m = None
        if truth is not None and self.truth is not None and self._info is not None:
            depth_m = self.truth.depth_m(
                truth,
                camera,
                view=intrinsics,
                frames=self._frames,
                frame=self._info.header.frame_id,
            )
        sample = make_sample(pictures[0], depth_m, intrinsics, key=self._key(record), exact=exact)
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
        """Whether a scan or depth image is near enough in time to the image at `index`."""
        stamp_ns = self._windows[index][0].stamp_ns
        return self.truth is not None and self.truth.nearest(stamp_ns) is not None

    def depth_looked_for(self) -> str:
        """Which truth is looked for, and what there is instead."""
        if self.truth is None:
            return (
                f'bag {self.root} has no lidar topic ({" or ".join(CLOUD_TYPES)}) to project as '
                f'ground truth, and no {DEPTH_IMAGES}; record one, or train without labels.'
            )
        stamps_ns = [window[0].stamp_ns for window in self._windows]
        alone = next(stamp for stamp in stamps_ns if self.truth.nearest(stamp) is None)
        return self.truth.missing(alone, stamps_ns)

    def stamp_ns(self, index: int) -> int:
        """Stamp of the image at `index`, nanoseconds."""
        return self._windows[index][0].stamp_ns

    def place(self, index: int) -> Place | None:
        """Where the camera was, by /tf or the only odometry; None where that is not known."""
        if self._travel is None:
            with self._bag.opened() as bag:
                self._travel = Travel.of(bag, self._frames, self._window_ns)
        assert self._info is not None  # noqa: S101  refused when the bag was opened
        view = self._rectification((self._info.height, self._info.width))
        frame = self._info.header.frame_id
        return self._travel.place(frame, self.stamp_ns(index), view.rotation)

    def key(self, index: int) -> str:
        """Name of the sample at `index`, known before it is read."""
        return self._key(self._windows[index][0])

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
        images = sorted({item.stamp_ns: item for item in sorted(self.images)}.values())
        if len(images) < len(self.images):
            _LOG.info(
                '%d of %d images of %s have the stamp of another: left out',
                *(len(self.images) - len(images), len(self.images), self.topics.image),
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
                *(len(images) - len(windows), len(images), self.topics.image),
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

    def _read_truth(
        self,
        bag: Bag,
        topic: str,
        window_ns: tuple[int, int] | None,
        depth_unit_m: float | None,
    ) -> Truth:
        """Find where the messages of the truth are, in the window and a little around it."""
        around_ns = round((self.max_offset_s + _RECORDED_LATER_S) * 1e9)
        start_ns = None if window_ns is None else window_ns[0] - around_ns
        stop_ns = None if window_ns is None else window_ns[1] + around_ns
        found = messages_of(bag, topic, start_ns=start_ns, stop_ns=stop_ns)
        return Truth(
            topic=topic,
            records=sorted(record_of(*item) for item in found),
            max_offset_s=self.max_offset_s,
            what='depth images' if self.topics.cloud is None else SCANS,
            bag=str(self.root),
            depth_unit_m=depth_unit_m,
        )

    def _rectification(self, size: tuple[int, ...]) -> Rectification:
        """How images of this size are rectified; kept, as they all have one size."""
        height, width = size
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
