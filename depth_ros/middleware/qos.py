# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what the node requests of cameras and offers to subscribers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)

try:  # Humble keeps the event callbacks elsewhere
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # pragma: no cover
    from rclpy.qos_event import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
    )

RELIABILITIES: Final = ('best_effort', 'reliable')

OUTPUT_DEPTH: Final = 2
"""Messages an output keeps for retransmission: one on its way and the newest. A cloud of a
megapixel takes 20 MB, so keeping more costs memory and delivers stale depth. With keep-last a
slow subscriber loses old messages; it never blocks the node."""

DIAGNOSTICS_QOS: Final = QoSProfile(depth=1)

LATCHED_QOS: Final = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""Of a second subscription to camera_info, for those that are published once and kept. The first
one is volatile, as such a one would get nothing from the drivers that keep none."""


TRANSFORMS_QOS: Final = QoSProfile(depth=100)
"""Of /tf, as tf2 subscribes to it: reliable, since a transform that is lost is missed later."""
STATIC_TRANSFORMS_QOS: Final = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Of /tf_static, whose messages are published once and kept."""


def input_qos(reliability: str, depth: int) -> QoSProfile:
    """What the node requests: best effort is offered by every camera driver, reliable by some."""
    return _keep_last(reliability, depth)


def every_qos() -> QoSProfile:
    """What the node requests of images that it is to answer every one of."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_ALL,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def output_qos(reliability: str) -> QoSProfile:
    """What the node offers: a reliable publisher serves reliable and best-effort subscribers."""
    return _keep_last(reliability, OUTPUT_DEPTH)


def _keep_last(reliability: str, depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy[reliability.upper()],
        durability=DurabilityPolicy.VOLATILE,
    )


def input_events(topic: str, warn: Callable[[str], object]) -> SubscriptionEventCallbacks:
    """Warn when a camera offers less than the node requests."""
    text = (
        f'a publisher of {topic} offers an incompatible {{policy}}: nothing will arrive from it. '
        'Set the parameter input_reliability to best_effort, or the camera to reliable.'
    )
    return SubscriptionEventCallbacks(incompatible_qos=_warning(text, warn))


def no_events() -> SubscriptionEventCallbacks:
    """Say nothing of publishers that do not fit."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def output_events(topic: str, warn: Callable[[str], object]) -> PublisherEventCallbacks:
    """Warn when a subscriber requests more than the node offers."""
    text = (
        f'a subscriber of {topic} asks for an incompatible {{policy}}: nothing will reach it. '
        'Set the parameter output_reliability to reliable and its durability to volatile.'
    )
    return PublisherEventCallbacks(incompatible_qos=_warning(text, warn))


@dataclass(frozen=True, kw_only=True)
class Sender:
    """A publisher of a topic."""

    kind: str
    """Type of its messages."""
    reliability: str
    """What it offers."""

    def __str__(self) -> str:
        return f'{self.kind}, {self.reliability}'


def keeps_messages(node: Node, topic: str) -> bool:
    """Whether a publisher of a topic keeps its messages for subscribers that come later."""
    return any(
        info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        for info in node.get_publishers_info_by_topic(topic)
    )


def senders_of(node: Node, topic: str) -> tuple[Sender, ...]:
    """The publishers of a topic that the node has found."""
    return tuple(
        Sender(
            kind=info.topic_type,
            reliability=str(ReliabilityPolicy(info.qos_profile.reliability).name).lower(),
        )
        for info in node.get_publishers_info_by_topic(topic)
    )


def _warning(text: str, warn: Callable[[str], object]) -> Callable[[Any], None]:
    def incompatible(event: Any) -> None:  # noqa: ANN401 each rclpy has its own event class
        warn(text.format(policy=qos_policy_name_from_kind(event.last_policy_kind)))

    return incompatible
