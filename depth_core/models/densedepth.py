# SPDX-License-Identifier: Apache-2.0
"""DenseDepth: a DenseNet encoder and a plain decoder that predict reciprocal depth.

Paper: I. Alhashim, P. Wonka, High Quality Monocular Depth Estimation via Transfer Learning,
arXiv 1812.11941, 2018. Original code: https://github.com/ialhashim/DenseDepth, GPL-3.0; this file
shares no code with it and was written from facts about the network (sizes, wiring, key names) and
checked against numbers the original produces.

The default is the network of the published weights: DenseNet-169, full decoder width, no
activation between the two convolutions of a block, upsampling with aligned corners. The original
repository trained other wirings under the same name over time; they are options here.

Changed: depth comes out in metres at the size of the input, beside a standard deviation from a
small head of our own that leaves the depth path untouched; the ImageNet classifier that the
original keeps as dead weight is dropped. `densedepth_small` keeps the idea (U-shaped decoder,
reciprocal depth at half resolution) for robots: a light timm encoder, narrow normalised blocks,
and a logarithmic output that is positive from the first step of training from scratch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError, unknown_name
from depth_core.models.backbones import DenseNetEncoder, EncoderWeights, TimmEncoder
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.blocks import (
    SAMPLINGS,
    STRIDES,
    LightDecoder,
    Sampling,
    SigmaHead,
    check_decoder_channels,
    resize_bilinear,
)
from depth_core.models.family import Family, Network, OfficialWeights, reciprocal
from depth_core.precision import at_least_float32

_LEAKY_SLOPE: Final = 0.2
_RANGE_MARGIN: Final = 1.25


@dataclass(frozen=True, kw_only=True)
class DenseDepthPrediction(Prediction):
    """Depth and sigma, and the raw output the reciprocal losses are computed on."""

    reciprocal: Tensor
    """[B, 1, H/2, W/2] network output y = max_depth / depth, no unit, not clipped."""


# Blocks


class UpsampleBlock(nn.Module):
    """Resize to the skip's size, concatenate [resized, skip], two 3x3 convolutions."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        activation_after_conv_a: bool,
        upsampling: Sampling,
    ) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(in_channels + skip_channels, out_channels, 3, padding=1)
        self.conv_b = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.activation_after_conv_a = activation_after_conv_a
        self.upsampling = upsampling

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Climb one level."""
        x = resize_bilinear(x, (skip.shape[-2], skip.shape[-1]), self.upsampling)
        x = self.conv_a(torch.cat((x, skip), dim=1))
        if self.activation_after_conv_a:
            x = F.leaky_relu(x, _LEAKY_SLOPE)
        activated: Tensor = F.leaky_relu(self.conv_b(x), _LEAKY_SLOPE)
        return activated


class Decoder(nn.Module):
    """The DenseDepth decoder: a 1x1 convolution, four blocks, each half as wide, no norm."""

    def __init__(
        self,
        encoder_channels: Sequence[int],
        *,
        width: float,
        activation_after_conv_a: bool,
        upsampling: Sampling,
    ) -> None:
        super().__init__()
        *skips, top = encoder_channels
        channels = [int(top * width) // 2**level for level in range(len(skips) + 1)]
        self.conv2 = nn.Conv2d(top, channels[0], 1)
        self.blocks = nn.ModuleList(
            UpsampleBlock(
                channels[level],
                skip,
                channels[level + 1],
                activation_after_conv_a=activation_after_conv_a,
                upsampling=upsampling,
            )
            for level, skip in enumerate(reversed(skips))
        )
        self.conv3 = nn.Conv2d(channels[-1], 1, 3, padding=1)
        self.out_channels = channels[-1]

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the output y and the features it is made from, both at half resolution."""
        *skips, top = maps
        x = self.conv2(top)
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return self.conv3(x), x


# Models


class DenseDepth(DepthModel):
    """The published network and a sigma head."""

    def __init__(self, spec: ModelSpec, encoder: DenseNetEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.decoder = decoder
        self.sigma_head = SigmaHead(decoder.out_channels)

    def forward(self, images: Tensor) -> DenseDepthPrediction:
        """Predict depth and sigma at the size of `images`."""
        self.check_input(images)
        reciprocal, features = self.decoder(self.encoder(images))
        return _predict(self.spec, self.sigma_head, reciprocal, features, images)

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the authors' network on RGB in [0, 1] of any size.

        Returns:
            `out`: [B, 1, H/2, W/2] y = max_depth / depth, linear, not clipped.
        """
        return {'out': self.decoder(self.encoder(x))[0]}

    def own_state(self) -> dict[str, Tensor]:
        """The sigma head, answering 0.2 depth everywhere."""
        head = SigmaHead(self.decoder.out_channels).make_neutral()
        return {f'sigma_head.{key}': value for key, value in head.state_dict().items()}


class DenseDepthSmall(DepthModel):
    """A timm encoder, the light decoder, a logarithmic output and a sigma head.

    The raw output t sets log depth: y = exp(lowest + span * sigmoid(t)), over the model's range
    and a factor of 1.25 beyond either end, so that depth is positive and finite for any weights,
    t = 0 is the geometric middle of the range, and both ends can be reached and passed.
    """

    def __init__(self, spec: ModelSpec, encoder: TimmEncoder, channels: Sequence[int]) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.decoder = LightDecoder(encoder.channels, channels)
        self.sigma_head = SigmaHead(channels[-1])

    def forward(self, images: Tensor) -> DenseDepthPrediction:
        """Predict depth and sigma at the size of `images`."""
        self.check_input(images)
        raw, features = self.decoder(self.encoder(images))
        return _predict(self.spec, self.sigma_head, self._decode(raw), features, images)

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the network on RGB in [0, 1]; this variant is ours and has no original.

        Returns:
            `out`: [B, 1, H/2, W/2] y = max_depth / depth, positive.
        """
        return {'out': self._decode(self.decoder(self.encoder(x))[0])}

    def _decode(self, raw: Tensor) -> Tensor:
        lowest = -math.log(_RANGE_MARGIN)
        highest = math.log(self.spec.max_depth / self.spec.min_depth) - lowest
        return torch.exp(lowest + (highest - lowest) * torch.sigmoid(at_least_float32(raw)))


def decode_depth(reciprocal: Tensor, *, min_depth: float, max_depth: float) -> Tensor:
    """Turn the network output y into depth: clip(max_depth / y, min_depth, max_depth).

    As in the original, a negative y answers `min_depth`. The quotient is taken of a clipped y, so
    that y = 0 (which answers `max_depth`) gives no infinite gradient.

    Args:
        reciprocal: y, any shape.
        min_depth: Metres.
        max_depth: Metres; also the numerator y was trained with.

    Returns:
        Depth in metres, the shape of `reciprocal`.
    """
    depth = max_depth / reciprocal.clamp(1.0, max_depth / min_depth)
    depth = torch.where(reciprocal < 0.0, torch.full_like(depth, min_depth), depth)
    return depth.clamp(min_depth, max_depth)


def _predict(
    spec: ModelSpec, sigma_head: SigmaHead, reciprocal: Tensor, features: Tensor, images: Tensor
) -> DenseDepthPrediction:
    """Decode at half resolution, then enlarge, in the order of the original evaluation."""
    reciprocal = at_least_float32(reciprocal)  # metres do not fit the half precision of autocast
    depth = decode_depth(reciprocal, min_depth=spec.min_depth, max_depth=spec.max_depth)
    sigma = sigma_head(features, depth)
    size = (images.shape[-2], images.shape[-1])
    return DenseDepthPrediction(
        depth=resize_bilinear(depth, size, 'half_pixel').squeeze(1),
        sigma=resize_bilinear(sigma, size, 'half_pixel').squeeze(1),
        reciprocal=reciprocal,
    )


# Variants


def densedepth(
    *,
    max_depth: float = 10.0,
    min_depth: float = 0.1,
    encoder: str = 'densenet169',
    decoder_width: float = 1.0,
    activation_after_conv_a: bool = False,
    upsampling: Sampling = 'align_corners',
    pretrained: bool = False,
) -> DenseDepth:
    """Build DenseDepth; the defaults are the published NYU network.

    The published KITTI network is `max_depth=80.0, min_depth=1.0`. The wiring of the original
    repository's training code since 2020 is `decoder_width=0.5, activation_after_conv_a=True,
    upsampling='half_pixel'`.

    Args:
        max_depth: Largest depth, metres, and the numerator of y = max_depth / depth.
        min_depth: Smallest depth, metres.
        encoder: densenet121, densenet161, densenet169 or densenet201.
        decoder_width: Channels of the decoder's first layer as a share of the encoder's last.
        activation_after_conv_a: Put a LeakyReLU between the two convolutions of a block.
        upsampling: Sample positions of the decoder's bilinear resizes.
        pretrained: Start from torchvision's ImageNet weights, which are downloaded.

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown.
    """
    if not 0.0 < decoder_width <= 1.0:
        message = f'decoder_width {decoder_width} is not in (0, 1]; 1.0 is the published network.'
        raise ConfigError(message)
    if upsampling not in SAMPLINGS:
        raise ConfigError(unknown_name('upsampling', upsampling, SAMPLINGS))
    spec = _spec('densedepth', min_depth, max_depth, size=(480, 640))
    network = DenseNetEncoder(encoder, pretrained=pretrained)
    decoder = Decoder(
        network.channels,
        width=decoder_width,
        activation_after_conv_a=activation_after_conv_a,
        upsampling=upsampling,
    )
    return DenseDepth(spec, network, decoder)


def densedepth_small(
    *,
    max_depth: float = 80.0,
    min_depth: float = 0.5,
    encoder: str = 'mobilenetv3_large_075',
    decoder_channels: Sequence[int] = (128, 128, 80, 48, 24),
    encoder_weights: EncoderWeights = 'none',
) -> DenseDepthSmall:
    """Build the small DenseDepth for robots on any pyramidal timm encoder.

    Args:
        max_depth: Largest depth, metres, and the numerator of y = max_depth / depth.
        min_depth: Smallest depth, metres.
        encoder: Name of a timm network.
        decoder_channels: Channels at strides 32, 16, 8, 4 and 2.
        encoder_weights: Where the encoder starts from: none (random), packaged (installed with
            the extra `pretrained`, for tf_efficientnet_lite0 to 2) or download (timm's).

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown or gives no pyramid.
    """
    check_decoder_channels(decoder_channels)
    spec = _spec('densedepth_small', min_depth, max_depth, size=(256, 320))
    network = TimmEncoder(encoder, weights=encoder_weights)
    return DenseDepthSmall(spec, network, tuple(decoder_channels))


def _spec(name: str, min_depth: float, max_depth: float, *, size: tuple[int, int]) -> ModelSpec:
    return ModelSpec(
        name=name,
        family='densedepth',
        kind=DepthKind.METRIC,
        min_depth=min_depth,
        max_depth=max_depth,
        free_size=True,
        divisor=STRIDES[-1],
        default_size=size,
    )


# Key map of the official weights

_CLASSIFIER: Final = 'encoder.original_model.classifier.'
"""The ImageNet classifier: the authors' PyTorch class holds it, and nothing uses it."""

_OFFICIAL_FEATURES: Final = 'encoder.original_model.features.'
_KERAS_OF_DENSE: Final = {'norm1': '0_bn', 'conv1': '1_conv', 'norm2': '1_bn', 'conv2': '2_conv'}
_KERAS_OF_NORM: Final = {
    'weight': 'gamma',
    'bias': 'beta',
    'running_mean': 'moving_mean',
    'running_var': 'moving_variance',
}
_KERAS_OF_CONVOLUTION: Final = {'weight': 'kernel', 'bias': 'bias'}


def official_key(key: str) -> str:
    """Name of a weight of ours in the state dict of the authors' PyTorch class."""
    if key.startswith('encoder.features.'):
        return _OFFICIAL_FEATURES + key.removeprefix('encoder.features.')
    block = re.fullmatch(r'decoder\.blocks\.(\d)\.conv_([ab])\.(\w+)', key)
    if block is None:
        return key
    return f'decoder.up{int(block[1]) + 1}.conv{block[2].upper()}.{block[3]}'


def keras_name(official: str) -> str | None:
    """Name `layer/parameter` of an official PyTorch weight in the authors' Keras files.

    Layers of the stem are named as Keras 3 does (`conv1_conv`); files of 2018 have `conv1/conv`.
    The counter of batches has no counterpart: None. Kernels are HWIO there and OIHW here.
    """
    *path, parameter = official.removeprefix(_OFFICIAL_FEATURES).split('.')
    match path:
        case ['decoder', *names]:
            layer = '_'.join(names)
        case ['conv0' | 'norm0' as name]:
            layer = f'conv1_{_bn_or_conv(name)}'
        case ['norm5']:
            layer = 'bn'
        case [block, name] if block.startswith('transition'):
            layer = f'pool{int(block[-1]) + 1}_{_bn_or_conv(name)}'
        case [block, dense_layer, name]:
            number = dense_layer.removeprefix('denselayer')
            layer = f'conv{int(block[-1]) + 1}_block{number}_{_KERAS_OF_DENSE[name]}'
        case _:
            return None
    parameters = _KERAS_OF_NORM if layer.endswith('bn') else _KERAS_OF_CONVOLUTION
    return f'{layer}/{parameters[parameter]}' if parameter in parameters else None


def _bn_or_conv(name: str) -> str:
    return 'bn' if name.startswith('norm') else 'conv'


FAMILY: Final = Family(
    name='densedepth',
    title='DenseDepth',
    paper='Alhashim and Wonka, arXiv 1812.11941, 2018',
    recipe='densedepth',
    networks=(
        Network(
            builder=densedepth,
            summary='DenseNet-169 and a plain decoder on reciprocal depth',
            tiny={'encoder': 'densenet121', 'decoder_width': 0.05},
            rescale=reciprocal('decoder.conv3'),
            official=OfficialWeights(
                official_key=official_key,
                dropped=lambda key: key.startswith(_CLASSIFIER),
                keras_name=keras_name,
            ),
        ),
        Network(
            builder=densedepth_small,
            summary='the same idea on a light timm encoder, for robots',
            tiny={'encoder': 'mobilenetv3_small_050'},
        ),
    ),
    sigma='a small head on the last decoder features, trained by the Laplace likelihood; it '
    'cannot move the depth',
    published='`nyu.h5`, `kitti.h5` of the authors, state dicts of their PyTorch class',
)
