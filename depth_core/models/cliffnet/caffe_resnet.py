# SPDX-License-Identifier: Apache-2.0
"""The ResNet of CLIFFNet: bottlenecks in the manner of Caffe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from torchvision.models.resnet import Bottleneck, ResNet

from depth_core.errors import ConfigError, ModelError

StrideIn: TypeAlias = Literal['first_1x1', '3x3']
"""Which convolution of a stage's first bottleneck halves the size."""

PYRAMID_CHANNELS: Final = (256, 512, 1024, 2048)
"""Channels of the maps of the four stages."""

_TORCHVISION_NETS: Final[dict[tuple[int, ...], str]] = {
    (3, 4, 6, 3): 'resnet50',
    (3, 4, 23, 3): 'resnet101',
    (3, 8, 36, 3): 'resnet152',
}
_TORCHVISION_STD: Final = (0.229, 0.224, 0.225)


class CaffeResNet(nn.Module):
    """A bottleneck ResNet without classifier that halves the size where Caffe's does.

    Gives the maps of its four stages, at strides 4, 8, 16 and 32. Random weights are drawn as
    torchvision does; the authors always started from ImageNet weights.
    """

    def __init__(self, layers: Sequence[int], *, stride_in: StrideIn, pretrained: bool) -> None:
        super().__init__()
        network = ResNet(Bottleneck, list(layers))
        if pretrained:
            network.load_state_dict(_imagenet_weights(layers))
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        if stride_in == 'first_1x1':
            for first in (self.layer2[0], self.layer3[0], self.layer4[0]):
                first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the stages, finest first; `x` is BGR 0..255 minus the mean."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


def _imagenet_weights(layers: Sequence[int]) -> dict[str, Tensor]:
    """Torchvision's weights, the first layer taking BGR 0..255 instead of normalised RGB."""
    name = _TORCHVISION_NETS.get(tuple(layers))
    if name is None:
        known = ', '.join(str(list(key)) for key in _TORCHVISION_NETS)
        message = f'there are no ImageNet weights for layers {list(layers)}, only for {known}.'
        raise ConfigError(message)
    try:
        weights = torchvision.models.get_model_weights(name)['IMAGENET1K_V1']
        state: dict[str, Tensor] = weights.get_state_dict(progress=False)
    except OSError as error:
        message = (
            f'pretrained weights of {name} cannot be downloaded ({error}); connect to the network '
            'or build with pretrained=False.'
        )
        raise ModelError(message) from error
    return state | {'conv1.weight': for_bgr_255(state['conv1.weight'])}


def for_bgr_255(weight: Tensor) -> Tensor:
    """Turn a first convolution for torchvision's normalised RGB into one for BGR 0..255.

    The mean that is taken off stays the one of the authors, 1 % of white from torchvision's.
    """
    scale = 255.0 * torch.tensor(_TORCHVISION_STD).reshape(1, 3, 1, 1)
    return (weight / scale).flip(1)
