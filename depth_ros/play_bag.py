# SPDX-License-Identifier: Apache-2.0
"""Play a rosbag2 into ROS at the speed it was recorded, or faster, or slower.

The recorded bytes go straight to the publishers: nothing is decoded, so a laptop keeps pace with
several cameras and what arrives is bit for bit what was recorded.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosReliability

from depth_core.data.bag.opener import Bag, RawMessage, open_bag, select_connections
from depth_core.data.bag.storage import ROS1
from depth_core.errors import ConfigError, DataError, run_command, unknown_name
from depth_core.names import printable
from depth_ros.arguments import CommandParser, not_negative, positive
from depth_ros.messages.restamp import Restamp, begins_with_header
from depth_ros.middleware.message_types import find_message_class
from depth_ros.middleware.session import ros_node, signals_held
from depth_ros.playback import (
    CLOCK_HZ,
    NODE_LIMIT_S,
    QUEUE_DEPTH,
    BagClock,
    Playback,
    Timeline,
    await_node,
    period_ns,
)

LATCHED_TOPICS = ('tf_static', 'robot_description')
"""Topics whose last message a late subscriber expects, by the last part of their name."""

DELIVERY_TIMEOUT_S = 2.0
SETTLING_S = 0.3
LISTENERS_LIMIT_S = 5.0
"""Longest wait for subscribers where none is asked for: discovery takes 0.1 or 3.1 s."""
QUIET_S = 3.2
"""No further subscriber for so long, and discovery is over."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _parser().parse_command(arguments)
    if options.restamp and options.clock is not None:
        message = '--restamp gives stamps of now and --clock recorded time; give one of them.'
        raise ConfigError(message)
    _refuse_ros1(options.bag)
    with open_bag(options.bag) as bag:
        connections = select_connections(bag, options.topics)
        remaps = parse_remaps(options.remap, {item.topic for item in connections})
        start_ns = _start(bag, options.start_offset_s)
        # A loop has no other end; a bag that was not played to its end says so by its status.
        usual_ends = (KeyboardInterrupt,) if options.loop or options.as_node else ()
        with (
            contextlib.suppress(*usual_ends),
            ros_node('play_bag', arguments=_ros_arguments(arguments)) as node,
        ):
            with signals_held():
                publishers = create_publishers(node, connections, remaps)
                clock = None if options.clock is None else BagClock(node, hz=options.clock)
            played = [item for item in connections if item.id in publishers]
            log = node.get_logger()
            if bag.lost is not None:
                log.warning(printable(bag.lost))
            if options.wait_for_node is not None:
                await_node(node, options.wait_for_node)
            if options.wait_for_subscribers is not None:
                chosen = _named(options.wait_for_subscribers, played)
                waited = [publishers[item.id] for item in chosen]
                wait_for_subscribers(waited, timeout_s=options.ready_timeout_s)
            elif not options.no_wait:
                await_listeners(publishers.values(), log.info)
            restamped = {
                key for key, item in publishers.items() if begins_with_header(item.msg_type)
            }
            node.get_logger().info(f'plays {len(played)} topics of {printable(options.bag)}')
            playback = Playback()
            try:
                while True:
                    timeline = Timeline(start_ns=start_ns, rate=options.rate, clock=clock)
                    play(
                        merged(bag, played, start_ns),
                        publishers,
                        timeline,
                        playback,
                        restamped=restamped if options.restamp else (),
                    )
                    if not options.loop:
                        break
                    timeline.wait_for(bag.start_ns + bag.duration_ns + period_ns(bag, played))
                _wait_for_delivery(publishers.values())
            finally:
                _report(playback, played, publishers)
            if bag.lost is not None:
                message = f'{options.bag} was played as far as it goes: {bag.lost}'
                raise DataError(message)


def play(
    messages: Iterable[RawMessage],
    publishers: dict[int, Publisher[Any]],
    timeline: Timeline,
    playback: Playback,
    *,
    restamped: Collection[int] = (),
) -> None:
    """Publish `messages` when they are due; those of the connections `restamped` as of now."""
    restamp = Restamp(rate=timeline.rate)
    for message in messages:
        due_s = timeline.wait_for(message.stamp_ns)
        key, data = message.connection.id, message.data
        if key in restamped:
            data = restamp(data, timeline.due_ns(message.stamp_ns))
        with signals_held():
            publishers[key].publish(data)
        playback.count(message, time.monotonic() - due_s)
    playback.duration_s += time.monotonic() - timeline.begun_s


def merged(bag: Bag, connections: Sequence[Connection], start_ns: int) -> Iterator[RawMessage]:
    """Give what to play from `start_ns` on.

    What was latched before that moment (transforms, the robot's description) comes first, as a
    subscriber of the live system would have got it.
    """
    latched = [item for item in connections if _qos(item).durability == _LATCHED]
    if latched and start_ns > bag.start_ns:
        for message in bag.messages(latched):
            if message.stamp_ns >= start_ns:
                break
            yield message
    yield from bag.messages(connections, start_ns=start_ns)


def create_publishers(
    node: Node, connections: Sequence[Connection], remaps: dict[str, str]
) -> dict[int, Publisher[Any]]:
    """Make a publisher for each connection that can be played; warn of the others.

    Raises:
        DataError: None can be played.
    """
    publishers: dict[int, Publisher[Any]] = {}
    for connection in connections:
        topic = remaps.get(connection.topic, connection.topic)
        try:
            _check_serialization(connection)
            message_class = find_message_class(connection.msgtype)
            publisher = node.create_publisher(message_class, topic, _qos(connection))
        except (DataError, InvalidTopicNameException) as error:
            reason = str(error).partition('\n')[0].rstrip(':')
            node.get_logger().warning(
                f'{printable(connection.topic)} is not played: {printable(reason)}'
            )
            continue
        publishers[connection.id] = publisher
    if not publishers:
        types = ', '.join(sorted({repr(item.msgtype) for item in connections}))
        message = f'nothing can be played of the recorded types {types}; see the warnings above.'
        raise DataError(message)
    return publishers


def _check_serialization(connection: Connection) -> None:
    form = getattr(connection.ext, 'serialization_format', 'cdr')
    if form != 'cdr':
        message = f'its messages are serialised as {form!r}, and ROS 2 takes cdr.'
        raise DataError(message)


def parse_remaps(texts: Sequence[str], topics: set[str]) -> dict[str, str]:
    """Read `from:=to` pairs.

    Raises:
        ConfigError: A pair is malformed or its left side is not played.
    """
    remaps: dict[str, str] = {}
    for text in texts:
        source, separator, target = text.partition(':=')
        if not (source and separator and target):
            message = f'remap {text!r} is not of the form from:=to, such as /camera/image:=/image.'
            raise ConfigError(message)
        if source not in topics:
            raise ConfigError(unknown_name('topic to remap', source, topics))
        remaps[source] = target
    return remaps


def wait_for_subscribers(publishers: Sequence[Publisher[Any]], *, timeout_s: float) -> None:
    """Wait until each publisher has a subscriber.

    Raises:
        DataError: One has none after `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while missing := [item for item in publishers if item.get_subscription_count() == 0]:
        if time.monotonic() > deadline_s:
            topics = ', '.join(sorted({item.topic_name for item in missing}))
            message = (
                f'nobody subscribed to {topics} within {timeout_s:g} s; start the receiver '
                'first, compare ROS_DOMAIN_ID and topic names, or name only the topics to wait '
                'for after --wait_for_subscribers.'
            )
            raise DataError(message)
        time.sleep(0.02)
    # Discovery ends a moment later on the other side, and a best-effort subscriber does not
    # get what was sent before.
    time.sleep(SETTLING_S)


def await_listeners(
    publishers: Iterable[Publisher[Any]],
    log: Callable[[str], object],
    *,
    limit_s: float = LISTENERS_LIMIT_S,
) -> None:
    """Wait until discovery is over, so that subscribers get the bag from its beginning.

    Which topics will have a subscriber is not known: the wait ends `QUIET_S` after the last one
    of those found appeared, or after `limit_s`.

    Args:
        publishers: Of what is played.
        log: Takes what is waited for, and what was found.
        limit_s: Longest wait, seconds.
    """
    publishers = list(publishers)
    log(
        f'waits for subscribers, at most {limit_s:g} s (--no_wait plays at once, '
        '--wait_for_subscribers names topics)'
    )
    begun_s = changed_s = time.monotonic()
    counts = [0] * len(publishers)
    while time.monotonic() - begun_s < limit_s:
        found = [item.get_subscription_count() for item in publishers]
        if found != counts:
            counts, changed_s = found, time.monotonic()
        if all(counts) or (any(counts) and time.monotonic() - changed_s >= QUIET_S):
            break
        time.sleep(0.02)
    if any(counts):
        time.sleep(SETTLING_S)
    heard = sorted(
        {item.topic_name for item, count in zip(publishers, counts, strict=True) if count}
    )
    log(f'subscribed to: {", ".join(heard) or "nothing"}')


def recorded_qos(topic: str, offered: Sequence[Qos]) -> QoSProfile:
    """Give the profile to publish with: as recorded where that is known, reliable elsewhere.

    Deadlines and lifespans are not taken over: at another rate they would not hold.
    """
    latched = topic.rsplit('/', 1)[-1] in LATCHED_TOPICS
    profile = QoSProfile(
        depth=QUEUE_DEPTH,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=_LATCHED if latched else DurabilityPolicy.VOLATILE,
    )
    if offered:
        recorded = offered[0]
        if recorded.reliability is QosReliability.BEST_EFFORT:
            profile.reliability = ReliabilityPolicy.BEST_EFFORT
        if recorded.durability is QosDurability.TRANSIENT_LOCAL:
            profile.durability = _LATCHED
        if recorded.history is QosHistory.KEEP_LAST and recorded.depth > 0:
            profile.depth = recorded.depth
    return profile


_LATCHED = DurabilityPolicy.TRANSIENT_LOCAL


def _qos(connection: Connection) -> QoSProfile:
    offered = getattr(connection.ext, 'offered_qos_profiles', ())
    return recorded_qos(connection.topic, offered)


def _refuse_ros1(path: Path) -> None:
    if path.suffix.lower() == ROS1 and path.is_file():
        message = (
            f'{path} is a ROS 1 bag and only rosbag2 is played; convert it: '
            f'rosbags-convert --src {path} --dst {path.with_suffix("")}'
        )
        raise DataError(message)


def _named(topics: Sequence[str], connections: Sequence[Connection]) -> list[Connection]:
    recorded = {item.topic for item in connections}
    for topic in topics:
        if topic not in recorded:
            raise ConfigError(unknown_name('topic to wait for', topic, recorded))
    return [item for item in connections if not topics or item.topic in topics]


def _start(bag: Bag, offset_s: float) -> int:
    duration_s = bag.duration_ns * 1e-9
    if offset_s > duration_s:
        message = (
            f'start_offset_s {offset_s:g} is beyond the end of the bag, which lasts '
            f'{duration_s:.3f} s; give less.'
        )
        raise ConfigError(message)
    return bag.start_ns + int(offset_s * 1e9)


def _wait_for_delivery(publishers: Iterable[Publisher[Any]]) -> None:
    for publisher in publishers:
        publisher.wait_for_all_acked(Duration(seconds=DELIVERY_TIMEOUT_S))


def _report(
    playback: Playback, connections: Sequence[Connection], publishers: dict[int, Publisher[Any]]
) -> None:
    lines = [playback.summary()]
    for connection in connections:
        publisher = publishers[connection.id]
        # Ctrl-C may have shut ROS down already; the count is then of no interest.
        with contextlib.suppress(Exception):
            lines.append(
                f'  {publisher.topic_name}: {playback.messages.get(connection.id, 0)} messages, '
                f'{publisher.get_subscription_count()} subscribers'
            )
    sys.stdout.write('\n'.join(lines) + '\n')
    sys.stdout.flush()


def _ros_arguments(arguments: Sequence[str] | None) -> Sequence[str] | None:
    return None if arguments is None else ['play_bag', *arguments]


def _parser() -> CommandParser:
    parser = CommandParser(prog='depth_ros.play_bag', description=__doc__.split('\n', 1)[0])
    add = parser.add_argument
    add('bag', type=Path, help='rosbag2 folder, or its .mcap or .db3 file')
    add('--rate', type=positive, default=1.0, help='speed; 2 plays twice as fast as recorded')
    add('--loop', action='store_true', help='start again at the end, until Ctrl-C')
    says = 'end by Ctrl-C with status 0, as nodes do: launch says of any other that it has died'
    add('--as_node', action='store_true', help=says)
    add(
        '--restamp',
        action='store_true',
        help='give headers the stamps of now, as a live camera would; their distances stay',
    )
    add('--start_offset_s', type=not_negative, default=0.0, help='skip this much of the bag, s')
    add('--topics', nargs='+', default=(), metavar='TOPIC', help='play only these; all if absent')
    add(
        '--remap',
        nargs='+',
        default=(),
        metavar='FROM:=TO',
        help='publish a recorded topic under another name',
    )
    add(
        '--clock',
        nargs='?',
        type=positive,
        const=CLOCK_HZ,
        metavar='HZ',
        help=f'publish the recorded time on /clock, {CLOCK_HZ:g} Hz unless given',
    )
    add(
        '--wait_for_subscribers',
        nargs='*',
        metavar='TOPIC',
        help='start when these recorded topics have a subscriber; all played ones if none named',
    )
    add('--wait_for_node', metavar='NAME', help=f'start when it runs, or {NODE_LIMIT_S:g} s later')
    add(
        '--no_wait',
        action='store_true',
        help=f'play at once; else the bag waits for subscribers, at most {LISTENERS_LIMIT_S:g} s',
    )
    add('--ready_timeout_s', type=positive, default=30.0, help='limit of wait_for_subscribers, s')
    return parser


if __name__ == '__main__':
    run_command(main)
