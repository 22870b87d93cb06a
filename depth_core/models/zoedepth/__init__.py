# SPDX-License-Identifier: Apache-2.0
"""ZoeDepth: metric bins on the relative-depth network of MiDaS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from depth_core.models.family import Family, Network, OfficialWeights
from depth_core.models.zoedepth.domains import zoedepth_nk
from depth_core.models.zoedepth.keys import dropped, is_midas, official_key, to_authors
from depth_core.models.zoedepth.network import zoedepth_k, zoedepth_n
from depth_core.models.zoedepth.small import zoedepth_small

__all__ = ['FAMILY']

_TINY_DPT: Final[Mapping[str, object]] = {
    'encoder_options': {'img_size': 64, 'embed_dim': 32, 'depth': 4, 'num_heads': 2},
    'hooks': (0, 1, 2, 3),
    'neck_channels': (16, 24, 32, 32),
    'features': 32,
    'n_bins': 16,
    'bin_embedding_dim': 32,
}
_WEIGHTS: Final = OfficialWeights(
    official_key=official_key,
    dropped=dropped,
    to_authors=to_authors,
    parts={'midas': is_midas},
)

FAMILY: Final = Family(
    name='zoedepth',
    title='ZoeDepth',
    paper='Bhat et al., arXiv 2302.12288, 2023',
    recipe='zoedepth',
    networks=(
        Network(
            builder=zoedepth_n,
            summary='DPT on BEiT-L, one head of metric bins, for rooms',
            tiny=_TINY_DPT,
            official=_WEIGHTS,
        ),
        Network(
            builder=zoedepth_k,
            summary='the same for roads',
            tiny=_TINY_DPT,
            official=_WEIGHTS,
        ),
        Network(
            builder=zoedepth_nk,
            summary='the same with two heads and a router',
            tiny={**_TINY_DPT, 'router_ff': 64},
            official=_WEIGHTS,
        ),
        Network(
            builder=zoedepth_small,
            summary='the same idea on a light timm encoder, for robots',
            tiny={'encoder': 'test_efficientnet', 'n_bins': 16},
        ),
    ),
    sigma='the spread of the bin distribution, corrected by three learnt numbers for each head',
    published='`ZoeD_M12_{N,K,NK}.pt`; the safetensors of the Hugging Face port, transformers 4 '
    'and 5; `--part midas`: cores of MiDaS 3.1',
)
