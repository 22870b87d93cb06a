# SPDX-License-Identifier: Apache-2.0
"""CLIFFNet: a gated feature pyramid, and the embedding networks of its loss."""

from __future__ import annotations

from typing import Final

from depth_core.models.cliffnet.network import (
    cliffnet,
    cliffnet_small,
    is_of_backbone,
    official_key,
    to_authors,
)
from depth_core.models.family import Family, Network, OfficialWeights, limits_only

__all__ = ['FAMILY']

FAMILY: Final = Family(
    name='cliffnet',
    title='CLIFFNet',
    paper='Wang et al., ECCV 2020',
    recipe='cliffnet',
    networks=(
        Network(
            builder=cliffnet,
            summary='ResNet-50 pyramid fused by gates, trained through embeddings',
            tiny={'layers': (1, 1, 1, 1), 'channels': 16},
            rescale=limits_only,
            official=OfficialWeights(
                official_key=official_key,
                to_authors=to_authors,
                parts={'backbone': is_of_backbone},  # the Caffe ResNet-50 they start from
            ),
        ),
        Network(
            builder=cliffnet_small,
            summary='the same idea on a light timm encoder, for robots',
            tiny={'encoder': 'test_efficientnet'},
        ),
    ),
    sigma='a small head on the last decoder features, trained by the Laplace likelihood; it '
    'cannot move the depth',
    published="the authors' training checkpoints; none was ever published",
)
