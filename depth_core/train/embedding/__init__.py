# SPDX-License-Identifier: Apache-2.0
"""Training of the embedding networks (HEG) that CLIFFNet's loss looks through.

`python -m depth_core.train.embedding --config config/train/embedding/heg_s_synthetic.yaml`. These
networks see depth maps and no images, answer with a scene class or the map itself, and are scored
by that: hence a command and a loop of their own beside those of the depth networks.
"""

from __future__ import annotations

from depth_core.train.embedding.command_line import parse
from depth_core.train.embedding.loop import train_embedding
from depth_core.train.embedding.settings import EmbeddingSettings

__all__ = ['EmbeddingSettings', 'parse', 'train_embedding']
