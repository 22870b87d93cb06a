# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 layer: messages to arrays, one call of `depth_core.runtime`, arrays to messages.

`settings` holds every parameter (`options` its groups), and `mono_depth_node` is the lifecycle
node. An image is taken through it by `frames`: `frames.answer` is its way, `frames.outputs` has a
row for each topic. `messages` holds the pure functions between messages and values, `model` what
is served, `scale` where metres come from, `health` diagnostics and watchdog, `middleware` what
lies between a process and the network. Commands are modules of this folder. Importing this
package loads neither rclpy nor a message package.
"""

from __future__ import annotations

import sys

from depth_core.interrupts import answer_interrupts

__all__: list[str] = []

if sys.argv[:1] == ['-m']:  # Python is still looking for the module that it will run
    answer_interrupts()
