# SPDX-License-Identifier: Apache-2.0
"""Malformed messages at a live node: each is counted, the node answers on, memory stays."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

from std_msgs.msg import Header

from depth_ros.demo.children import Child
from depth_ros.frames.drops import DropReason
from depth_ros.frames.outputs import CAMERA_INFO, POINTS
from depth_ros.messages.conversions import image_message
from depth_ros.stress.malformed import (
    malformed_compressed,
    malformed_images,
    malformed_infos,
    picture,
    strange_header,
)
from depth_ros.stress.results import Check, resources
from depth_ros.stress.stand import Stand

ON_THE_WAY: Final = 50
"""Messages that the node has not counted yet; fewer than the peer keeps for it."""
WARM_UP: Final = 30
"""Good images before memory is first looked at."""
MOST_GROWTH: Final = 0.10
"""Of resident memory."""
INFOS_SHARE: Final = 5
"""One calibration for so many images of a kind: each costs an inference."""
_STRANGE_HEADER: Final = 40
"""One in so many messages has one."""


def fuzz(stand: Stand, *, seed: int, count: int) -> Iterator[Check]:
    """Send `count` malformed images of each transport, and a part as many calibrations."""
    child = stand.started({'policy': 'every'})
    yield _images(stand, child, malformed_images(seed, count), 'raw images', seed)
    stand.listen(CAMERA_INFO, POINTS)
    stand.ready(child)
    yield _infos(stand, child, seed, max(1, count // INFOS_SHARE))
    stand.stop_listening(CAMERA_INFO, POINTS)
    stand.end(child)
    child = stand.started({'policy': 'every', 'image_transport': 'compressed'})
    compressed = malformed_compressed(seed, count)
    yield _images(stand, child, compressed, 'compressed images', seed)
    stand.end(child)


def _images(stand: Stand, child: Child, messages: Iterator[Any], name: str, seed: int) -> Check:
    """Send malformed images."""
    chance = random.Random(seed)  # noqa: S311 no secret
    flow = _Flow(stand, child, compressed=name.startswith('compressed'))
    for message in messages:
        odd = chance.randrange(_STRANGE_HEADER) == 0
        message.header = strange_header(chance) if odd else stand.header()
        flow.send(message)
    return flow.check(name)


def _infos(stand: Stand, child: Child, seed: int, count: int) -> Check:
    """Send malformed calibrations, each with a good image of its stamp."""
    flow = _Flow(stand, child)
    image = image_message(picture(seed), 'rgb8', Header())
    for info in malformed_infos(seed, count):
        image.header = info.header = stand.header()
        stand.infos.publish(info)
        flow.send(image)
    return flow.check('camera_infos')


class _Flow:
    """Messages that are sent no faster than the node counts them."""

    def __init__(self, stand: Stand, child: Child, *, compressed: bool = False) -> None:
        """Look at the node before anything is sent.

        Args:
            stand: Where it is.
            child: The node.
            compressed: Which transport it takes.
        """
        self._stand, self._child = stand, child
        self._compressed = compressed
        self._publisher = stand.compressed if compressed else stand.raw
        stand.until(lambda: self._publisher.get_subscription_count() > 0, 'a subscriber')
        self._send_good()
        self._before = dict(stand.fresh().values)
        while not _all_counted(self._before):  # depth is published before it is counted
            self._before = dict(stand.fresh().values)
        self._resources = resources(child.pid)
        self._sent = 0

    def send(self, message: Any) -> None:  # noqa: ANN401 Image or CompressedImage
        """Send one."""
        self._publisher.publish(message)
        self._sent += 1
        if self._on_the_way() >= ON_THE_WAY:
            self._stand.until(lambda: self._on_the_way() < ON_THE_WAY, 'messages to be counted')

    def check(self, name: str) -> Check:
        """Wait for the last, and say what became of all."""
        self._stand.until(lambda: self._counted() >= self._sent, 'the last message to be counted')
        counted, answered = self._counted(), self._since('frames_out')
        reasons = self._reasons()
        self._send_good()
        now, before = resources(self._child.pid), self._resources
        growth = now.resident_mib / before.resident_mib - 1.0
        said = ', '.join(f'{number} {reason}' for reason, number in sorted(reasons.items()))
        return Check(
            part='fuzz',
            name=f'{self._sent} malformed {name}',
            found=(
                f'{counted} counted: {answered} answered; {said}; memory '
                f'{before.resident_mib:.0f} to {now.resident_mib:.0f} MiB ({growth:+.1%}), peak '
                f'{now.peak_mib:.0f}'
            ),
            passed=counted == self._sent
            and growth <= MOST_GROWTH
            and str(DropReason.INTERNAL) not in reasons,
            values={
                'sent': self._sent,
                'counted': counted,
                'answered': answered,
                'dropped': reasons,
                'resident_mib': [before.resident_mib, now.resident_mib],
                'peak_mib': now.peak_mib,
                'threads': [before.threads, now.threads],
                'files': [before.files, now.files],
            },
        )

    def _send_good(self) -> None:
        """Send images that are fine, one after the other, and see that each is answered."""
        stand = self._stand
        for _ in range(WARM_UP):
            stamp_ns = stand.send(compressed=self._compressed)
            stand.until(functools.partial(stand.is_answered, stamp_ns), 'depth')

    def _on_the_way(self) -> int:
        return self._sent - self._since('frames_in')

    def _counted(self) -> int:
        """Messages that were answered or dropped."""
        return self._since('frames_out') + self._since('frames_dropped')

    def _reasons(self) -> dict[str, int]:
        """How many were dropped, or an output of theirs withheld, by reason."""
        counts = {str(reason): self._since(f'dropped_{reason}') for reason in DropReason}
        return {reason: count for reason, count in counts.items() if count}

    def _since(self, key: str) -> int:
        return self._stand.said.count(key) - int(self._before.get(key) or 0)


def _all_counted(values: Mapping[str, str]) -> bool:
    """Whether what came in was answered or dropped, by what the node says."""
    done = sum(int(values.get(key) or 0) for key in ('frames_out', 'frames_dropped'))
    return done >= int(values.get('frames_in') or 0)
