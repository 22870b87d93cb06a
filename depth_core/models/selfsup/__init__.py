# SPDX-License-Identifier: Apache-2.0
"""Self-supervised depth networks, plain or guided by semantics, and their pose networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from depth_core.models.family import Family, Network, OfficialWeights
from depth_core.models.selfsup.guided import semantic_packnet, semantic_resnet18
from depth_core.models.selfsup.keys import (
    depth_to_authors,
    has_no_place,
    packnet_key,
    resnet_key,
)
from depth_core.models.selfsup.packnet import packnet01, packnet_slim
from depth_core.models.selfsup.resnet import selfsup_resnet18, selfsup_resnet50
from depth_core.models.selfsup.small import selfsup_small

__all__ = ['FAMILY']

_TINY_PACKNET: Final[Mapping[str, object]] = {
    'channels': (16, 16, 16, 32, 32),
    'blocks': (1, 1, 1, 1),
    'features_3d': 2,
}
_TINY_SEMANTICS: Final[Mapping[str, object]] = {
    'semantic_encoder': 'tu-mobilenetv3_small_050',
    'semantic_channels': 16,
    'semantic_head_channels': 32,
    'guide_channels': 16,
    'guided_strides': (8, 1),
}
_PACKNET_WEIGHTS: Final = OfficialWeights(
    official_key=packnet_key,
    to_authors=depth_to_authors,
    dropped=has_no_place,
    variants=({'version': '1A'}, {'version': '1B'}),
    with_pose=True,
)
_RESNET_WEIGHTS: Final = replace(_PACKNET_WEIGHTS, official_key=resnet_key)

FAMILY: Final = Family(
    name='selfsup',
    title='PackNet and monodepth2',
    paper='Guizilini et al., CVPR 2020, arXiv 1905.02693; Godard et al., ICCV 2019, arXiv '
    '1806.01260; guided: Guizilini et al., ICLR 2020, arXiv 2002.12319',
    recipe='selfsup',
    networks=(
        Network(
            builder=packnet01,
            summary='packing and unpacking, self-supervised',
            tiny=_TINY_PACKNET,
            official=_PACKNET_WEIGHTS,
        ),
        Network(
            builder=packnet_slim,
            summary="the same, the authors' narrower network",
            tiny=_TINY_PACKNET,
            official=_PACKNET_WEIGHTS,
        ),
        Network(
            builder=selfsup_resnet18,
            summary='the network of monodepth2',
            official=replace(_RESNET_WEIGHTS, variants=({'encoder': 'resnet18'},)),
        ),
        Network(
            builder=selfsup_resnet50,
            summary='the same on ResNet-50',
            official=replace(_RESNET_WEIGHTS, variants=({'encoder': 'resnet50'},)),
        ),
        Network(
            builder=selfsup_small,
            summary='the same idea on a light timm encoder, for robots',
            tiny={'encoder': 'test_efficientnet'},
        ),
        Network(
            builder=semantic_packnet,
            summary='PackNet guided by a frozen semantic network inside the graph',
            tiny={**_TINY_PACKNET, **_TINY_SEMANTICS},
        ),
        Network(
            builder=semantic_resnet18,
            summary="monodepth2's network guided in the same way",
            tiny=_TINY_SEMANTICS,
        ),
    ),
    sigma='a head trained without depth labels: on the photometric error (the default), on the '
    'disagreement with the mirrored image (`recipe.sigma: flip`), or by self-teaching (`recipe: '
    'self_teaching`); [compared here](self_supervised.md#sigma-without-labels)',
    published='`.ckpt` of packnet-sfm, `.pth.tar` before it, vidar, folders of monodepth2; the '
    'pose network goes to a file of its own when asked',
    aliases=('packnet',),
)
