# SPDX-License-Identifier: Apache-2.0
"""What `ros2 run depth_ros <name>` starts: each name runs its module as `python -m` would.

The modules are imported when they are run, so that no command pays for the imports of another.
"""

from __future__ import annotations

import runpy


def mono_depth() -> None:
    """Run the lifecycle node that turns camera images into depth."""
    runpy.run_module('depth_ros.mono_depth_node', run_name='__main__', alter_sys=True)


def play_bag() -> None:
    """Play a rosbag2 into ROS."""
    runpy.run_module('depth_ros.play_bag', run_name='__main__', alter_sys=True)


def synthetic_camera() -> None:
    """Publish rendered images with their exact depth."""
    runpy.run_module('depth_ros.synthetic_camera', run_name='__main__', alter_sys=True)


def demo() -> None:
    """Run the synthetic camera through the node and show what comes out."""
    runpy.run_module('depth_ros.demo', run_name='__main__', alter_sys=True)
