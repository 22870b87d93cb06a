# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.compare`."""

from __future__ import annotations

from depth_core.compare.command import main
from depth_core.errors import run_command

__all__ = ['main']

if __name__ == '__main__':
    run_command(main)
