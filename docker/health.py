# SPDX-License-Identifier: Apache-2.0
"""Whether the node of a container answers: 0 once /diagnostics is heard and says no error, else 1.

That the process is alive says little: its executor may hang, or its model may have failed to load.
A node that waits for images is well.
"""

from __future__ import annotations

import sys
import time
from typing import Final

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

PATIENCE_S: Final = 10.0


def main(name: str = 'mono_depth') -> int:
    """Listen until the node of this name has said how it is.

    Args:
        name: All of it, with its namespace where it has one: `front/mono_depth`.
    """
    name = name.lstrip('/')
    rclpy.init()
    node = rclpy.create_node('health')
    heard: list[DiagnosticStatus] = []

    def listen(message: DiagnosticArray) -> None:
        heard.extend(status for status in message.status if status.name == name)

    node.create_subscription(DiagnosticArray, '/diagnostics', listen, 1)
    end = time.monotonic() + PATIENCE_S
    while not heard and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=end - time.monotonic())
    node.destroy_node()
    rclpy.shutdown()
    if not heard:
        sys.stdout.write(f'{name} said nothing for {PATIENCE_S:g} s\n')
        return 1
    sys.stdout.write(f'{heard[0].message}\n')
    return int(heard[0].level >= DiagnosticStatus.ERROR)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:2]))
