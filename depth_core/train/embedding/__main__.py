# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.train.embedding --config config/train/embedding/….yaml`."""

from __future__ import annotations

import logging
import sys
import warnings

from depth_core.errors import run_command
from depth_core.train.embedding.command_line import parse
from depth_core.train.embedding.loop import train_embedding


def main() -> None:
    """Read the settings and train."""
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('depth_core').setLevel(logging.INFO)
    if not sys.warnoptions:
        # What is addressed to programmers of other packages says nothing to who trains a network.
        warnings.simplefilter('ignore', FutureWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
    train_embedding(parse(sys.argv[1:]))


if __name__ == '__main__':
    run_command(main)
