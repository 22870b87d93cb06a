# SPDX-License-Identifier: Apache-2.0
"""Recorded images through the live node, over DDS, every one of them: `--through_ros`.

The recorded bytes go to `mono_depth` in a process and a ROS domain of its own, which answers with
policy `every`; each answer is scored as the one of the predictor is in code.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from depth_core.contracts import DepthKind, DepthMap, Intrinsics, Uint8Array
from depth_core.data.bag.messages import header_stamp_ns
from depth_core.data.bag.opener import Bag, RawMessage, open_bag, select_connections
from depth_core.errors import ConfigError, DepthError
from depth_core.evaluate.bags.executors import Execute, Outcome
from depth_core.evaluate.bags.part import open_model, open_part, score_part
from depth_core.evaluate.bags.request import BagRequest, Part
from depth_ros.demo.children import Child, children_ended, free_domain_id
from depth_ros.demo.run import one_machine_environment
from depth_ros.frames.outputs import DEPTH, SIGMA
from depth_ros.messages.conversions import depth_from_image, nanoseconds
from depth_ros.middleware.fastdds import fitting_profile
from depth_ros.middleware.qos import every_qos
from depth_ros.middleware.session import ros_node, signals_held
from depth_ros.play_bag import create_publishers

PROCESSES: Final = 2
PATIENCE_S: Final = 300.0
"""Longest wait for the node: at first it opens the model, and may build an engine."""

DIAGNOSTICS_S: Final = 0.2
"""Time between two looks at what the node says."""

_BACKEND: Final = 'mono_depth over ROS'
_QUIET: Final = ('--ros-args', '--disable-external-lib-logs')


def through_node(folder: Path) -> Execute:
    """Evaluate parts through `mono_depth`, one recording after the other.

    Args:
        folder: For the log of the node.

    Raises:
        ConfigError: From the returned function: what is asked for cannot go through the node.
        DepthError: From it: the node ended, or gave no answer.
    """

    def execute(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
        _check(request)
        if not parts:
            return
        folder.mkdir(parents=True, exist_ok=True)
        profile = fitting_profile(folder, processes=PROCESSES)
        os.environ.update(one_machine_environment(free_domain_id(), profile))
        for bag, own in itertools.groupby(parts, key=lambda part: part.bag):
            with children_ended() as children, ros_node('evaluate_bag', arguments=[]) as node:
                live = LiveNode(node, children, bag, request, folder / 'mono_depth.log')
                for part in own:
                    with live.playing(part) as player:
                        yield part, score_part(request, part, player)

    return execute


def _check(request: BagRequest) -> None:
    kind = open_model(request).manifest.output.kind
    if not kind.is_metric or request.align == 'affine_inverse':
        message = f'depth of kind {kind} is not published as metres; leave --through_ros out.'
        raise ConfigError(message)
    if request.flip_average != 'none' or request.protocol.window is not None:
        message = (
            'the node predicts whole images once; with --through_ros give no --flip_average and '
            'no protocol with a window.'
        )
        raise ConfigError(message)


class LiveNode:
    """`mono_depth` in a process of its own, and the topics of one recording."""

    def __init__(
        self, node: Node, children: list[Child], bag: Path, request: BagRequest, log: Path
    ) -> None:
        self._node = node
        self._bag = bag
        self._answers: dict[str, dict[int, Image]] = {DEPTH: {}, SIGMA: {}}
        self._range = open_model(request).manifest.output
        self._topics = open_part(request, Part(bag=bag, number=0, start_ns=0, stop_ns=1)).topics
        with open_bag(bag) as opened:
            if opened.ros1:
                message = f'{bag} is of ROS 1, whose bytes the node cannot take; convert it first.'
                raise ConfigError(message)
            self._publishers = self._offer(opened)
            self._infos = [self._topics.camera_info]
            compressed = any(
                item.topic == self._topics.image and item.msgtype.endswith('CompressedImage')
                for item in opened.connections
            )
        command = _command(request, self._topics.image, self._topics.camera_info, compressed)
        self._child = Child('mono_depth', command, log=log, environment=dict(os.environ))
        children.append(self._child)
        for topic in self._answers:
            node.create_subscription(Image, topic, self._keeper(topic), every_qos())
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 1)
        self._knows: set[str] = set()
        """Outputs that the node has a subscriber of, by what it says."""
        self._greeted = False

    @contextlib.contextmanager
    def playing(self, part: Part) -> Iterator[_Player]:
        """Give what plays a part."""
        with open_bag(self._bag) as bag:
            yield _Player(self, bag, self.messages(bag, part))

    def messages(self, bag: Bag, part: Part) -> Iterator[RawMessage]:
        """What is played of a part; before its first image, a camera_info."""
        infos = select_connections(bag, self._infos)
        yield from itertools.islice(bag.messages(infos), 1)
        played = select_connections(bag, [self._topics.image, *self._infos])
        yield from bag.messages(played, start_ns=part.start_ns, stop_ns=part.stop_ns)

    def is_image(self, message: RawMessage) -> bool:
        """Whether a message is one that the node answers."""
        return message.connection.topic == self._topics.image

    def publish(self, message: RawMessage) -> None:
        """Publish recorded bytes, once the node listens."""
        if not self._greeted:
            self._wait(self._is_connected, 'take images')
            self._greeted = True
        with signals_held():
            self._publishers[message.connection.id].publish(message.data)

    def answer(self, stamp_ns: int) -> DepthMap:
        """Wait for the answer to an image.

        Raises:
            DepthError: The node ended, or gave none.
        """
        begun_s = time.perf_counter()
        self._wait(lambda: all(stamp_ns in own for own in self._answers.values()), 'answer')
        depth, sigma = (depth_from_image(own[stamp_ns]) for own in self._answers.values())
        for own in self._answers.values():
            own.clear()
        return DepthMap(
            depth_m=depth,
            sigma_m=sigma,
            kind=DepthKind.METRIC,
            stamp_ns=stamp_ns,
            backend=_BACKEND,
            depth_range=(self._range.min_depth, self._range.max_depth),
            inference_s=time.perf_counter() - begun_s,
        )

    def _offer(self, bag: Bag) -> Mapping[int, Publisher[Any]]:
        chosen = select_connections(bag, [self._topics.image, self._topics.camera_info])
        with signals_held():
            return create_publishers(self._node, chosen, {})

    def _keeper(self, topic: str) -> Any:  # noqa: ANN401  a callback of rclpy
        def keep(message: Image) -> None:
            self._answers[topic][nanoseconds(message.header.stamp)] = message

        return keep

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for item in itertools.chain.from_iterable(status.values for status in message.status):
            if item.key == 'outputs_wanted':
                self._knows = set(item.value.split())

    def _is_connected(self) -> bool:
        """Whether both sides know each other: the node drops what nobody listens to."""
        heard = all(item.get_subscription_count() > 0 for item in self._publishers.values())
        return heard and self._knows >= self._answers.keys()

    def _wait(self, done: Any, what: str) -> None:  # noqa: ANN401  a question without arguments
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            self._child.check()
            if time.monotonic() > deadline_s:
                message = (
                    f'mono_depth did not {what} within {PATIENCE_S:g} s. '
                    f'{self._child.last_lines()}'
                )
                raise DepthError(message)
            with signals_held():
                rclpy.spin_once(self._node, timeout_sec=0.1)


class _Player:
    """Plays a part as far as each sample, and gives the answer of the node."""

    def __init__(self, live: LiveNode, bag: Bag, messages: Iterator[RawMessage]) -> None:
        self._live = live
        self._bag = bag
        self._messages = messages

    def predict(self, image_hwc_u8: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        """Refuse: the node is asked for recorded images alone.

        Raises:
            ConfigError: Always.
        """
        del image_hwc_u8, intrinsics
        message = 'the live node answers recorded images as they are; leave --through_ros out.'
        raise ConfigError(message)

    def answer(self, key: str) -> DepthMap:
        """Play as far as the image of a sample, and wait for its depth."""
        wanted_ns = int(key.rpartition(' ')[2])
        for message in self._messages:
            self._live.publish(message)
            if not self._live.is_image(message):
                continue
            stamp_ns = header_stamp_ns(self._bag.decode(message)) or message.stamp_ns
            if stamp_ns == wanted_ns:
                return self._live.answer(stamp_ns)
        message_text = f'the image of stamp {wanted_ns} is not in the part that is played.'
        raise DepthError(message_text)


def _command(request: BagRequest, image: str, info: str, compressed: bool) -> tuple[str, ...]:
    """The command line of the node."""
    rectified = dict(request.data).get('rectified')
    geometry = 'auto' if rectified is None else 'rectified' if rectified else 'raw'
    parameters = {
        'model': request.model,
        'backend': 'auto' if request.backend is None else ','.join(request.backend),
        'precision': request.precision,
        'threads': request.threads,
        'policy': 'every',
        'diagnostics_period_s': DIAGNOSTICS_S,
        'image_transport': 'compressed' if compressed else 'raw',
        'image_geometry': geometry,
    }
    if request.manifest is not None:
        parameters['manifest'] = request.manifest
    if request.assumed_hfov_deg is not None:
        parameters['assumed_hfov_deg'] = request.assumed_hfov_deg
    taken = 'image/compressed' if compressed else 'image'
    remapped = ('-r', f'{taken}:={image}', '-r', f'camera_info:={info}')
    given = itertools.chain.from_iterable(('-p', f'{k}:={v}') for k, v in parameters.items())
    return ('depth_ros.mono_depth_node', *_QUIET, *remapped, *given)
