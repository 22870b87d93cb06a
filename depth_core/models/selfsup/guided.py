# SPDX-License-Identifier: Apache-2.0
"""Depth networks whose decoder is guided by a frozen semantic network.

Paper: V. Guizilini, R. Hou, J. Li, R. Ambrus, A. Gaidon, Semantically-Guided Representation
Learning for Self-Supervised Monocular Depth, ICLR 2020, arXiv 2002.12319. The code of the guidance
was never published; this is PackNet01, or the ResNet network, with the 3x3 layer that joins the
skip at each level of the decoder made pixel-adaptive, guided by features of a semantic network
that is part of the graph. What the paper leaves open is chosen in guidance.py (levels and
adapters), pixel_adaptive.py (sigma) and here: kernels stay 3x3, which levels are guided is an
option, and guided filters start as the unguided ones of their network do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from depth_core.models.backbones import EncoderWeights
from depth_core.models.base import ModelSpec
from depth_core.models.selfsup import packnet
from depth_core.models.selfsup import resnet as selfsup_resnet
from depth_core.models.selfsup.guidance import SemanticGuidance
from depth_core.models.selfsup.inverse_depth import inverse_depth_spec
from depth_core.models.selfsup.packnet import PackNet, PackNetDecoder, PackNetEncoder, Version
from depth_core.models.selfsup.resnet import (
    SMALLEST_SIDE,
    Encoder,
    ResNetDecoder,
    ResNetEncoder,
    SelfSupResNet,
)
from depth_core.models.selfsup.semantic import CITYSCAPES_CLASSES, FrozenSemantics, SemanticNetwork
from depth_core.models.selfsup.semantic_file import load_semantic_weights

# Models


class SemanticPackNet(PackNet):
    """PackNet with a guided decoder; it has no published original."""

    def __init__(
        self,
        spec: ModelSpec,
        encoder: PackNetEncoder,
        decoder: PackNetDecoder,
        *,
        semantics: FrozenSemantics,
        guidance: SemanticGuidance,
    ) -> None:
        super().__init__(spec, encoder, decoder)
        self.semantics = semantics
        self.guidance = guidance

    def inverse_depths(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return inverse depth, finest first, and the features at stride 1."""
        guides = self.guidance(self.semantics(images))
        answer: tuple[tuple[Tensor, ...], Tensor] = self.decoder(self.encoder(images), guides)
        return answer


class SemanticResNet(SelfSupResNet):
    """The ResNet network with a guided decoder; it has no published original."""

    def __init__(
        self,
        spec: ModelSpec,
        encoder: ResNetEncoder,
        decoder: ResNetDecoder,
        *,
        semantics: FrozenSemantics,
        guidance: SemanticGuidance,
    ) -> None:
        super().__init__(spec, encoder, decoder)
        self.semantics = semantics
        self.guidance = guidance

    def disparities(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return disparity in (0, 1), finest first, and the features at stride 1."""
        guides = self.guidance(self.semantics(images))
        answer: tuple[tuple[Tensor, ...], Tensor] = self.decoder(self.encoder(images), guides)
        return answer


# Variants


def semantic_packnet(
    *,
    version: Version = '1A',
    max_depth: float = 100.0,
    min_depth: float = 0.5,
    metric: bool = False,
    channels: Sequence[int] = (64, 64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 3, 3),
    features_3d: int = 8,
    dropout: float = 0.0,
    guided_strides: Sequence[int] = packnet.LEVEL_STRIDES,
    guide_channels: int = 32,
    semantic_encoder: str = 'resnet50',
    semantic_channels: int = 256,
    semantic_head_channels: int = 128,
    semantic_classes: int = CITYSCAPES_CLASSES,
    semantic_weights: str | Path | None = None,
    pretrained: bool = False,
) -> SemanticPackNet:
    """Build PackNet01 guided by a semantic network; the options it shares are `packnet01`'s.

    Args:
        version: 1A joins skips by concatenation, 1B by addition.
        max_depth: Largest depth answered, in metres or the network's own unit.
        min_depth: Smallest depth; inverse depth is below 1 / min_depth.
        metric: The weights answer metres: they were trained with speeds or with depth.
        channels: Widths of the five stages, multiples of 16; the first is the stem's too.
        blocks: Residual convolutions in stages two to five.
        features_3d: Maps the 3-D convolutions make of each channel; 0 leaves these out.
        dropout: Share of the channels of each shortcut left out in training.
        guided_strides: Strides of the decoder's levels that are guided, of 16, 8, 4, 2 and 1.
        guide_channels: Width of the guides, a multiple of 16.
        semantic_encoder: Encoder of segmentation-models-pytorch, or tu- and one of timm.
        semantic_channels: Width of the semantic pyramid.
        semantic_head_channels: Width of the semantic head, a multiple of 32.
        semantic_classes: Number of its classes; 19 are those of Cityscapes.
        semantic_weights: File of a trained semantic network (semantic_file.py); without it, or a
            checkpoint loaded afterwards, the guide is that of random weights.
        pretrained: Start the semantic encoder from ImageNet weights, which are downloaded.

    Raises:
        CheckpointError: The semantic weights are missing, broken or of another network.
        ConfigError: An option is out of range.
        ModelError: The semantic encoder is unknown, or its weights cannot be downloaded.
    """
    packnet.check_packnet_options(
        version=version,
        channels=channels,
        blocks=blocks,
        features_3d=features_3d,
        dropout=dropout,
        pretrained=False,
    )
    guidance = SemanticGuidance(
        semantic_channels,
        channels=guide_channels,
        level_strides=packnet.LEVEL_STRIDES,
        guided_strides=guided_strides,
    )
    packnet.initialise(guidance)
    return SemanticPackNet(
        inverse_depth_spec(
            'semantic_packnet',
            min_depth=min_depth,
            max_depth=max_depth,
            metric=metric,
        ),
        PackNetEncoder(channels, blocks, features_3d=features_3d, dropout=dropout),
        PackNetDecoder(
            channels,
            version=version,
            features_3d=features_3d,
            min_depth=min_depth,
            guided_strides=guided_strides,
        ),
        semantics=frozen_semantics(
            semantic_encoder,
            channels=semantic_channels,
            head_channels=semantic_head_channels,
            classes=semantic_classes,
            weights=semantic_weights,
            encoder_weights='download' if pretrained else 'none',
        ),
        guidance=guidance,
    )


def semantic_resnet18(
    *,
    max_depth: float = 100.0,
    min_depth: float = 0.1,
    metric: bool = False,
    encoder: Encoder = 'resnet18',
    guided_strides: Sequence[int] = selfsup_resnet.LEVEL_STRIDES,
    guide_channels: int = 32,
    semantic_encoder: str = 'resnet50',
    semantic_channels: int = 256,
    semantic_head_channels: int = 128,
    semantic_classes: int = CITYSCAPES_CLASSES,
    semantic_weights: str | Path | None = None,
    pretrained: bool = False,
) -> SemanticResNet:
    """Build the ResNet-18 depth network guided by a semantic network.

    Args:
        max_depth: Largest depth the network can state, in metres or its own unit.
        min_depth: Smallest depth it can state.
        metric: The weights answer metres: they were trained with speeds or with depth.
        encoder: resnet18, resnet34 or resnet50, for depth.
        guided_strides: As for `semantic_packnet`, and so are the next six.
        guide_channels: Width of the guides.
        semantic_encoder: Encoder of the semantic network.
        semantic_channels: Width of its pyramid.
        semantic_head_channels: Width of its head.
        semantic_classes: Number of its classes.
        semantic_weights: File of a trained one.
        pretrained: Start both encoders from ImageNet weights, which are downloaded.

    Raises:
        CheckpointError: The semantic weights are missing, broken or of another network.
        ConfigError: An option is out of range.
        ModelError: An encoder is unknown, or its weights cannot be downloaded.
    """
    network = ResNetEncoder(encoder, pretrained=pretrained)
    return SemanticResNet(
        inverse_depth_spec(
            'semantic_resnet18',
            min_depth=min_depth,
            max_depth=max_depth,
            metric=metric,
            min_side=SMALLEST_SIDE,
        ),
        network,
        ResNetDecoder(network.channels, guided_strides=guided_strides),
        semantics=frozen_semantics(
            semantic_encoder,
            channels=semantic_channels,
            head_channels=semantic_head_channels,
            classes=semantic_classes,
            weights=semantic_weights,
            encoder_weights='download' if pretrained else 'none',
        ),
        guidance=SemanticGuidance(
            semantic_channels,
            channels=guide_channels,
            level_strides=selfsup_resnet.LEVEL_STRIDES,
            guided_strides=guided_strides,
        ),
    )


def frozen_semantics(
    encoder: str,
    *,
    channels: int,
    head_channels: int,
    classes: int,
    weights: str | Path | None,
    encoder_weights: EncoderWeights,
) -> FrozenSemantics:
    """Build the semantic network of a guided one, frozen.

    Args:
        encoder: As `SemanticNetwork` has it, and so are the next three.
        channels: Width of the pyramid.
        head_channels: Width of the head.
        classes: Number of classes.
        weights: File of a trained one; None leaves it untrained.
        encoder_weights: Where the encoder of an untrained one starts from.
    """
    network = SemanticNetwork(
        encoder,
        classes=classes,
        channels=channels,
        head_channels=head_channels,
        weights=encoder_weights if weights is None else 'none',
    )
    if weights is not None:
        load_semantic_weights(network, weights)
    return FrozenSemantics(network)
