# SPDX-License-Identifier: Apache-2.0
"""Listen to a camera with ground truth and to `mono_depth`, and keep the score."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from depth_core.contracts import Float32Array
from depth_core.metrics import DepthMetrics, MetricAccumulator, mean_metrics
from depth_ros.demo.camera import CAMERA, CAMERA_TOPICS, IMAGE, TRUTH
from depth_ros.frames.outputs import CAMERA_INFO, CONFIDENCE, DEPTH, OUTPUTS, POINTS, SIGMA
from depth_ros.messages.conversions import nanoseconds, rgb_from_compressed
from depth_ros.middleware.qos import input_qos
from depth_ros.pictures.answered import Answered, answered

NODE_TOPICS: Final = {
    output.topic: output.kind
    for output in OUTPUTS
    if output.topic in (CAMERA_INFO, DEPTH, SIGMA, CONFIDENCE, POINTS)
}

SCORED_STEP: Final = 4
"""Every n-th row and column is scored: enough for a mean, and it leaves the CPU to the node."""

_QUEUE_DEPTH: Final = 5
_STAMPS_KEPT: Final = 8
_RATE_WINDOW_S: Final = 3.0


@dataclass(kw_only=True)
class Score:
    """Counts of the images whose stamps lie in the measured time."""

    begin_ns: int
    end_ns: int
    stamps_in_ns: set[int] = field(default_factory=set)
    """Images that were published; an answer proves its image, should that itself be lost here."""
    stamps_out_ns: set[int] = field(default_factory=set)
    """Images that were answered with depth."""
    latencies_ms: list[float] = field(default_factory=list)
    """From the stamp of an image to the arrival of its depth."""
    compared: list[DepthMetrics] = field(default_factory=list)
    """Depth against truth, one entry an image."""

    def covers(self, stamp_ns: int) -> bool:
        """Whether an image of this stamp counts."""
        return self.begin_ns <= stamp_ns < self.end_ns

    @property
    def inputs(self) -> int:
        """How many images were published."""
        return len(self.stamps_in_ns)

    @property
    def outputs(self) -> int:
        """How many of them were answered."""
        return len(self.stamps_out_ns)

    @property
    def drops(self) -> int:
        """Images that have had no answer (yet)."""
        return self.inputs - self.outputs

    def latency_ms(self) -> tuple[float, float]:
        """Median and 95th percentile; NaN before the first answer."""
        if not self.latencies_ms:
            return float('nan'), float('nan')
        median, upper = np.percentile(self.latencies_ms, (50, 95))
        return float(median), float(upper)

    def metrics(self) -> DepthMetrics | None:
        """Mean over the images compared so far; None before the first."""
        return mean_metrics(self.compared) if self.compared else None


class Monitor:
    """Subscribes to both sides and brings their messages together by stamp."""

    def __init__(self, node: Node) -> None:
        self.score: Score | None = None
        self.diagnostics: dict[str, str] = {}
        """The latest values the node gave on /diagnostics."""
        self.complete: dict[str, Any] | None = None
        """The messages of the latest image that everything has arrived of."""
        self.seen: set[str] = set()
        """Topics that a message has come from."""
        self._clock = node.get_clock()
        self._by_stamp: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._arrivals_s: dict[str, deque[float]] = {IMAGE: deque(), DEPTH: deque()}
        qos = input_qos('reliable', _QUEUE_DEPTH)
        for topic, kind in CAMERA_TOPICS.items():
            node.create_subscription(kind, f'{CAMERA}/{topic}', self._keeper(topic), qos)
        for topic, kind in NODE_TOPICS.items():
            node.create_subscription(kind, topic, self._keeper(topic), qos)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    @property
    def missing(self) -> list[str]:
        """Topics that nothing has come from."""
        return [topic for topic in (*CAMERA_TOPICS, *NODE_TOPICS) if topic not in self.seen]

    def begin(self, duration_s: float) -> Score:
        """Start to count, for so long."""
        now_ns = self._clock.now().nanoseconds
        self.score = Score(begin_ns=now_ns, end_ns=now_ns + int(duration_s * 1e9))
        return self.score

    def rate_hz(self, topic: str) -> float:
        """Messages a second, of late."""
        arrivals_s = self._arrivals_s[topic]
        oldest_s = time.monotonic() - _RATE_WINDOW_S
        while arrivals_s and arrivals_s[0] < oldest_s:
            arrivals_s.popleft()
        if len(arrivals_s) < 2:  # noqa: PLR2004 a period has two ends
            return 0.0
        return (len(arrivals_s) - 1) / max(arrivals_s[-1] - arrivals_s[0], 1e-3)

    def answer(self) -> Answered | None:
        """The latest image that everything has arrived of; None before the first."""
        if self.complete is None:
            return None
        return answered(
            self.complete,
            image=rgb_from_compressed(self.complete[IMAGE]),
            truth_m=float_image(self.complete[TRUTH]),
        )

    def _keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:  # noqa: ANN401 each topic has its own class
            arrived_ns = self._clock.now().nanoseconds
            stamp_ns = nanoseconds(message.header.stamp)
            self.seen.add(topic)
            if topic in self._arrivals_s:
                self._arrivals_s[topic].append(time.monotonic())
            if self.score is not None and self.score.covers(stamp_ns):
                self.score.stamps_in_ns.add(stamp_ns)
                if topic == DEPTH:
                    self.score.stamps_out_ns.add(stamp_ns)
                    self.score.latencies_ms.append((arrived_ns - stamp_ns) * 1e-6)
            self._file(stamp_ns, topic, message)

        return keep

    def _file(self, stamp_ns: int, topic: str, message: Any) -> None:  # noqa: ANN401 as above
        known = self._by_stamp.setdefault(stamp_ns, {})
        known[topic] = message
        if topic in (DEPTH, TRUTH) and DEPTH in known and TRUTH in known:
            self._compare(stamp_ns, float_image(known[DEPTH]), float_image(known[TRUTH]))
        if len(known) == len(CAMERA_TOPICS) + len(NODE_TOPICS):
            self.complete = known
        while len(self._by_stamp) > _STAMPS_KEPT:
            self._by_stamp.popitem(last=False)

    def _compare(self, stamp_ns: int, depth_m: Float32Array, truth_m: Float32Array) -> None:
        if self.score is not None and self.score.covers(stamp_ns):
            step = (slice(None, None, SCORED_STEP),) * 2
            sums = MetricAccumulator().update(depth_m[step], truth_m[step]).sums
            if sums is not None:
                self.score.compared.append(sums.metrics())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {entry.key: entry.value for entry in status.values}
            if 'frames_out' in values and 'backend' in values:  # of the whole node
                self.diagnostics = values


def float_image(message: Image) -> Float32Array:
    """View a 32FC1 image of this machine's byte order as [H, W]."""
    pixels = np.frombuffer(message.data, np.float32)
    return pixels.reshape(message.height, message.step // 4)[:, : message.width]
