# SPDX-License-Identifier: Apache-2.0
"""All messages of a recording, in order of time, into a bag; an interrupted one goes on."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depth_core.data.bag.writing import PartWriter, Record, Topic
from depth_core.data.kitti.poses import read_poses
from depth_core.data.kitti.recording import Kind, Recording, Track, annotated_track
from depth_core.data.kitti.rig import CAMERAS
from depth_core.errors import ConfigError, DataError, DepthError
from depth_ros.kitti_to_bag import messages
from depth_ros.kitti_to_bag.frames import static_links
from depth_ros.kitti_to_bag.streams import CameraStream, LidarStream, Stream, TruthStream
from depth_ros.kitti_to_bag.vehicle import OxtsStream, PoseStream

Images: TypeAlias = Literal['compressed', 'raw']
IMAGES: Final[tuple[Images, ...]] = ('compressed', 'raw')
TRUTHS: Final = ('velodyne', 'annotated')

_STATIC: Final = Topic(name='/tf_static', msgtype=messages.TRANSFORMS, latched=True)
_AHEAD: Final = 2
"""Frames made ready for each worker."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What of a recording goes into the bag, and how."""

    cameras: tuple[int, ...] | None = None
    """By number; None takes those there are."""
    frames: tuple[range, ...] | None = None
    """Numbers of frames; None takes all."""
    images: Images = 'compressed'
    """`compressed` takes the image files as they are, `raw` decodes them."""
    truth: tuple[str, ...] = TRUTHS
    """Which true depth to write, of what there is."""
    depth_root: Path | None = None
    """Where annotated depth is."""
    lidar: bool = True
    oxts: bool = True
    storage: str = 'mcap'
    part_bytes: int = 512 << 20
    """Size at which a part is completed."""
    workers: int = 2


class Event(NamedTuple):
    """A frame of a stream, which is written at its time."""

    stamp_ns: int
    stream: int
    number: int


class Plan(NamedTuple):
    """What will be written."""

    streams: Sequence[Stream]
    events: Sequence[Event]
    static: Record
    identity: str
    """Of the recording and the settings, in a few letters."""

    @property
    def topics(self) -> list[Topic]:
        """All topics, each once."""
        each = (topic for stream in self.streams for topic in stream.topics)
        return list({topic.name: topic for topic in (_STATIC, *each)}.values())


def plan(recording: Recording, settings: Settings) -> Plan:
    """Choose what of a recording is written, and order it by time.

    Raises:
        ConfigError: A camera or frame that is asked for is not there.
        DataError: A file that says what there is is malformed.
    """
    streams = _streams(recording, settings)
    events = sorted(
        Event(stamp_ns, place, number)
        for place, stream in enumerate(streams)
        for number, stamp_ns in stream.stamps_ns.items()
    )
    if not events:
        message = (
            f'none of the frames {settings.frames} is in {recording.root}; give frames that the '
            'cameras have, or leave --frames out.'
        )
        raise ConfigError(message)
    links = static_links(recording)
    start_ns = events[0].stamp_ns
    static = messages.record(_STATIC, start_ns, messages.transforms(links, stamp_ns=start_ns))
    topics = [[topic.name for topic in stream.topics] for stream in streams]
    facts = repr((str(recording.root), settings.images, settings.storage, topics, events))
    identity = hashlib.sha256(facts.encode()).hexdigest()[:16]
    return Plan(streams, events, static, identity)


def unasked(recording: Recording, settings: Settings) -> str | None:
    """Say which cameras have no images, where nobody said which are wanted; None = none lacks."""
    lacking = [number for number in CAMERAS if number not in recording.cameras]
    if settings.cameras is not None or not lacking:
        return None
    names = ', '.join(f'{number} ({CAMERAS[number]})' for number in lacking)
    return (
        f'{recording.root} has no images of the cameras {names}, which are left out: unpack '
        'them, or name the others with --cameras'
    )


def convert(
    chosen: Plan, settings: Settings, output: Path, *, progress: Callable[[int, int], None]
) -> int:
    """Write a bag, or go on with one.

    Args:
        chosen: What to write.
        settings: How.
        output: Folder of the bag; it appears when it is complete.
        progress: Called with the number of events and of bytes that were just written.

    Returns:
        Bytes of messages written now.

    Raises:
        ConfigError: The output is in the way, or belongs to something else.
        DataError: A file is damaged, or the disk is full; what was written before is kept.
    """
    writer = PartWriter(output, chosen.topics, storage=settings.storage, identity=chosen.identity)
    progress(writer.next, 0)
    written = 0
    total = len(chosen.events)
    failure: DepthError | None = None
    with ThreadPoolExecutor(settings.workers) as pool:
        frames = _ahead(pool, chosen, writer.next, _AHEAD * settings.workers)
        while writer.next < total and failure is None:
            with writer.part() as part:
                if part.next == 0:
                    part.write(chosen.static)
                while part.next < total and part.size_bytes < settings.part_bytes:
                    try:
                        records = next(frames)
                    except DepthError as error:
                        failure = error
                        break
                    before = part.size_bytes
                    for record in records:
                        part.write(record)
                    part.next += 1
                    progress(1, part.size_bytes - before)
                written += part.size_bytes
    if failure is not None:
        message = (
            f'{failure} {writer.next} of {total} measurements are kept in {writer.partial}, each '
            'part a bag by itself; put the file right and run the command again to go on.'
        )
        raise DataError(message) from failure
    writer.finish()
    return written


def _ahead(
    pool: ThreadPoolExecutor, chosen: Plan, start: int, ahead: int
) -> Iterator[Sequence[Record]]:
    """The messages of events from `start` on, in order, made by workers some frames ahead."""
    pending: deque[Future[Sequence[Record]]] = deque()
    events = iter(chosen.events[start:])
    try:
        while True:
            for event in itertools.islice(events, ahead - len(pending)):
                stream = chosen.streams[event.stream]
                pending.append(pool.submit(stream.records, event.number))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _streams(recording: Recording, settings: Settings) -> list[Stream]:
    raw = recording.kind is Kind.EXTRACT
    wanted = _wanted(recording, settings)
    streams: list[Stream] = []
    truths: list[Stream] = []
    lidar = recording.lidar if settings.lidar else None
    for number in _cameras(recording, settings.cameras):
        camera, images = recording.cameras[number]
        images = wanted(images)
        lens = camera.lens if raw else None
        if raw and lens is None:
            message = (
                f'calibration {recording.day / "calib_cam_to_cam.txt"} has no K_{number:02d}, '
                'which images as taken need; unpack the calibration of that day again.'
            )
            raise DataError(message)
        compressed = settings.images == 'compressed'
        streams.append(CameraStream(camera, images, lens=lens, compressed=compressed))
        truth = None if raw else recording.lidar
        if truth and camera.camera_from_lidar is not None and 'velodyne' in settings.truth:
            truths.append(TruthStream(camera, images, truth, kind='velodyne'))
        truth = None
        if recording.kind is Kind.SYNC and 'annotated' in settings.truth:
            truth = annotated_track(recording, number, settings.depth_root)
        if truth is not None:
            truths.append(TruthStream(camera, images, truth, kind='annotated'))
    if lidar is not None:
        streams.append(LidarStream(wanted(lidar), recording.sweep_ns))
    if recording.oxts is not None and settings.oxts:
        streams.append(OxtsStream(recording, recording.oxts, wanted(recording.oxts).stamps_ns))
    poses = read_poses(recording.root) if recording.kind is Kind.ODOMETRY else None
    if poses is not None and settings.oxts:
        streams.append(_pose_stream(recording, poses, wanted))
    return [*streams, *truths]


def _pose_stream(
    recording: Recording, poses: NDArray[np.float64], wanted: Callable[[Track], Track]
) -> PoseStream:
    times = dict(enumerate(recording.times_ns[: len(poses)]))
    track = Track(name='poses', files=dict.fromkeys(times, recording.root), stamps_ns=times)
    return PoseStream(poses, times, wanted(track).stamps_ns)


def _cameras(recording: Recording, asked: tuple[int, ...] | None) -> Sequence[int]:
    """The cameras to write.

    Raises:
        ConfigError: One has no images.
    """
    for number in asked or ():
        if number not in recording.cameras:
            there = ', '.join(f'{item} ({CAMERAS[item]})' for item in recording.cameras)
            message = (
                f'camera {number} ({CAMERAS[number]}) has no images in {recording.root}; there '
                f'are those of {there}: give these, or unpack the others.'
            )
            raise ConfigError(message)
    return sorted(recording.cameras if asked is None else set(asked))


def _wanted(recording: Recording, settings: Settings) -> Callable[[Track], Track]:
    """How a sensor is cut to the frames asked for: by number, or by the time of the images."""
    frames = settings.frames
    if frames is None:
        return lambda track: track

    def by_number(track: Track) -> Track:
        return track.only(
            number for number in track.files if any(number in span for span in frames)
        )

    if recording.kind is not Kind.EXTRACT:
        return by_number
    stamps = [
        stamp
        for number in _cameras(recording, settings.cameras)
        for stamp in by_number(recording.cameras[number][1]).stamps_ns.values()
    ]

    def cut(track: Track) -> Track:
        if track.name.startswith('image'):
            return by_number(track)
        first, last = min(stamps, default=0), max(stamps, default=-1)
        return track.only(
            number for number, stamp in track.stamps_ns.items() if first <= stamp <= last
        )

    return cut
