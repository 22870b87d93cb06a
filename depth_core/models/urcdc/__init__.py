# SPDX-License-Identifier: Apache-2.0
"""URCDC-Depth: a Transformer and a CNN that distil into each other."""

from __future__ import annotations

from typing import Final

from depth_core.models.family import Family, Network, OfficialWeights
from depth_core.models.urcdc.network import is_computed, is_in_newcrfs, official_key, urcdc
from depth_core.models.urcdc.small import urcdc_small

__all__ = ['FAMILY']

FAMILY: Final = Family(
    name='urcdc',
    title='URCDC-Depth',
    paper='Shao et al., arXiv 2302.08149, 2023',
    recipe='urcdc',
    networks=(
        Network(
            builder=urcdc,
            summary='Swin-L with neural CRFs; distils with a CNN, which is not exported',
            tiny={
                'embed_dim': 24,
                'depths': (2, 1, 1, 1),
                'heads': (2, 2, 4, 4),
                'crf_channels': (16, 32, 32, 64),
                'crf_heads': (2, 4, 4, 8),
                'pooled_channels': 16,
                'pooled_groups': 4,
                'cnn_growth_rate': 8,
                'cnn_blocks': (1, 1, 1, 1),
                'cnn_init_features': 16,
                'drop_path': 0.0,  # a layer left out of a step would get no gradient
                'bypass': 0.0,
            },
            official=OfficialWeights(
                official_key=official_key,
                dropped=is_computed,
                parts={'newcrfs': is_in_newcrfs},
            ),
        ),
        Network(
            builder=urcdc_small,
            summary='the same idea on a light timm encoder, for robots',
        ),
    ),
    sigma='the confidence exp(-5 \\|g - d\\| / (g + d)) that its branch predicts, solved for the '
    'error in metres',
    published="the authors' `model-*-best_*`; `--part newcrfs`: NeWCRFs, the Transformer branch",
)
