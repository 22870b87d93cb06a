# SPDX-License-Identifier: Apache-2.0
"""A run of four steps that takes two seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

TINY = """
model:
  name: densedepth_small
  options: {encoder: mobilenetv3_small_050, decoder_channels: [16, 8, 8, 8, 8]}
data:
  height: 64
  width: 64
  train: {name: synthetic, options: {seed: 1, length: 6, scenes: indoor}}
  validation: {name: synthetic, options: {seed: 2, length: 3, scenes: indoor}}
  augmentation: none
recipe: {log_l1_weight: 1.0}
optimizer: {lr: 1.0e-3, ema_decay: 0.9, clip_norm: 10.0}
schedule: {name: onecycle, warmup_steps: 1}
trainer: {max_steps: 4, batch_size: 2, checkpoint_every_steps: 2, validate_every_steps: 2,
          log_every_steps: 1, accelerator: cpu, threads: 1}
"""


@pytest.fixture(scope='session')
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration file for a tiny network on a handful of rooms."""
    path = tmp_path_factory.mktemp('config') / 'tiny.yaml'
    path.write_text(TINY, encoding='utf-8')
    return path
