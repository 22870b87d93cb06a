# SPDX-License-Identifier: Apache-2.0
"""Encoders: images in, a pyramid of feature maps out."""

from __future__ import annotations

import difflib
from typing import Any, Final, Literal, TypeAlias, get_args

import timm
import torch
import torchvision
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.format import Format
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ModelError, unknown_name
from depth_core.models.blocks import STRIDES
from depth_core.models.packaged_weights import load_packaged_weights

_DENSENETS: Final = ('densenet121', 'densenet161', 'densenet169', 'densenet201')
_TAPS: Final = ('relu0', 'pool0', 'transition1', 'transition2', 'norm5')


EncoderWeights: TypeAlias = Literal['none', 'packaged', 'download']
"""Where the weights of a timm encoder come from: nowhere, so that they are random; a package that
is installed; or timm's, which are downloaded."""

ENCODER_WEIGHTS: Final[tuple[EncoderWeights, ...]] = get_args(EncoderWeights)


class DenseNetEncoder(nn.Module):
    """A torchvision DenseNet without its classifier, tapped where DenseDepth taps it.

    Gives five maps at strides 2, 4, 8, 16 and 32: after the stem's ReLU, after the stem's pool,
    after the first and the second transition, and after the last norm with the ReLU that
    torchvision keeps out of `features`.
    """

    def __init__(self, name: str, *, pretrained: bool) -> None:
        super().__init__()
        if name not in _DENSENETS:
            raise ModelError(unknown_name('DenseDepth encoder', name, _DENSENETS))
        try:
            network = torchvision.models.get_model(name, weights='DEFAULT' if pretrained else None)
        except OSError as error:
            raise ModelError(_not_downloaded(name, error)) from error
        self.features: nn.Sequential = network.features
        self.channels = self._tap_channels()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the five maps, finest first."""
        taps = []
        x = images
        for name, layer in self.features.named_children():
            x = layer(x)
            if name in _TAPS:
                taps.append(x)
        taps[-1] = F.relu(taps[-1])
        return taps

    def _tap_channels(self) -> tuple[int, ...]:
        weights = self.features.state_dict()
        names = ('norm0', 'norm0', 'transition1.conv', 'transition2.conv', 'norm5')
        return tuple(weights[f'{name}.weight'].shape[0] for name in names)


class EvenSameConv2d(nn.Conv2d):
    """A convolution of stride 2 with the padding that TensorFlow gives maps of even size.

    timm computes that padding from the size of each map. Where the size is free, as in an exported
    graph, this makes the size of every further map a formula of formulas, and tracing it does not
    come to an end. Maps that are halved are of even size here: the input is a multiple of 32.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's own name for it
        """Pad by kernel size less stride, the odd row or column last, and convolve."""
        pads: list[int] = []
        for size, step in zip(reversed(self.kernel_size), reversed(self.stride), strict=True):
            total = size - step
            pads += [total // 2, total - total // 2]
        return F.conv2d(
            F.pad(input, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


def pad_for_even_sizes(network: nn.Module) -> None:
    """Give the convolutions of stride 2 whose padding depends on the size a fixed one.

    What they compute of maps of even size stays the same, and so do the names of the weights.
    """
    for name, layer in list(network.named_modules()):
        if not isinstance(layer, Conv2dSame) or layer.stride != (2, 2) or layer.dilation != (1, 1):
            continue
        fixed = EvenSameConv2d(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel_size[0], layer.kernel_size[1]),
            stride=2,
            groups=layer.groups,
            bias=layer.bias is not None,
        )
        fixed.weight, fixed.bias = layer.weight, layer.bias
        network.set_submodule(name, fixed)


class TimmEncoder(nn.Module):
    """Any timm network that gives a pyramid of feature maps down to stride 32.

    Images in [0, 1] are normalised inside, with the mean and deviation timm states for it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, *, weights: EncoderWeights) -> None:
        super().__init__()
        if weights not in ENCODER_WEIGHTS:
            raise ModelError(unknown_name('encoder_weights', weights, ENCODER_WEIGHTS))
        if not timm.is_model(name):
            raise ModelError(_unknown_encoder(name))
        if weights == 'download' and not timm.is_model_pretrained(name):
            message = (
                f'timm has no weights for encoder {name!r}; give encoder_weights none (or '
                'pretrained false), or another encoder, as mobilenetv3_large_100 or resnet18.'
            )
            raise ModelError(message)
        try:
            self.network: nn.Module = timm.create_model(
                name, features_only=True, pretrained=weights == 'download'
            )
        except OSError as error:
            raise ModelError(_not_downloaded(name, error)) from error
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            message = (
                f'timm cannot build encoder {name!r} as a feature pyramid ({error}); choose a '
                'convolutional one, for instance mobilenetv3_large_075 or resnet18.'
            )
            raise ModelError(message) from error
        info: Any = self.network.feature_info
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.channels: tuple[int, ...] = tuple(info.channels())
        pyramid = len(self.strides) > 1 and self.strides == STRIDES[-len(self.strides) :]
        layout = getattr(self.network, 'output_fmt', Format.NCHW)
        channels_first = layout == Format.NCHW
        if not (pyramid and channels_first):
            message = (
                f'timm encoder {name!r} has feature maps at strides {list(self.strides)}, layout '
                f'{"NCHW" if channels_first else "NHWC"}; the decoder takes NCHW maps at strides '
                f'{list(STRIDES)}, of which finer ones may lack: choose a pyramidal encoder, for '
                'instance mobilenetv3_large_075 or resnet18.'
            )
            raise ModelError(message)
        if weights == 'packaged':
            load_packaged_weights(self.network, name)
        pad_for_even_sizes(self.network)
        config = timm.get_pretrained_cfg(name)
        mean, std = (config.mean, config.std) if config else ((0.5,) * 3, (0.5,) * 3)
        self.register_buffer('mean', torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the pyramid, finest first."""
        maps: list[Tensor] = self.network((images - self.mean) / self.std)
        return maps


def _not_downloaded(name: str, error: OSError) -> str:
    return (
        f'pretrained weights of {name} cannot be downloaded ({error}); connect to the network '
        'or build without: pretrained=False, encoder_weights none or packaged.'
    )


def _unknown_encoder(name: str) -> str:
    near = difflib.get_close_matches(name, timm.list_models(), n=5)
    known = f'near names: {", ".join(near)}' if near else 'timm.list_models() gives all names'
    return f'unknown timm encoder {name!r}; {known}.'
