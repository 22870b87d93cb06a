# SPDX-License-Identifier: Apache-2.0
"""URCDC-Depth in the authors' form.

The authors' code gave the reference outputs with weights drawn from a seed made of each key, so
that no weights need to be stored.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from depth_core.models import DepthModel, create_model
from depth_core.models.urcdc.network import official_key

DATA: Final = Path(__file__).resolve().parents[1] / 'data'

TINY: Final[Mapping[str, Any]] = {
    'embed_dim': 12,
    'depths': (2, 1, 1, 1),
    'heads': (1, 2, 3, 4),
    'window': 4,
    'drop_path': 0.0,
    'crf_channels': (8, 16, 24, 32),
    'crf_heads': (1, 2, 2, 4),
    'pooled_channels': 16,
    'pooled_groups': 8,
    'cnn_growth_rate': 4,
    'cnn_blocks': (1, 1, 1, 1),
    'cnn_init_features': 8,
    'bypass': 0.0,
}
"""Options of a network of 0.5 M parameters with the wiring of the published one."""


def published_keys() -> dict[str, tuple[int, ...]]:
    """Every weight of the published network and its shape."""
    with zipfile.ZipFile(DATA / 'official_keys.zip') as archive:
        lines = archive.read('urcdc.txt').decode().splitlines()
    names = (line.partition(' ') for line in lines)
    return {key: tuple(int(side) for side in sides.split(',') if side) for key, _, sides in names}


def tiny_official() -> dict[str, Tensor]:
    """State dict of the authors' network at the sizes of `TINY`, integer buffers included."""
    with torch.device('meta'):
        model = create_model('urcdc', **TINY)
    shapes = {official_key(key): value.shape for key, value in model.state_dict().items()}
    tokens = int(TINY['window']) ** 2
    shapes |= {
        key.replace('_bias_table', '_index'): torch.Size((tokens, tokens))
        for key in shapes
        if key.endswith('.relative_position_bias_table')
    }
    return {key: formula(key, shape) for key, shape in shapes.items()}


def fill(model: DepthModel) -> DepthModel:
    """Give a network on the meta device the values of the formula, tensor by tensor."""
    own = model.state_dict()
    with ThreadPoolExecutor(max_workers=2) as pool:  # drawing is what takes the time
        drawn = pool.map(lambda key: formula(official_key(key), own[key].shape), own)
        state = dict(zip(own, drawn, strict=True))
    model.load_state_dict(state, assign=True)
    return model.eval()


def formula(key: str, shape: tuple[int, ...]) -> Tensor:
    """Draw the weight of the authors' `key`; what is an integer is 0."""
    if key.endswith(('.num_batches_tracked', '.relative_position_index')):
        return torch.zeros(shape, dtype=torch.int64)
    drawn = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith('.weight') and len(shape) > 1:
        drawn /= np.sqrt(np.prod(shape[1:]))
    elif key.endswith('.weight'):
        drawn = 1.0 + 0.1 * drawn
    elif key.endswith('.running_var'):
        drawn = 1.0 + 0.25 * np.abs(drawn)
    else:
        drawn = 0.1 * drawn
    return torch.from_numpy(np.asarray(drawn, dtype=np.float32))
