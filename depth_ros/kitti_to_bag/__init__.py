# SPDX-License-Identifier: Apache-2.0
"""KITTI drives and odometry sequences to rosbag2: `python -m depth_ros.kitti_to_bag`.

It needs neither a running ROS nor torch. `frames` names frames and topics, `messages` makes
messages of values, `streams` those of a sensor, and `conversion` writes them in order of time.
"""

from __future__ import annotations

__all__: list[str] = []
