# SPDX-License-Identifier: Apache-2.0
"""What is seen of one camera at the moment of a report, which the diagnostics are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depth_ros.frames.statistics import Snapshot
from depth_ros.health.identity import Identity
from depth_ros.health.silence import silence_text
from depth_ros.middleware.qos import Sender
from depth_ros.options.health import HealthOptions


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the node sees at the moment of a report."""

    identity: Identity
    """What is running."""
    counts: Snapshot
    """What happened."""
    health: HealthOptions
    """The limits."""
    image_name: str = 'image'
    """The image topic before remapping, without its transport."""
    senders: Sequence[Sender] = ()
    """Publishers of the image topic."""
    reliability: str = 'best_effort'
    """What is requested of them."""
    wanted: Sequence[str] = ()
    """Outputs that have a subscriber."""
    wanted_s: float = 0.0
    """For how long any has had one."""
    silence_s: float
    """Without an image for so long, an active node warns."""
    clock_stands: bool = False
    """Whether the node takes its time from /clock, and none came."""

    @property
    def is_working(self) -> bool:
        """Whether it is active, and its model open."""
        return self.identity.state == 'active' and self.identity.progress is None

    @property
    def silence(self) -> str:
        """Why no image comes; empty when they come, or are not expected."""
        if not self.is_working or self.counts.silent_s <= self.silence_s:
            return ''
        return silence_text(
            self.identity.image_topic,
            self.senders,
            name=self.image_name,
            transport=self.identity.transport,
            reliability=self.reliability,
            frames_in=self.counts.frames_in,
            silent_s=self.counts.silent_s,
        )
