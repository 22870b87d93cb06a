# SPDX-License-Identifier: Apache-2.0
"""Pose networks: how the camera moved between two images; companions of training, not of use.

Written from facts about the networks of packnet-sfm (https://github.com/TRI-ML/packnet-sfm, MIT)
and monodepth2 (https://github.com/nianticlabs/monodepth2, non-commercial), with which this file
shares no code, and checked against numbers the originals produce.

The originals differ in what they are shown and in what their six numbers mean; both stand beside
the numbers here (`Motion`), so that nobody reads them wrongly. packnet-sfm reads the three numbers
of its ResNet as Euler angles although the decoder it took over was made for an axis and an angle;
published weights were trained so, and it is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, ModelError, unknown_name
from depth_core.models.selfsup.packnet_blocks import GROUPS
from depth_core.models.selfsup.resnet import ResNetEncoder
from depth_core.precision import at_least_float32

RotationForm: TypeAlias = Literal['euler_xyz', 'axis_angle']
"""euler_xyz: R = Rx(a) Ry(b) Rz(c); axis_angle: the axis times the angle. Radians."""

_SCALE: Final = 0.01
"""The networks' outputs are multiplied by it, so that training starts from small motions."""

_CHANNELS: Final = (16, 32, 64, 128, 256, 256, 256)
_KERNELS: Final = (7, 5, 3, 3, 3, 3, 3)
_HIDDEN: Final = 256


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How points of one camera's frame are moved into another's: x' = R x + t.

    From the image to each of its neighbours, or the other way where `inverted` says so.
    """

    translation: Tensor
    """[B, N, 3] t, in the unit of the depth."""
    rotation: Tensor
    """[B, N, 3] radians, in the form `form` says."""
    form: RotationForm
    inverted: Tensor
    """[B, N] bool: the numbers move the neighbour's points into the image's frame."""


class PoseNetwork(nn.Module, ABC):
    """A network from an image and its neighbours in time to the motions between them."""

    @abstractmethod
    def forward(self, image: Tensor, neighbours: Tensor, earlier: Tensor) -> Motion:
        """Predict the motion between the image and each neighbour.

        Args:
            image: [B, 3, H, W] RGB in [0, 1].
            neighbours: [B, N, 3, H, W] RGB in [0, 1].
            earlier: [B, N] bool: the neighbour was taken before the image.
        """


# Networks of packnet-sfm


class PoseNet(PoseNetwork):
    """Seven strided convolutions over the image and all its neighbours at once.

    Built for a fixed number of neighbours, in a fixed order. Small images are taken too; the
    authors' smallest side is 128 pixels.
    """

    def __init__(self, *, neighbours: int = 2) -> None:
        super().__init__()
        ins = (3 * (neighbours + 1), *_CHANNELS)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(ins[index], width, kernel, stride=2, padding=kernel // 2),
                nn.GroupNorm(GROUPS, width),
                nn.ReLU(inplace=True),
            )
            for index, (width, kernel) in enumerate(zip(_CHANNELS, _KERNELS, strict=True))
        )
        self.out = nn.Conv2d(_CHANNELS[-1], 6 * neighbours, 1)
        self.neighbours = neighbours
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.get_parameter('bias'))

    def forward(self, image: Tensor, neighbours: Tensor, earlier: Tensor) -> Motion:
        """Predict the motion from the image to each neighbour.

        Raises:
            ModelError: There are more or fewer neighbours than the network was built for.
        """
        if neighbours.shape[1] != self.neighbours:
            message = (
                f'this PoseNet was built for {self.neighbours} neighbours and is given '
                f'{neighbours.shape[1]}; build it with neighbours={neighbours.shape[1]}.'
            )
            raise ModelError(message)
        x = torch.cat((image, neighbours.flatten(1, 2)), dim=1)
        for layer in self.layers:
            x = layer(x)
        vectors = _mean(self.out(x)).unflatten(1, (self.neighbours, 6))
        return _motion(vectors, 'euler_xyz', torch.zeros_like(earlier))


class PoseResNet(PoseNetwork):
    """A ResNet over the image and one neighbour at a time, the image first.

    With `ordered`, the earlier of the two images comes first and the rotation is an axis times an
    angle, as in monodepth2; without, as in packnet-sfm.
    """

    def __init__(
        self, encoder: str = 'resnet18', *, ordered: bool, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(encoder, images=2, pretrained=pretrained)
        self.decoder = PoseDecoder(self.encoder.channels[-1])
        self.ordered = ordered

    def forward(self, image: Tensor, neighbours: Tensor, earlier: Tensor) -> Motion:
        """Predict the motion between the image and each neighbour."""
        pairs = _pairs(image, neighbours, earlier if self.ordered else torch.zeros_like(earlier))
        rotation, translation = self.decoder(self.encoder(pairs)[-1])
        # Of the motions it predicts, only the first is used.
        vectors = torch.cat((translation[:, 0], rotation[:, 0]), dim=-1)
        vectors = vectors.unflatten(0, neighbours.shape[:2])
        if not self.ordered:
            return _motion(vectors, 'euler_xyz', torch.zeros_like(earlier))
        return _motion(vectors, 'axis_angle', earlier)


class PoseDecoder(nn.Module):
    """Four convolutions from the last map of an encoder to rotations and translations."""

    def __init__(self, in_channels: int, *, motions: int = 2) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, _HIDDEN, 1)
        self.conv0 = nn.Conv2d(_HIDDEN, _HIDDEN, 3, padding=1)
        self.conv1 = nn.Conv2d(_HIDDEN, _HIDDEN, 3, padding=1)
        self.out = nn.Conv2d(_HIDDEN, 6 * motions, 1)
        self.motions = motions

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return rotation and translation, each [B, motions, 3]."""
        x = features
        for layer in (self.squeeze, self.conv0, self.conv1):
            x = F.relu(layer(x))
        vectors = _mean(self.out(x)).unflatten(1, (self.motions, 6))
        return vectors[..., :3], vectors[..., 3:]


# The convolutional network of monodepth2


class PoseCnn(PoseNetwork):
    """Seven strided convolutions without norm over two images, the earlier one first."""

    def __init__(self) -> None:
        super().__init__()
        ins = (6, *_CHANNELS)
        self.layers = nn.ModuleList(
            nn.Conv2d(ins[index], width, kernel, stride=2, padding=kernel // 2)
            for index, (width, kernel) in enumerate(zip(_CHANNELS, _KERNELS, strict=True))
        )
        self.out = nn.Conv2d(_CHANNELS[-1], 6, 1)

    def forward(self, image: Tensor, neighbours: Tensor, earlier: Tensor) -> Motion:
        """Predict the motion between the image and each neighbour."""
        rotation, translation = self.of_pair(_pairs(image, neighbours, earlier))
        vectors = torch.cat((translation, rotation), dim=-1)
        return _motion(vectors.unflatten(0, neighbours.shape[:2]), 'axis_angle', earlier)

    def of_pair(self, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Return rotation and translation [B, 3] from the first image of [B, 6, H, W]."""
        x = pair
        for layer in self.layers:
            x = F.relu(layer(x))
        vector = _mean(self.out(x))
        return vector[:, :3], vector[:, 3:]


def _mean(maps: Tensor) -> Tensor:
    return _SCALE * at_least_float32(maps).mean(dim=(-2, -1))


def _pairs(image: Tensor, neighbours: Tensor, neighbour_first: Tensor) -> Tensor:
    """Stack the image with each neighbour: [B * N, 6, H, W]."""
    images = image[:, None].expand_as(neighbours)
    swap = neighbour_first[..., None, None, None]
    first, second = torch.where(swap, neighbours, images), torch.where(swap, images, neighbours)
    return torch.cat((first, second), dim=2).flatten(0, 1)


def _motion(vectors: Tensor, form: RotationForm, inverted: Tensor) -> Motion:
    """Split (tx, ty, tz, three angles) into its parts."""
    return Motion(
        translation=vectors[..., :3], rotation=vectors[..., 3:], form=form, inverted=inverted
    )


# By name


def _posenet(*, neighbours: int, pretrained: bool) -> PoseNetwork:
    del pretrained  # there are no ImageNet weights of its form
    return PoseNet(neighbours=neighbours)


def _posecnn(*, neighbours: int, pretrained: bool) -> PoseNetwork:
    del neighbours, pretrained
    return PoseCnn()


def _resnet(encoder: str, *, ordered: bool) -> Callable[..., PoseNetwork]:
    def build(*, neighbours: int, pretrained: bool) -> PoseNetwork:
        del neighbours
        return PoseResNet(encoder, ordered=ordered, pretrained=pretrained)

    return build


_BUILDERS: Final[Mapping[str, Callable[..., PoseNetwork]]] = {
    'posenet': _posenet,
    'poseresnet18': _resnet('resnet18', ordered=False),
    'poseresnet50': _resnet('resnet50', ordered=False),
    'monodepth2_resnet18': _resnet('resnet18', ordered=True),
    'monodepth2_resnet50': _resnet('resnet50', ordered=True),
    'monodepth2_posecnn': _posecnn,
}


def list_pose_networks() -> list[str]:
    """Every name `create_pose_network` takes, sorted."""
    return sorted(_BUILDERS)


def create_pose_network(
    name: str, *, neighbours: int = 2, pretrained: bool = False
) -> PoseNetwork:
    """Build a pose network with random weights.

    Args:
        name: One of `list_pose_networks()`: posenet and poseresnet are those of packnet-sfm.
        neighbours: How many neighbours each image has; only posenet depends on it.
        pretrained: Start an encoder that is a ResNet from ImageNet weights, which are downloaded.

    Raises:
        ConfigError: There are no neighbours.
        ModelError: The name is unknown.
    """
    if not isinstance(name, str) or name not in _BUILDERS:
        raise ModelError(unknown_name('pose network', name, _BUILDERS))
    if not isinstance(neighbours, int) or neighbours < 1:
        message = f'neighbours is {neighbours!r}; give how many each image has, at least 1.'
        raise ConfigError(message)
    return _BUILDERS[name](neighbours=neighbours, pretrained=pretrained)
