# SPDX-License-Identifier: Apache-2.0
"""URCDC-Depth: a Transformer and a CNN that teach each other where each is sure.

Paper: S. Shao, Z. Pei, W. Chen, R. Li, Z. Liu, Z. Li, URCDC-Depth: Uncertainty Rectified
Cross-Distillation with CutFlip for Monocular Depth Estimation, arXiv 2302.08149, 2023. Original
code: https://github.com/ShuweiShao/URCDC-Depth, MIT, which builds on NeWCRFs (MIT) and BTS (GPL);
this file shares no code with them and was written from facts about the network (sizes, wiring, key
names) and checked against numbers the original produces.

The Transformer branch is NeWCRFs: Swin-L, pyramid pooling, four neural CRF stages. The CNN branch
is a DenseNet-161 with the decoder of GLPDepth; coupling units show it the Transformer's maps. Each
branch predicts a depth and the confidence exp(-5 |g - d| / (g + d)) of it, g being the true depth.

Changed: depth comes out in metres at the size of the input, clipped to the stated range, beside a
standard deviation that follows from the predicted confidence (`sigma_from_confidence`). In eval
mode, and so in an exported graph, `forward` leaves the CNN branch out: nothing flows from it to
the Transformer, whose depth is the answer, so that it costs what the Transformer alone costs. The
tables of relative positions start from a truncated normal of 0.02, everything outside Swin from
torch's defaults. `depth_core.models.urcdc.small` is the variant for robots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import timm
import torch
import torchvision
from torch import Tensor, nn

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError, ModelError
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.blocks import STRIDES
from depth_core.models.urcdc.confidence import sigma_from_confidence
from depth_core.models.urcdc.coupling import CoupledDenseNet, FullHead, FusionDecoder
from depth_core.models.urcdc.neural_crf import CrfDecoder, QuarterHead
from depth_core.models.urcdc.swin import SwinEncoder, swin_from_timm

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
LEVELS: Final = 4
PRETRAINED_SWIN: Final = 'swin_large_patch4_window7_224.ms_in22k'
_PRETRAINED_SIZES: Final = (192, (2, 2, 18, 2), (6, 12, 24, 48), 7)
_PRETRAINED_CNN_SIZES: Final = (48, (6, 12, 36, 24), 96)


@dataclass(frozen=True, kw_only=True)
class BranchPrediction:
    """What one branch says, as the losses take it."""

    depth: Tensor
    """[B, 1, H, W] metres, not clipped."""
    confidence: Tensor
    """[B, 1, H, W] in (0, 1), estimate of exp(-5 |g - d| / (g + d)); 1 = certain."""


@dataclass(frozen=True, kw_only=True)
class UrcdcPrediction(Prediction):
    """Depth and sigma of the Transformer, and what each branch says."""

    transformer: BranchPrediction
    cnn: BranchPrediction | None
    """None in eval mode."""


# Models


class CnnBranch(nn.Module):
    """The branch that only training needs."""

    def __init__(self, encoder: CoupledDenseNet) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = FusionDecoder(encoder.channels)
        self.depth_head = FullHead(self.decoder.channels)
        self.confidence_head = FullHead(self.decoder.channels)

    def forward(self, x: Tensor, transformer_maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return depth / max_depth and confidence, both [B, 1, H, W]."""
        features = self.decoder(self.encoder(x, transformer_maps))
        return self.depth_head(features), self.confidence_head(features)


class Urcdc(DepthModel):
    """The published network: both branches."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, spec: ModelSpec, encoder: SwinEncoder, decoder: CrfDecoder, cnn: CnnBranch
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.decoder = decoder
        self.depth_head = QuarterHead(decoder.out_channels)
        self.confidence_head = QuarterHead(decoder.out_channels)
        self.cnn = cnn
        for name, values in (('mean', _MEAN), ('std', _STD)):
            buffer = torch.tensor(values, device='cpu').reshape(1, 3, 1, 1)
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, images: Tensor) -> UrcdcPrediction:
        """Predict depth and sigma; the CNN branch runs in training mode only."""
        self.check_input(images)
        x = (images - self.mean) / self.std
        maps = self.encoder(x)
        transformer = self._transformer(maps)
        return UrcdcPrediction(
            depth=transformer.depth.clamp(self.spec.min_depth, self.spec.max_depth).squeeze(1),
            sigma=sigma_from_confidence(
                transformer.confidence, transformer.depth.clamp(min=self.spec.min_depth)
            ).squeeze(1),
            transformer=transformer,
            cnn=self._cnn(x, maps) if self.training else None,
        )

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run both branches on RGB normalised by the mean and deviation of ImageNet.

        Returns:
            `pred_d`, `pred_d2`: [B, 1, H, W] depth of Transformer and CNN, metres, not clipped.
            `u1`, `u2`: [B, 1, H, W] confidence of each, in (0, 1).
        """
        self.check_input(x)
        maps = self.encoder(x)
        transformer, cnn = self._transformer(maps), self._cnn(x, maps)
        return {
            'pred_d': transformer.depth,
            'pred_d2': cnn.depth,
            'u1': transformer.confidence,
            'u2': cnn.confidence,
        }

    def _transformer(self, maps: Sequence[Tensor]) -> BranchPrediction:
        features = self.decoder(maps)
        return BranchPrediction(
            depth=self.depth_head(features) * self.spec.max_depth,
            confidence=self.confidence_head(features),
        )

    def _cnn(self, x: Tensor, maps: Sequence[Tensor]) -> BranchPrediction:
        share, confidence = self.cnn(x, maps)
        return BranchPrediction(depth=share * self.spec.max_depth, confidence=confidence)


# Variants


def urcdc(
    *,
    max_depth: float = 10.0,
    min_depth: float = 1e-3,
    embed_dim: int = 192,
    depths: Sequence[int] = (2, 2, 18, 2),
    heads: Sequence[int] = (6, 12, 24, 48),
    window: int = 7,
    drop_path: float = 0.3,
    crf_channels: Sequence[int] = (128, 256, 512, 1024),
    crf_heads: Sequence[int] = (4, 8, 16, 32),
    pooled_channels: int = 512,
    pooled_groups: int = 256,
    cnn_growth_rate: int = 48,
    cnn_blocks: Sequence[int] = (6, 12, 36, 24),
    cnn_init_features: int = 96,
    bypass: float = 0.05,
    pretrained: bool = False,
) -> Urcdc:
    """Build URCDC-Depth; the defaults are the published NYU network, 334 M parameters.

    The published KITTI network is `max_depth=80.0`.

    Args:
        max_depth: Largest depth, metres, and the factor on the sigmoid.
        min_depth: Smallest depth stated, metres; the default is where the authors' evaluation
            clips.
        embed_dim: Channels of Swin's finest map; each next one has twice as many.
        depths: Blocks of the four Swin stages.
        heads: Attention heads of the four Swin stages.
        window: Side of the attention windows, in Swin and in the CRF stages.
        drop_path: Rate of stochastic depth in the last Swin block; it rises from 0 in the first.
        crf_channels: Channels of the CRF stages at strides 4, 8, 16 and 32, multiples of 4.
        crf_heads: Attention heads of these.
        pooled_channels: Channels of the pyramid pooling.
        pooled_groups: Groups of its norms.
        cnn_growth_rate: Channels each layer of the DenseNet adds.
        cnn_blocks: Layers of its four blocks.
        cnn_init_features: Channels of its stem, and of the CNN's decoder.
        bypass: Probability that a coupling unit is left out in a training step.
        pretrained: Start from Swin-L of ImageNet-22k and DenseNet-161 of ImageNet, which timm
            and torchvision download; for the default sizes only.

    Raises:
        ConfigError: An option is out of range, or they do not go together.
        ModelError: Pretrained weights cannot be downloaded.
    """
    check_sizes(
        {
            'depths': depths,
            'heads': heads,
            'crf_channels': crf_channels,
            'crf_heads': crf_heads,
            'cnn_blocks': cnn_blocks,
        },
        [
            *zip([embed_dim * 2**level for level in range(LEVELS)], heads, strict=False),
            *zip(crf_channels, crf_heads, strict=False),
            *((channels, 4) for channels in crf_channels[1:]),
            (pooled_channels, pooled_groups),
            (cnn_init_features, 2),
        ],
        {'window': window, 'cnn_growth_rate': cnn_growth_rate},
        {'drop_path': drop_path, 'bypass': bypass},
    )
    spec = urcdc_spec('urcdc', min_depth, max_depth, default_size=(480, 640))
    encoder = SwinEncoder(
        embed_dim=embed_dim, depths=depths, heads=heads, window=window, drop_path=drop_path
    )
    decoder = CrfDecoder(
        encoder.channels,
        crf_channels,
        heads=crf_heads,
        window=window,
        pooled_channels=pooled_channels,
        pooled_groups=pooled_groups,
    )
    cnn = CnnBranch(
        CoupledDenseNet(
            growth_rate=cnn_growth_rate,
            blocks=cnn_blocks,
            init_features=cnn_init_features,
            transformer_channels=encoder.channels,
            bypass=bypass,
        )
    )
    if pretrained:
        sizes = (embed_dim, tuple(depths), tuple(heads), window)
        cnn_sizes = (cnn_growth_rate, tuple(cnn_blocks), cnn_init_features)
        if (sizes, cnn_sizes) != (_PRETRAINED_SIZES, _PRETRAINED_CNN_SIZES):
            message = (
                f'pretrained is True for a Swin of {sizes} and a DenseNet of {cnn_sizes}; weights '
                f'exist for {_PRETRAINED_SIZES} and {_PRETRAINED_CNN_SIZES}: leave the sizes out, '
                'or pretrained.'
            )
            raise ConfigError(message)
        _load_pretrained(encoder, cnn.encoder)
    return Urcdc(spec, encoder, decoder, cnn)


def urcdc_spec(
    name: str, min_depth: float, max_depth: float, *, default_size: tuple[int, int]
) -> ModelSpec:
    """State what every network of the family has in common."""
    return ModelSpec(
        name=name,
        family='urcdc',
        kind=DepthKind.METRIC,
        min_depth=min_depth,
        max_depth=max_depth,
        divisor=STRIDES[-1],
        default_size=default_size,
    )


def check_sizes(
    lists: Mapping[str, Sequence[int]],
    divided: Sequence[tuple[int, int]],
    counts: Mapping[str, int],
    shares: Mapping[str, float],
) -> None:
    """Refuse sizes that make no network.

    Args:
        lists: Options that give one number for each level.
        divided: Channels, and the heads or groups they are split into.
        counts: Options that are one positive number.
        shares: Options that are a probability.

    Raises:
        ConfigError: All problems together.
    """
    problems = [
        f'{name} {list(values)}: give {LEVELS} positive numbers, for strides 4, 8, 16 and 32.'
        for name, values in lists.items()
        if len(values) != LEVELS or min(values) < 1
    ]
    if not problems:
        problems = [
            f'{channels} channels cannot be split into {parts}; channels must be multiples of '
            'their heads or groups, crf_channels and cnn_init_features even, crf_channels after '
            'the first of 4.'
            for channels, parts in divided
            if parts < 1 or channels < 1 or channels % parts
        ]
    problems += [
        f'{name} is {count}; give at least 1.' for name, count in counts.items() if count < 1
    ]
    problems += [
        f'{name} is {share}; give a number in [0, 1).'
        for name, share in shares.items()
        if not 0.0 <= share < 1.0
    ]
    if problems:
        raise ConfigError(' '.join(problems))


def _load_pretrained(swin: SwinEncoder, densenet: CoupledDenseNet) -> None:
    try:
        source = timm.create_model(PRETRAINED_SWIN, pretrained=True).state_dict()
        cnn = torchvision.models.densenet161(weights='DEFAULT').features.state_dict()
    except OSError as error:
        message = (
            f'pretrained weights cannot be downloaded ({error}); connect to the network or build '
            'with pretrained=False.'
        )
        raise ModelError(message) from error
    # The norms of the four maps are the only weights of Swin that start anew.
    swin.load_state_dict(swin.state_dict() | swin_from_timm(source))
    densenet.features.load_state_dict(cnn)


# Key map of the official weights

_OFFICIAL_NAMES: Final = (
    (r'^encoder\.norms\.', 'backbone.norm'),
    (r'^encoder\.', 'backbone.'),
    (r'^decoder\.pooling\.branches\.(\d)\.', r'decoder.psp_modules.\1.1.'),
    (r'^decoder\.pooling\.', 'decoder.bottleneck.'),
    (r'^(decoder\.psp_modules\.\d\.1)\.norm\.', r'\1.gn.'),
    (r'^decoder\.bottleneck\.norm\.', 'decoder.bottleneck.bn.'),
    (r'^decoder\.stages\.(\d)\.blocks\.', r'crf\1.crf_layer.blocks.'),
    (r'^decoder\.stages\.(\d)\.norm\.', r'crf\1.norm_crf.'),
    (r'^decoder\.stages\.(\d)\.', r'crf\1.'),
    (r'^depth_head\.conv\.', 'disp_head1.conv1.'),
    (r'^confidence_head\.conv\.', 'uncer_head1.conv1.'),
    (r'^cnn\.encoder\.features\.', 'backbone.base_model.'),
    (r'^cnn\.encoder\.units\.(\d)\.norm_transformer\.', r'cnn.encoder.units.\1.bn.'),
    (r'^cnn\.encoder\.units\.(\d)\.norm(\d)\.', r'cnn.encoder.units.\1.bn\2.'),
    (r'^cnn\.encoder\.units\.0\.', 'backbone.fusion1.'),
    (r'^cnn\.encoder\.units\.1\.', 'backbone.fusion2.'),
    (r'^cnn\.encoder\.units\.2\.', 'backbone.fusion3.'),
    (r'^cnn\.encoder\.units\.3\.', 'backbone.fusion4.'),
    (r'^cnn\.decoder\.narrow\.', 'decoder2.bot_conv.'),
    (r'^cnn\.decoder\.skips\.0\.', 'decoder2.skip_conv2.'),
    (r'^cnn\.decoder\.skips\.1\.', 'decoder2.skip_conv1.'),
    (r'^cnn\.decoder\.fusions\.0\.', 'decoder2.fusion3.'),
    (r'^cnn\.decoder\.fusions\.1\.', 'decoder2.fusion2.'),
    (r'^cnn\.decoder\.fusions\.2\.', 'decoder2.fusion1.'),
    (r'^(decoder2\.fusion\d)\.conv([12])\.', r'\1.conv\2.0.'),
    (r'^(decoder2\.fusion\d)\.norm([12])\.', r'\1.conv\2.1.'),
    (r'^cnn\.depth_head\.', 'last_layer_depth.'),
    (r'^cnn\.confidence_head\.', 'last_layer_uncer.'),
    (r'^(last_layer_\w+)\.hidden\.', r'\1.0.'),
    (r'^(last_layer_\w+)\.out\.', r'\1.2.'),
)
"""Patterns on our keys, applied one after the other."""

_NOT_IN_NEWCRFS: Final = re.compile(
    r'^(backbone\.(base_model|fusion\d)|decoder2|last_layer_\w+|uncer_head1)\.'
)


def official_key(key: str) -> str:
    """Name of a weight of ours in the state dict of the authors."""
    for pattern, replacement in _OFFICIAL_NAMES:
        key = re.sub(pattern, replacement, key)
    return key


def is_computed(key: str) -> bool:
    """Say of a key of the authors whether it holds what follows from the size of a window."""
    return key.endswith('.relative_position_index')


def is_in_newcrfs(key: str) -> bool:
    """Say of a key of the authors whether it belongs to NeWCRFs, the Transformer branch."""
    return _NOT_IN_NEWCRFS.match(key) is None
