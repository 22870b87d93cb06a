# SPDX-License-Identifier: Apache-2.0
"""Hierarchical embedding generators (HEG): what CLIFFNet's loss sees depth maps through.

Paper: Wang et al., CLIFFNet, ECCV 2020; see `cliffnet` for the source and its licence. A HEG is
trained once, then frozen: HEG-S by telling the class of a scene from its depth map, HEG-R by
giving a depth map back. The loss compares the first embeddings of true and predicted depth.

Both have the trunk of the one embedding network the authors' code holds, two stages of 16 and 32
channels under its key names (`features.N`). What the authors never published is chosen here: a
third stage of 64 channels behind the trunk (the plan of six convolutions that a reproduction
used), a linear classifier over the mean and the largest value of each of its channels for HEG-S,
and the mirrored stages as decoder for HEG-R. Only the trunk reaches the loss.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, ModelError

_SLOPE: Final = 0.01
_TRUNK: Final = (16, 32)
_TAIL: Final = (64,)
_LAYERS_A_CONVOLUTION: Final = 3
_LAYERS_A_STAGE: Final = 2 * _LAYERS_A_CONVOLUTION


class EmbeddingTrunk(nn.Module):
    """Stages of two 3x3 convolutions, each with batch norm and LeakyReLU 0.01.

    The first convolution of every stage but the first halves the size. Embedding l is what stage l
    gives. Input is depth in metres, [B, 1, H, W], as it is: no scale, no logarithm.
    """

    def __init__(self, channels: Sequence[int] = _TRUNK) -> None:
        super().__init__()
        if len(channels) < 1 or min(channels) < 1:
            message = f'channels {list(channels)} of a HEG: give at least one positive number.'
            raise ConfigError(message)
        self.channels = tuple(channels)
        self.features = nn.Sequential(*_stages((1, *channels), first_stride=1))

    def forward(self, depth_m: Tensor) -> list[Tensor]:
        """Return the embeddings, the finest first: [B, 16, H, W], [B, 32, H/2, W/2]."""
        embeddings = []
        x = depth_m
        for first in range(0, len(self.features), _LAYERS_A_STAGE):
            x = self.features[first : first + _LAYERS_A_STAGE](x)
            embeddings.append(x)
        return embeddings

    def reach(self, marked: Tensor) -> list[Tensor]:
        """Say of each embedding pixel whether any marked pixel is in its receptive field.

        The fields are 5x5 pixels for the first embedding and 11x11 for the second; smaller where
        a kernel holds zeros in all channels. Outside the map nothing is marked: the zeros that a
        convolution pads with are the same for every depth map.

        Args:
            marked: [B, 1, H, W] bool.

        Returns:
            One bool map for each embedding, [B, 1, h, w].
        """
        reached = []
        x = marked.float()
        for index in range(0, len(self.features), _LAYERS_A_CONVOLUTION):
            convolution = cast('nn.Conv2d', self.features[index])
            seen = (convolution.weight != 0.0).any(dim=1).any(dim=0).to(x.dtype)[None, None]
            x = (F.conv2d(x, seen, stride=convolution.stride, padding=1) > 0.0).float()
            if index % _LAYERS_A_STAGE:
                reached.append(x > 0.0)
        return reached


class SceneEmbedding(nn.Module):
    """HEG-S: a trunk that learns to classify a scene by its depth map."""

    def __init__(
        self, classes: int, *, channels: Sequence[int] = _TRUNK, tail: Sequence[int] = _TAIL
    ) -> None:
        super().__init__()
        self.trunk = EmbeddingTrunk(channels)
        self.tail = nn.Sequential(*_stages((channels[-1], *tail), first_stride=2))
        self.classifier = nn.Linear(2 * (*channels, *tail)[-1], classes)

    def forward(self, depth_m: Tensor) -> Tensor:
        """Return the scores of the classes, [B, classes], for depth [B, 1, H, W] in metres."""
        x = self.tail(self.trunk(depth_m)[-1])
        pooled = torch.cat((x.mean(dim=(-2, -1)), x.amax(dim=(-2, -1))), dim=1)
        scores: Tensor = self.classifier(pooled)
        return scores


class ReconstructionEmbedding(nn.Module):
    """HEG-R: a trunk that learns to keep what is needed to give a depth map back.

    Everything has to pass the last stage: the decoder sees no other map.
    """

    def __init__(self, *, channels: Sequence[int] = _TRUNK, tail: Sequence[int] = _TAIL) -> None:
        super().__init__()
        self.trunk = EmbeddingTrunk(channels)
        self.tail = nn.Sequential(*_stages((channels[-1], *tail), first_stride=2))
        widths = (*channels, *tail)
        layers: list[nn.Module] = []
        for width, finer in zip(reversed(widths), (*reversed(widths[:-1]), None), strict=True):
            layers += _layer(width, nn.Conv2d(width, width, 3, padding=1, bias=False))
            if finer is None:
                layers.append(nn.Conv2d(width, 1, 3, padding=1))
            else:
                up = nn.ConvTranspose2d(width, finer, 4, stride=2, padding=1, bias=False)
                layers += _layer(finer, up)
        self.decoder = nn.Sequential(*layers)
        self.divisor = 2 ** (len(widths) - 1)

    def forward(self, depth_m: Tensor) -> Tensor:
        """Return the depth given back, metres; [B, 1, H, W], as it came.

        Raises:
            ModelError: Height or width is no multiple of the divisor.
        """
        height, width = depth_m.shape[-2:]
        if height % self.divisor or width % self.divisor:
            message = (
                f'a HEG-R cannot give back a depth map of {height}x{width} pixels: both sides '
                f'must be multiples of {self.divisor}.'
            )
            raise ModelError(message)
        restored: Tensor = self.decoder(self.tail(self.trunk(depth_m)[-1]))
        return restored


def random_trunk(*, seed: int = 0) -> EmbeddingTrunk:
    """Make a trunk of random weights, the same for a seed; a HEG that was never trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EmbeddingTrunk()


@torch.no_grad()
def sobel_trunk() -> EmbeddingTrunk:
    """Make a trunk of one embedding whose L1 distance is that of the Sobel gradients.

    With LeakyReLU f of slope a, |f(x) - f(y)| + |f(-x) - f(-y)| = (1 + a) |x - y| for any x and
    y, whatever their signs. Channels that come in pairs of opposite sign therefore undo the
    activation under L1: the first convolution holds the two Sobel kernels and their negatives,
    the second hands them on, and both norms do nothing. The second layer sees f(x) and f(-x),
    so that it restores x = (f(x) - f(-x)) / (1 + a) first. The mean over the four channels is
    then, with weights of 2 / (1 + a), that of |S d - S d'| over the two gradients.
    """
    trunk = EmbeddingTrunk((4,))
    across = torch.tensor(((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)))
    kernels = torch.stack((across, across.T))
    trunk.features[0].get_parameter('weight').copy_(torch.cat((kernels, -kernels)).unsqueeze(1))
    second = trunk.features[_LAYERS_A_CONVOLUTION].get_parameter('weight')
    second.zero_()
    gain = 2.0 / (1.0 + _SLOPE) ** 2
    for channel in range(4):
        opposite = (channel + 2) % 4
        second[channel, channel, 1, 1] = gain
        second[channel, opposite, 1, 1] = -gain
    for norm in trunk.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.get_buffer('running_var').fill_(1.0 - norm.eps)
    return trunk


def frozen(trunk: EmbeddingTrunk) -> EmbeddingTrunk:
    """Make `trunk` ready for a loss: eval mode, no gradient to its weights."""
    return trunk.eval().requires_grad_(requires_grad=False)


def _stages(channels: Sequence[int], *, first_stride: int) -> list[nn.Module]:
    """Layers from channels[0] to channels[-1]; each stage halves, the first by its own stride."""
    layers: list[nn.Module] = []
    for index, (before, width) in enumerate(itertools.pairwise(channels)):
        stride = 2 if index else first_stride
        first = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        layers += _layer(width, first)
        layers += _layer(width, nn.Conv2d(width, width, 3, padding=1, bias=False))
    return layers


def _layer(width: int, convolution: nn.Module) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(width), nn.LeakyReLU(_SLOPE)]
