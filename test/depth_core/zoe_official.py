# SPDX-License-Identifier: Apache-2.0
"""Tiny networks of ZoeDepth in the authors' form, drawn by the formula of the reference outputs.

The authors' code gave the outputs in test/data/zoe_tiny_*.npz with weights drawn from a seed made
of each key, so that no weights need to be stored. Weights were rounded to half precision.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

DATA: Final = Path(__file__).resolve().parents[1] / 'data'
NAMES: Final = ('N', 'K', 'NK')

_SHARED: Final[Mapping[str, Any]] = {
    'encoder': 'beit',
    'encoder_options': {
        'img_size': 64, 'patch_size': 16, 'embed_dim': 32, 'depth': 4, 'num_heads': 2
    },
    'hooks': (0, 1, 2, 3),
    'neck_channels': (16, 24, 32, 32),
    'features': 32,
    'n_bins': 16,
    'bin_embedding_dim': 128,
    'n_attractors': (16, 8, 4, 1),
}  # fmt: skip
TINY: Final[Mapping[str, Mapping[str, Any]]] = {
    'N': _SHARED,
    'K': _SHARED,
    'NK': {**_SHARED, 'router_ff': 64, 'routing': 'batch'},
}
"""Options of the tiny networks."""


def model_name(name: str) -> str:
    """Name in the registry."""
    return f'zoedepth_{name.lower()}'


def official_state(name: str) -> dict[str, Tensor]:
    """State dict of the authors' tiny network, their leftovers included."""
    state = {}
    for line in (DATA / f'zoe_tiny_{name}_keys.txt').read_text().splitlines():
        key, sides, kind = line.split('\t')
        shape = tuple(int(side) for side in sides.split(','))
        if kind == 'int64':
            state[key] = torch.zeros(shape, dtype=torch.int64)  # an index, computed by any reader
        else:
            state[key] = _formula(f'zoe_tiny_{name}.{key}', shape)
    return state


def hugging_face_state(name: str, version: Literal[4, 5]) -> dict[str, Tensor]:
    """The same weights as transformers of that version names and parts them."""
    official = official_state(name)
    state = {}
    for line in (DATA / f'zoe_tiny_{name}_hf_keys.txt').read_text().splitlines():
        four, five, key, third = line.split('\t')
        value = official[key]
        if third != '-':
            value = value.chunk(3)[int(third)]
        state[four if version == 4 else five] = value
    return state


def _formula(name: str, shape: tuple[int, ...]) -> Tensor:
    seed = zlib.crc32(name.encode()) & 0x7FFFFFFF
    drawn = np.random.RandomState(seed).standard_normal(shape)
    leaf = name.rsplit('.', 1)[-1]
    if leaf == 'relative_position_bias_table':
        drawn = 0.3 * drawn
    elif leaf.startswith('gamma_'):
        drawn = 0.5 + 0.1 * drawn
    elif leaf == 'cls_token':
        pass
    elif len(shape) > 1:
        drawn = drawn * np.sqrt(2.0 / np.prod(shape[1:]))
    elif leaf == 'weight':
        drawn = 1.0 + 0.1 * drawn
    else:
        drawn = 0.1 * drawn
    return torch.from_numpy(np.asarray(drawn, np.float32).astype(np.float16).astype(np.float32))
