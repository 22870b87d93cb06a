# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_ros.stress`."""

from __future__ import annotations

from depth_core.errors import run_command
from depth_ros.stress.run import main

if __name__ == '__main__':
    run_command(main)
