# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 layer: messages to arrays, one call of `depth_core.runtime`, arrays to messages.

`settings` holds every parameter, `outputs` every topic that is published, `conversions` and
`point_cloud` are pure functions, `answer` takes one image through them, and `mono_depth_node` is
the lifecycle node. Importing this package loads neither rclpy nor a message package.
"""

from __future__ import annotations

import sys

from depth_core.errors import answer_interrupts

__all__: list[str] = []

if sys.argv[:1] == ['-m']:  # Python is still looking for the module that it will run
    answer_interrupts()
