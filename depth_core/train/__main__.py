# SPDX-License-Identifier: Apache-2.0
"""The training command: `python -m depth_core.train --config config/train/….yaml`."""

from __future__ import annotations

import logging
import sys
import warnings

from rich.console import Console
from rich.logging import RichHandler

from depth_core.errors import run_command
from depth_core.train.command_line import parse
from depth_core.train.loop import train


def main() -> None:
    """Read the settings and train."""
    console = Console(stderr=True)
    handler = (
        RichHandler(console=console, show_path=False, log_time_format='[%X]')
        if console.is_terminal  # it would wrap the lines of a log file
        else logging.StreamHandler()
    )
    logging.basicConfig(level=logging.WARNING, format='%(message)s', handlers=[handler])
    logging.getLogger('depth_core').setLevel(logging.INFO)
    if not sys.warnoptions:
        # What is addressed to programmers of other packages says nothing to who trains a network.
        warnings.simplefilter('ignore', FutureWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
    train(parse(sys.argv[1:]), console=console)


if __name__ == '__main__':
    run_command(main)
