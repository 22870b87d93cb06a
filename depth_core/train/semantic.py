# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_core.train.semantic`: training with the recipe semantic.

Without a configuration it takes semantic_synthetic.yaml of this package: synthetic streets.
"""

from __future__ import annotations

from functools import partial

from depth_core.errors import run_command
from depth_core.train.__main__ import train_with

main = partial(
    train_with,
    'semantic',
    command='python -m depth_core.train.semantic',
    purpose='Train the semantic network of a guided depth network on labels, and score it by its '
    'mIoU on held-out images. Without --config it takes semantic_synthetic.yaml: synthetic '
    'streets.',
    default_config='config/train/semantic_synthetic.yaml',
)

if __name__ == '__main__':
    run_command(main)
