# SPDX-License-Identifier: Apache-2.0
"""Warn of what is near in the middle of the view, where the depth can be trusted.

Run mono_depth, then this. A near obstacle is a tenth of the middle of the image that is nearer
than `limit_m` with a confidence of at least `trust`:

    python examples/warn_of_obstacles.py --ros-args -p limit_m:=1.5 -p trust:=0.6
"""

from __future__ import annotations

from functools import partial

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image

DEPTH = 'depth/image_raw'
CONFIDENCE = 'confidence/image_raw'
SHARE = 0.1
"""Less than this part of the middle is not an obstacle but noise."""


class ObstacleWarner(Node):
    """Pairs depth with its confidence by stamp and looks at the middle of both."""

    def __init__(self) -> None:
        super().__init__('warn_of_obstacles')
        self.limit_m = float(self.declare_parameter('limit_m', 2.0).value or 0.0)
        self.trust = float(self.declare_parameter('trust', 0.5).value or 0.0)
        self.newest: dict[str, Image] = {}
        for topic in (DEPTH, CONFIDENCE):
            self.create_subscription(Image, topic, partial(self.take, topic), 5)

    def take(self, topic: str, message: Image) -> None:
        """Look when both images of one stamp are there, in whichever order they came."""
        self.newest[topic] = message
        depth, confidence = self.newest.get(DEPTH), self.newest.get(CONFIDENCE)
        if depth and confidence and depth.header.stamp == confidence.header.stamp:
            self.look(middle(depth), middle(confidence))

    def look(self, depth_m: NDArray[np.float32], confidence: NDArray[np.float32]) -> None:
        """Warn when enough of the middle is near for certain."""
        near = (depth_m < self.limit_m) & (confidence >= self.trust)
        if near.mean() >= SHARE:
            nearest_m = np.percentile(depth_m[near], 10)
            self.get_logger().warning(f'obstacle at {nearest_m:.1f} m')


def middle(message: Image) -> NDArray[np.float32]:
    """The middle third of a 32FC1 image, in both directions."""
    values = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
    height, width = values.shape
    return values[height // 3 : -(height // 3), width // 3 : -(width // 3)]


def main() -> None:
    """Spin until Ctrl-C."""
    rclpy.init()
    try:
        rclpy.spin(ObstacleWarner())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
