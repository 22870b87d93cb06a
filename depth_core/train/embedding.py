# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.train.embedding`: training with the recipe embedding."""

from __future__ import annotations

from functools import partial

from depth_core.errors import run_command
from depth_core.train.__main__ import train_with

main = partial(
    train_with,
    'embedding',
    command='python -m depth_core.train.embedding',
    purpose='Train an embedding network (HEG) of the loss of CLIFFNet on depth maps.',
)

if __name__ == '__main__':
    run_command(main)
