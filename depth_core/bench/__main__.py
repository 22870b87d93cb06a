# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.bench`."""

from __future__ import annotations

from depth_core.bench.command import main
from depth_core.errors import run_command

if __name__ == '__main__':
    run_command(main)
