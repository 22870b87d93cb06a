# SPDX-License-Identifier: Apache-2.0
"""Opening bags, finding topics and reading single messages."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from depth_core.data.bag.messages import header_stamp_ns
from depth_core.data.bag.motion import ODOMETRY_TYPES, VELOCITY_TYPES
from depth_core.errors import ConfigError, DataError, DepthError, unknown_name

IMAGE_TYPES: Final = ('sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image')
CAMERA_INFO_TYPES: Final = ('sensor_msgs/msg/CameraInfo',)
CLOUD_TYPES: Final = ('sensor_msgs/msg/PointCloud2',)

_STORAGE_SUFFIXES: Final = ('.mcap', '.db3')
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, order=True)
class Record:
    """Where a message is."""

    stamp_ns: int
    """Of its header; of its recording when the header has none."""
    recorded_ns: int


@contextlib.contextmanager
def opened(root: Path) -> Iterator[AnyReader]:
    """Open a bag.

    Raises:
        DataError: It does not exist, or its reader stumbles on anything.
    """
    with _told(root), _reader(root) as reader:
        yield reader


class KeptOpen:
    """A bag that stays open between reads, which would else begin with its index each time.

    Every process opens it for itself, so that the workers of a DataLoader do not move the place
    in the file under each other; in a second thread of one process it is opened for each read.

    Args:
        root: As for `opened`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._owner: tuple[int, int] | None = None
        self._reader: AnyReader | None = None
        self._close: weakref.finalize[..., KeptOpen] | None = None

    def __reduce__(self) -> tuple[type[KeptOpen], tuple[Path]]:
        return KeptOpen, (self._root,)

    @contextlib.contextmanager
    def opened(self) -> Iterator[AnyReader]:
        """Take the open bag, after opening it if need be.

        Raises:
            DataError: As for `opened`.
        """
        here = (os.getpid(), threading.get_ident())
        if self._owner is not None and self._owner != here and self._owner[0] == here[0]:
            with opened(self._root) as reader:
                yield reader
            return
        if self._owner != here:
            self.close()
        with _told(self._root):
            try:
                if self._reader is None:
                    self._reader = _reader(self._root)
                    self._reader.open()
                    self._close = weakref.finalize(self, self._reader.close)
                    self._owner = here
                yield self._reader
            except BaseException:
                self.close()  # whatever went wrong, the next read begins anew
                raise

    def close(self) -> None:
        """Close it; the next read opens it again."""
        if self._close is not None:
            self._close()
        self._owner = self._reader = self._close = None


def _reader(root: Path) -> AnyReader:
    if root.suffix in _STORAGE_SUFFIXES and (root.parent / 'metadata.yaml').is_file():
        root = root.parent
    if not root.exists():
        message = (
            f'bag {root} does not exist; give a rosbag2 folder (with metadata.yaml), an .mcap or '
            '.db3 file, or a ROS 1 .bag file.'
        )
        raise DataError(message)
    # Bags recorded before ROS 2 Iron carry no message definitions.
    return AnyReader([root], default_typestore=get_typestore(Stores.ROS2_HUMBLE))


@contextlib.contextmanager
def _told(root: Path) -> Iterator[None]:
    """Say which bag an error of its reader is about."""
    try:
        yield
    except DepthError:
        raise
    except Exception as error:
        # The readers let errors of YAML, SQLite, MCAP and zstd through as they come.
        message = (
            f'bag {root} cannot be read ({type(error).__name__}: {error}); it is truncated, '
            'corrupt or no bag: copy it again, with its metadata.yaml.'
        )
        raise DataError(message) from error


def messages_of(
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


def record_of(recorded_ns: int, message: Any) -> Record:  # noqa: ANN401  made at run time
    """Say where a message is that was met while reading a topic."""
    return Record(stamp_ns=header_stamp_ns(message) or recorded_ns, recorded_ns=recorded_ns)


def read_message(reader: AnyReader, topic: str, record: Record) -> Any:  # noqa: ANN401  as above
    """Read one message again.

    Raises:
        DataError: It is not there any more.
    """
    time_ns = record.recorded_ns
    for recorded_ns, message in messages_of(reader, topic, start_ns=time_ns, stop_ns=time_ns + 1):
        if record_of(recorded_ns, message) == record:
            return message
    message = f'the message of {topic} recorded at {time_ns} ns is gone; the bag has changed.'
    raise DataError(message)


def topics_of(reader: AnyReader, types: Iterable[str]) -> Sequence[str]:
    """The topics of these message types, in order of their names."""
    return sorted({item.topic for item in reader.connections if item.msgtype in types})


def choose_topic(
    reader: AnyReader, what: str, types: Sequence[str], topic: str | None, *, option: str
) -> str:
    """The asked-for topic, or the only one of its types.

    Raises:
        ConfigError: The topic is not in the bag, or there are several to choose from.
        DataError: There is no topic of these types.
    """
    candidates = topics_of(reader, types)
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


def choose_speed(reader: AnyReader, odometry: str | None, velocity: str | None) -> str | None:
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
        return choose_topic(reader, 'velocity', VELOCITY_TYPES, velocity, option='velocity_topic')
    if odometry is None and not topics_of(reader, ODOMETRY_TYPES):
        velocities = topics_of(reader, VELOCITY_TYPES)
        if velocities:
            _LOG.info(
                'the bag has no odometry; if %s is measured, and no command, name it as '
                'velocity_topic',
                ' or '.join(velocities),
            )
        return None
    return choose_topic(reader, 'odometry', ODOMETRY_TYPES, odometry, option='odometry_topic')


def choose_camera_info(reader: AnyReader, image: str, topic: str | None) -> str:
    """The camera_info beside an image topic: the one that shares most of its name."""
    candidates = topics_of(reader, CAMERA_INFO_TYPES)
    if topic is None and len(candidates) > 1:
        folders = image.split('/')
        for depth in range(len(folders), 0, -1):
            beside = '/'.join([*folders[:depth], 'camera_info'])
            if beside in candidates:
                return beside
    return choose_topic(
        reader, 'camera_info', CAMERA_INFO_TYPES, topic, option='camera_info_topic'
    )
