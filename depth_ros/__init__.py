# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 layer: messages to arrays, one call of `depth_core.runtime`, arrays to messages.

`conversions` and `point_cloud` are pure functions, `parameters` is the table of every
parameter, and `mono_depth_node` is the lifecycle node that ties them together. Importing this
package loads neither rclpy nor a message package.
"""

from __future__ import annotations

import sys

from depth_core.errors import answer_interrupts

__all__: list[str] = []

if sys.argv[:1] == ['-m']:  # so Python says that it looks for the command it is to run
    answer_interrupts()
