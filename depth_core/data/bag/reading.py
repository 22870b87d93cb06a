# SPDX-License-Identifier: Apache-2.0
"""A bag kept open, the topics to read in it, and single messages."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from depth_core.data.bag.messages import header_stamp_ns
from depth_core.data.bag.motion import ODOMETRY_TYPES, VELOCITY_TYPES
from depth_core.data.bag.opener import Bag, RawMessage, open_bag
from depth_core.errors import ConfigError, DataError, unknown_name

IMAGE_TYPES: Final = ('sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image')
CAMERA_INFO_TYPES: Final = ('sensor_msgs/msg/CameraInfo',)
CLOUD_TYPES: Final = ('sensor_msgs/msg/PointCloud2',)
DEPTH_ENCODINGS: Final = ('32FC1', '16UC1', '64FC1')
DEPTH_IMAGES: Final = f'topic of depth images ({" or ".join(DEPTH_ENCODINGS)})'

_OF_DEPTH: Final = re.compile(r'(?:^|[/_])(?:depth|sigma|confidence)(?:[/_]|$)')
"""Topics of images that hold depth and what belongs to it, as `depth/image_raw`."""

_FOLLOWED_NS: Final = 1_000_000_000
"""A message that was recorded so long after another is looked for by itself."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, order=True)
class Record:
    """Where a message is."""

    stamp_ns: int
    """Of its header; of its recording when the header has none."""
    recorded_ns: int


class KeptOpen:
    """A bag that stays open between reads, which would else begin with its index each time.

    Every process opens it for itself, so that the workers of a DataLoader do not move the place
    in the file under each other; in a second thread of one process it is opened for each read,
    unless the first thread has given it away.

    Args:
        root: As for `open_bag`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._owner: tuple[int, int] | None = None
        self._free: list[int] = []
        """The process whose next thread may have the bag: a list, as only one can take from it."""
        self._bag: Bag | None = None
        self._messages: dict[str, _InOrder] = {}
        self._close: weakref.finalize[..., KeptOpen] | None = None

    def __reduce__(self) -> tuple[type[KeptOpen], tuple[Path]]:
        return KeptOpen, (self._root,)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Bag]:
        """Take the open bag, after opening it if need be.

        Raises:
            DataError: As for `open_bag`.
        """
        here = (os.getpid(), threading.get_ident())
        with contextlib.suppress(IndexError):
            if self._free.pop() == here[0]:
                self._owner = here
        if self._owner is not None and self._owner != here and self._owner[0] == here[0]:
            with open_bag(self._root) as bag:
                yield bag
            return
        if self._owner != here:
            self.close()
        try:
            if self._bag is None:
                self._bag = Bag(self._root)
                self._close = weakref.finalize(self, self._bag.close)
                self._owner = here
            yield self._bag
        except BaseException:
            self.close()  # after any error the next read opens it again
            raise

    def read(self, topic: str, record: Record) -> Any:  # noqa: ANN401  made at run time by rosbags
        """Read one message again; those that are asked for in order of recording cost least.

        Raises:
            DataError: It is not there any more, or the bag cannot be opened.
        """
        with self.opened() as bag:
            if bag is not self._bag:
                return _InOrder(bag, topic).read(record)
            return self._messages.setdefault(topic, _InOrder(bag, topic)).read(record)

    def give_away(self) -> None:
        """Let the thread that reads next have the bag; this one is done with it."""
        self._free = [os.getpid()]

    def close(self) -> None:
        """Close it; the next read opens it again."""
        if self._close is not None:
            self._close()
        self._owner = self._bag = self._close = None
        self._messages = {}


def messages_of(
    bag: Bag, topic: str, *, start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[tuple[int, Any]]:
    """(recording time in ns, message) of a topic, in the order of recording."""
    connections = [item for item in bag.connections if item.topic == topic]
    for message in bag.messages(connections, start_ns=start_ns, stop_ns=stop_ns):
        yield message.stamp_ns, bag.decode(message)


def record_of(recorded_ns: int, message: Any) -> Record:  # noqa: ANN401  made at run time
    """Say where a message is that was met while reading a topic."""
    return Record(stamp_ns=header_stamp_ns(message) or recorded_ns, recorded_ns=recorded_ns)


class _InOrder:
    """Single messages of a topic.

    Storage comes in chunks, each read and unpacked as a whole; a message that follows the last
    one soon comes from what is unpacked already.
    """

    def __init__(self, bag: Bag, topic: str) -> None:
        self._bag = bag
        self._topic = topic
        self._connections = [item for item in bag.connections if item.topic == topic]
        self._following: Iterator[RawMessage] = iter(())
        self._from_ns = self._until_ns = 0
        """Times of recording of what follows."""
        self._last: tuple[Record, Any] | None = None

    def read(self, record: Record) -> Any:  # noqa: ANN401  as above
        """Read one.

        Raises:
            DataError: It is not there any more.
        """
        if self._last is not None and self._last[0] == record:
            return self._last[1]
        time_ns = record.recorded_ns
        if not self._from_ns < time_ns < self._until_ns:
            self._until_ns = time_ns + _FOLLOWED_NS
            self._following = self._bag.messages(
                self._connections, start_ns=time_ns, stop_ns=self._until_ns
            )
        for raw in self._following:
            self._from_ns = raw.stamp_ns
            if raw.stamp_ns < time_ns:
                continue
            if raw.stamp_ns > time_ns:
                break
            message = self._bag.decode(raw)
            if record_of(time_ns, message) == record:
                self._last = record, message
                return message
        self._until_ns = 0
        gone = f'the message of {self._topic} recorded at {time_ns} ns'
        message = f'{gone} is gone; the bag has changed.'
        raise DataError(message)


def topics_of(bag: Bag, types: Iterable[str]) -> Sequence[str]:
    """The topics of these message types, in order of their names."""
    return sorted({item.topic for item in bag.connections if item.msgtype in types})


def choose_topic(
    bag: Bag, what: str, types: Sequence[str], topic: str | None, *, option: str
) -> str:
    """The asked-for topic, or the only one of its types; depth images are no pictures to choose.

    Raises:
        ConfigError: The topic is not in the bag, or there are several to choose from.
        DataError: There is no topic of these types.
    """
    candidates = topics_of(bag, types)
    if topic is not None and candidates:
        if topic not in candidates:
            unknown = unknown_name(f'{what} topic', topic, candidates)
            message = f'{unknown}. The bag holds {_recorded(bag)}'
            raise ConfigError(message)
        return topic
    if types == IMAGE_TYPES:
        pictures = [item for item in candidates if not _OF_DEPTH.search(item)]
        candidates = pictures or candidates
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        message = (
            f'the bag has {len(candidates)} {what} topics ({", ".join(candidates)}); '
            f'choose one with {option}.'
        )
        raise ConfigError(message)
    message = (
        f'the bag has no {what} topic ({" or ".join(types)}); it holds {_recorded(bag)}: '
        'record the camera, its camera_info, the lidar, /tf_static and the odometry.'
    )
    raise DataError(message)


def _recorded(bag: Bag) -> str:
    """The topics of a bag with their types."""
    found = (f'{item.topic} ({item.msgtype})' for item in bag.connections)
    return ', '.join(found) or 'nothing'


def depth_topics(bag: Bag) -> Sequence[str]:
    """The topics of depth images: those whose first message says so."""
    found = []
    for topic in topics_of(bag, IMAGE_TYPES):
        first = next((message for _, message in messages_of(bag, topic)), None)
        stated = str(getattr(first, 'encoding', '') or getattr(first, 'format', ''))
        if stated in DEPTH_ENCODINGS or 'compressedDepth' in stated:
            found.append(topic)
    return found


def choose_image(bag: Bag, topic: str | None, *, option: str = 'image_topic') -> str:
    """The topic of the camera: the one asked for, or the only one whose images are no depth.

    Args:
        bag: The recording.
        topic: The one asked for; None for the only one.
        option: What chooses it, for messages.

    Raises:
        ConfigError: It is not in the bag, or there are several to choose from.
        DataError: The bag has no images.
    """
    candidates = topics_of(bag, IMAGE_TYPES)
    if topic is None and len(candidates) > 1:
        pictures = [item for item in candidates if item not in depth_topics(bag)]
        if len(pictures) == 1:
            return pictures[0]
    return choose_topic(bag, 'image', IMAGE_TYPES, topic, option=option)


def choose_truth(bag: Bag, image: str, *, cloud: str | None, depth: str | None) -> str | None:
    """The topic that ground truth comes from; None when the bag has none.

    Args:
        bag: The bag.
        image: Topic of the images.
        cloud: The clouds asked for; those of the bag count before its depth images.
        depth: The depth images asked for.

    Raises:
        ConfigError: Both are named, one is not in the bag, or there are several to choose from.
    """
    if cloud is not None and depth is not None:
        message = (
            f'cloud_topic {cloud!r} and depth_topic {depth!r} both say where the true depth comes '
            'from; give one of them.'
        )
        raise ConfigError(message)
    if depth is not None:
        return choose_topic(bag, 'depth', IMAGE_TYPES, depth, option='depth_topic')
    if cloud is not None or topics_of(bag, CLOUD_TYPES):
        return choose_topic(bag, 'lidar', CLOUD_TYPES, cloud, option='cloud_topic')
    found = [item for item in depth_topics(bag) if item != image]
    if len(found) > 1:
        message = (
            f'the bag has {len(found)} topics of depth images ({", ".join(found)}); choose one '
            'with depth_topic.'
        )
        raise ConfigError(message)
    return found[0] if found else None


def choose_speed(bag: Bag, odometry: str | None, velocity: str | None) -> str | None:
    """The topic speeds are read from; None when none is named and there is no odometry.

    Raises:
        ConfigError: Both are named, one is not in the bag, or there are several odometry topics.
        DataError: One is named and the bag has none of its types.
    """
    if odometry is not None and velocity is not None:
        message = (
            f'odometry_topic {odometry!r} and velocity_topic {velocity!r} both say where the '
            'speed comes from; give one of them.'
        )
        raise ConfigError(message)
    if velocity is not None:
        return choose_topic(bag, 'velocity', VELOCITY_TYPES, velocity, option='velocity_topic')
    if odometry is None and not topics_of(bag, ODOMETRY_TYPES):
        velocities = topics_of(bag, VELOCITY_TYPES)
        if velocities:
            _LOG.info(
                'the bag has no odometry; if %s is measured, and no command, name it as '
                'velocity_topic',
                ' or '.join(velocities),
            )
        return None
    return choose_topic(bag, 'odometry', ODOMETRY_TYPES, odometry, option='odometry_topic')


def choose_camera_info(bag: Bag, image: str, topic: str | None) -> str:
    """The camera_info beside an image topic: the one that shares most of its name."""
    candidates = topics_of(bag, CAMERA_INFO_TYPES)
    if topic is None and len(candidates) > 1:
        folders = image.split('/')
        for depth in range(len(folders), 0, -1):
            beside = '/'.join([*folders[:depth], 'camera_info'])
            if beside in candidates:
                return beside
    return choose_topic(bag, 'camera_info', CAMERA_INFO_TYPES, topic, option='camera_info_topic')
