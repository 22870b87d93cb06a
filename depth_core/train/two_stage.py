# SPDX-License-Identifier: Apache-2.0
"""The former name of the command `python -m depth_core.train.infinite_depth`."""

from __future__ import annotations

from depth_core.errors import run_command
from depth_core.train.infinite_depth.__main__ import main

if __name__ == '__main__':
    run_command(main)
