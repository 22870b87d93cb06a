# SPDX-License-Identifier: Apache-2.0
"""What `ros2 run depth_ros <name>` starts: each name runs its module as `python -m` would.

The modules are imported when they are run, so that no command pays for the imports of another.
"""

from __future__ import annotations

import runpy

from depth_core.errors import run_command


def mono_depth() -> None:
    """Run the lifecycle node that turns camera images into depth."""
    _run('depth_ros.mono_depth_node')


def play_bag() -> None:
    """Play a rosbag2 into ROS."""
    _run('depth_ros.play_bag')


def kitti_to_bag() -> None:
    """Turn a KITTI drive or sequence into a rosbag2."""
    _run('depth_ros.kitti_to_bag')


def synthetic_camera() -> None:
    """Publish rendered images with their exact depth."""
    _run('depth_ros.synthetic_camera')


def demo() -> None:
    """Run the synthetic camera through the node and show what comes out."""
    _run('depth_ros.demo')


def snapshot() -> None:
    """Save a picture of what the node publishes."""
    _run('depth_ros.snapshot')


def stress() -> None:
    """Try what the node withstands."""
    _run('depth_ros.stress')


def evaluate_bag() -> None:
    """Score a model on recordings."""
    _run('depth_ros.evaluate_bag')


def running_error() -> None:
    """Say how wrong the depth of a replayed recording is."""
    _run('depth_ros.running_error')


def _run(module: str) -> None:
    # The module runs as a command itself; this one answers Ctrl-C while it is still imported.
    run_command(lambda: runpy.run_module(module, run_name='__main__', alter_sys=True))
