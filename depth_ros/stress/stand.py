# SPDX-License-Identifier: Apache-2.0
"""A real node in a process of its own, and the peer that sends to it and listens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_core.errors import DepthError
from depth_ros.demo.children import Child
from depth_ros.frames.outputs import DEPTH, OUTPUTS
from depth_ros.messages.compressed import compressed_colours
from depth_ros.messages.conversions import image_message, nanoseconds
from depth_ros.middleware.session import signals_held
from depth_ros.stress.malformed import camera_info, picture

PERIOD_S: Final = 1.0 / 30.0
"""Between two images of a camera."""
DIAGNOSTICS_S: Final = 0.1
PATIENCE_S: Final = 600.0
"""Longest wait for anything the node should do; a machine may be busy."""
KEPT_IMAGES: Final = 100
"""Images that are kept for a reader that is slow."""

_PICTURES: Final = 4
_ANSWERS_KEPT: Final = 500
_NANO: Final = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the node is started with."""

    model: str
    backend: str
    folder: Path
    """Of the logs."""
    environment: Mapping[str, str]


@dataclass
class Said:
    """What the diagnostics of the node say."""

    level: int = -1
    message: str = ''
    values: dict[str, str] = field(default_factory=dict)
    number: int = 0
    """How many there were."""

    def count(self, key: str) -> int:
        """A value that is a whole number; 0 before it is there."""
        return int(self.values.get(key) or 0)


class Stand:
    """Starts nodes, sends images, and knows which of them were answered."""

    def __init__(
        self, node: Node, children: list[Child], subject: Subject, *, height: int, width: int
    ) -> None:
        """Create the topics.

        Args:
            node: Of the peer.
            children: Where started processes are put, so that they are ended.
            subject: The node that is tried.
            height: Rows of the images of a camera.
            width: Columns of these.
        """
        self.said = Said()
        self.subject = subject
        self.offset_s = 0.0
        """How far the clock of the camera is ahead."""
        self._children = children
        self._node = node
        self._answered: deque[int] = deque(maxlen=_ANSWERS_KEPT)
        self._listening: dict[str, Any] = {}
        self._last_ns = 0
        self._next_s = 0.0
        self._number = 0
        self._info = camera_info(height, width)
        pictures = [picture(number, height=height, width=width) for number in range(_PICTURES)]
        self._images: list[Any] = [image_message(seen, 'rgb8', Header()) for seen in pictures]
        self._encoded: list[Any] = [
            compressed_colours(seen, header=Header(), jpeg_quality=90) for seen in pictures
        ]
        kept = QoSProfile(depth=KEPT_IMAGES)
        self.raw = node.create_publisher(Image, 'image', kept)
        self.compressed = node.create_publisher(CompressedImage, 'image/compressed', kept)
        self.infos = node.create_publisher(CameraInfo, 'camera_info', kept)
        self.clock = node.create_publisher(Clock, '/clock', kept)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self.listen(DEPTH)

    def close(self) -> None:
        """Take no more messages."""
        self._executor.shutdown()

    def listen(self, *topics: str) -> None:
        """Subscribe to outputs of the node."""
        for output in OUTPUTS:
            if output.topic in topics and output.topic not in self._listening:
                is_depth = output.topic == DEPTH
                take = self._on_depth if is_depth else _nothing
                self._listening[output.topic] = self._node.create_subscription(
                    output.kind, output.topic, take, QoSProfile(depth=2), raw=not is_depth
                )

    def stop_listening(self, *topics: str) -> None:
        """Undo `listen`."""
        with signals_held():
            for topic in topics:
                self._node.destroy_subscription(self._listening.pop(topic))

    def start(
        self,
        parameters: Mapping[str, object] | None = None,
        *,
        command: tuple[str, ...] = ('depth_ros.mono_depth_node',),
        remappings: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a node, and do not wait for it."""
        given = {
            'model': self.subject.model,
            'backend': self.subject.backend,
            'diagnostics_period_s': DIAGNOSTICS_S,
            **(parameters or {}),
        }
        ros = [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]
        for name, target in (remappings or {}).items():
            ros += ['-r', f'{name}:={target}']
        arguments = (*command, '--ros-args', '--disable-external-lib-logs', *ros)
        return self.process(command[0], arguments)

    def process(self, name: str, arguments: tuple[str, ...]) -> Child:
        """Start any module."""
        log = self.subject.folder / f'{len(self._children)}_{name}.log'
        child = Child(name, arguments, log=log, environment=self.subject.environment)
        self._children.append(child)
        return child

    def started(self, parameters: Mapping[str, object] | None = None, **options: Any) -> Child:  # noqa: ANN401 as `start`
        """Start a node, and wait until it answers."""
        self.said = Said()
        child = self.start(parameters, **options)
        self.ready(child)
        return child

    def ready(self, child: Child) -> None:
        """Wait until a node is active and knows who listens."""

        def is_ready() -> bool:
            child.check()
            wanted = set(self.said.values.get('outputs_wanted', '').split())
            return self.said.values.get('state') == 'active' and wanted >= set(self._listening)

        self.until(is_ready, 'an active node')

    def end(self, child: Child) -> float:
        """Ask a process to end, as Ctrl-C does; how long that took, seconds."""
        begun_s = time.monotonic()
        child.ask_to_end()
        self.until(lambda: child.status is not None, 'the end of a process')
        return time.monotonic() - begun_s

    def spin(self, timeout_s: float = 0.005) -> None:
        """Handle what came."""
        with signals_held():
            self._executor.spin_once(timeout_sec=timeout_s)

    def until(self, condition: Callable[[], bool], what: str) -> float:
        """Handle messages until `condition` holds; how long that took, seconds.

        Raises:
            DepthError: It took longer than `PATIENCE_S`.
        """
        begun_s = time.monotonic()
        while not condition():
            if time.monotonic() - begun_s > PATIENCE_S:
                logs = '\n  '.join(child.last_lines() for child in self._children[-2:])
                message = f'waited {PATIENCE_S:g} s for {what} in vain.\n  {logs}'
                raise DepthError(message)
            self.spin()
        return time.monotonic() - begun_s

    def header(self) -> Header:
        """A header of now, by the clock of the camera; no two are alike."""
        stamp_ns = time.time_ns() + int(self.offset_s * _NANO)
        if stamp_ns == self._last_ns:
            stamp_ns += 1
        self._last_ns = stamp_ns
        header = Header(frame_id='camera_optical_frame')
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, _NANO)
        return header

    def send(self, *, compressed: bool = False) -> int:
        """Send the next image of the camera with its camera_info; its stamp, nanoseconds."""
        header = self.header()
        self._number += 1
        publisher, images = self.raw, self._images
        if compressed:
            publisher, images = self.compressed, self._encoded
        image = images[self._number % len(images)]
        image.header = self._info.header = header
        with signals_held():
            self.infos.publish(self._info)
            publisher.publish(image)
        return nanoseconds(header.stamp)

    def tell_time(self, seconds: int) -> None:
        """Publish a time on /clock, and go on once the node can have it."""
        clock = Clock()
        clock.clock.sec = seconds
        self.until(lambda: self.clock.get_subscription_count() > 0, 'a subscriber of /clock')
        with signals_held():
            self.clock.publish(clock)
        self.fresh()

    def is_answered(self, stamp_ns: int) -> bool:
        """Whether depth of an image came."""
        return stamp_ns in self._answered

    def answered_after(self, stamp_ns: int) -> int:
        """How many of the latest answers are of images with a later stamp."""
        return sum(found > stamp_ns for found in self._answered)

    def film(self) -> int | None:
        """Send an image when it is time for one, and handle what came; its stamp."""
        now_s = time.monotonic()
        stamp_ns = None
        if now_s >= self._next_s:
            self._next_s = max(self._next_s + PERIOD_S, now_s)
            stamp_ns = self.send()
        self.spin(min(0.005, max(0.0, self._next_s - now_s)))
        return stamp_ns

    def film_until(self, condition: Callable[[], bool], what: str) -> float:
        """Be a camera until `condition` holds; how long that took, seconds."""

        def filmed() -> bool:
            self.film()
            return condition()

        return self.until(filmed, what)

    def film_until_answered(self, count: int = 1) -> float:
        """Be a camera until so many images sent from now on are answered; how long, seconds."""
        sent: set[int] = set()

        def answered() -> bool:
            if (stamp_ns := self.film()) is not None:
                sent.add(stamp_ns)
            return len(sent.intersection(self._answered)) >= count

        return self.until(answered, 'depth')

    def _on_depth(self, message: Image) -> None:
        self._answered.append(nanoseconds(message.header.stamp))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if ': ' not in status.name:  # not of a part
                self.said.level = int.from_bytes(status.level, 'little')
                self.said.message = status.message
                self.said.values = {item.key: item.value for item in status.values}
                self.said.number += 1

    def fresh(self) -> Said:
        """Wait for diagnostics that were made from now on."""
        number = self.said.number
        self.until(lambda: self.said.number >= number + 2, 'diagnostics')
        return self.said


def _nothing(message: object) -> None:
    """Take what is only to be sent."""
