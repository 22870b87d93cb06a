# SPDX-License-Identifier: Apache-2.0
"""Pixel-adaptive convolution: a convolution whose taps are weighed by how alike pixels are.

Paper: H. Su, V. Jampani, D. Sun, O. Gallo, E. Learned-Miller, J. Kautz, Pixel-Adaptive
Convolutional Neural Networks, CVPR 2019, arXiv 1904.05373. Original code:
https://github.com/NVlabs/pacnet, CC BY-NC-SA 4.0; this file shares no code with it and was written
from the formula and checked against numbers the original produces.

    y_i = sum over j in the window of i: K(f_i, f_j) W[p_j - p_i] x_j + b
    K(f_i, f_j) = exp(-|f_i - f_j|^2 / (2 sigma^2))

with a sigma of its own for each output filter, learned, as the paper on semantic guidance has it
(V. Guizilini, R. Hou, J. Li, R. Ambrus, A. Gaidon, Semantically-Guided Representation Learning
for Self-Supervised Monocular Depth, ICLR 2020, arXiv 2002.12319); the original code has sigma = 1.

The original lays out every window, B x C x k^2 x H x W numbers. Here the k^2 taps are walked one
after another, each a 1x1 convolution of the whole map, shifted and weighed by its kernel, so that
no tensor is larger than one map. Since K(f_i, f_j) = K(f_j, f_i), opposite taps share one kernel.
In training the taps are computed anew in the backward pass rather than kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from torch.utils.checkpoint import checkpoint

from depth_core.errors import ConfigError, ModelError, unknown_name

Kernel: TypeAlias = Callable[[Tensor], Tensor]
"""-d^2 / (2 sigma^2), of the distance d of two guide vectors, to the weight of a tap."""

KernelName: TypeAlias = Literal['gaussian', 'inverse']
KERNELS: Final[tuple[KernelName, ...]] = get_args(KernelName)

_INVERSE_EPSILON: Final = 1e-4


def gaussian_kernel(exponent: Tensor) -> Tensor:
    """Weigh by exp(-d^2 / (2 sigma^2))."""
    return torch.exp(exponent)


def inverse_kernel(exponent: Tensor, alpha: Tensor, power: Tensor) -> Tensor:
    """Weigh by alpha + (d^2 / sigma^2 + 1e-4)^(power / 2), the paper's kernel of a free power."""
    return alpha + (_INVERSE_EPSILON - 2.0 * exponent) ** (0.5 * power)


# Functions


def pixel_adaptive_conv2d(
    x: Tensor,
    guide: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    sigma: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    kernel: Kernel = gaussian_kernel,
    normalize_kernel: bool = False,
    recompute: bool = False,
) -> Tensor:
    """Convolve `x` with taps weighed by the likeness of `guide` at the tap and at the centre.

    Both are padded with zeros. Where the guide is constant and the kernel Gaussian this is
    `torch.nn.functional.conv2d`, at the border too.

    Args:
        x: [B, C, H, W].
        guide: [B, G, H, W].
        weight: [O, C, k, k] with odd k; [1, 1, k, k] filters each channel alone by one filter.
        bias: [O].
        sigma: [O] or [1], positive: the unit in which each filter measures guide distances; None
            is 1 for all.
        stride: Step between outputs, pixels.
        padding: Zeros added at each side, pixels.
        dilation: Step between taps, pixels.
        kernel: What weight a distance gets.
        normalize_kernel: Divide by the sum of the kernel over the taps inside the image.
        recompute: Keep nothing of a tap for the backward pass but compute it again.

    Returns:
        [B, O, H', W'] of the sizes of an ordinary convolution; float32 under autocast.

    Raises:
        ModelError: The kernel is of even size, or the guide of another size than `x`.
    """
    _check(x, guide, weight)
    border = (padding, padding, padding, padding)
    guide = guide.to(torch.promote_types(guide.dtype, torch.float32))
    mask = F.pad(torch.ones_like(guide[:1, :1]), border) if normalize_kernel else None
    x, guide = F.pad(x, border), F.pad(guide, border)
    scale = guide.new_tensor(-0.5)
    if sigma is not None:
        scale = scale * sigma.reshape(1, -1, 1, 1).to(guide.dtype) ** -2
    window = _Window(weight.shape[-1], stride, dilation, (x.shape[-2], x.shape[-1]))
    filters = x.shape[1] if weight.shape[:2] == (1, 1) else weight.shape[0]

    shape = (x.shape[0], filters, *window.output_size)

    def zeros() -> list[Tensor]:
        return [guide.new_zeros(shape) for _ in range(1 if mask is None else 2)]

    def add_pair(offset: tuple[int, int], sums: list[Tensor]) -> list[Tensor]:
        """Add the tap at an offset from the centre and the one opposite to it."""
        for tap, weights in _kernels(guide, scale, kernel, window, offset):
            sums[0].addcmul_(weights, _tap(x, weight, window, tap).to(guide.dtype))
            if mask is not None:
                sums[1].addcmul_(weights, window.at(mask, *tap))
        return sums

    sums = zeros()
    for offset in window.half():
        if recompute:
            terms = checkpoint(lambda o=offset: add_pair(o, zeros()), use_reentrant=False)
            sums = [total.add_(term) for total, term in zip(sums, terms, strict=True)]
        else:
            sums = add_pair(offset, sums)
    y = sums[0] if mask is None else sums[0] / sums[1]
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def pixel_adaptive_conv_transpose2d(
    x: Tensor,
    guide: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    sigma: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    kernel: Kernel = gaussian_kernel,
    recompute: bool = False,
) -> Tensor:
    """Convolve `x`, spread out by zeros, with taps weighed by a guide of the larger size.

    Args:
        x: [B, C, H, W].
        guide: [B, G, H', W'] at the size of the output, (H - 1) stride - 2 padding +
            dilation (k - 1) + output_padding + 1.
        weight: [C, O, k, k] with odd k, in the order of `torch.nn.functional.conv_transpose2d`.
        bias: [O].
        sigma: As for `pixel_adaptive_conv2d`.
        stride: Enlargement.
        padding: Pixels left out at each side.
        output_padding: Rows and columns added at the lower and right side.
        dilation: Step between taps, pixels.
        kernel: What weight a distance gets.
        recompute: As for `pixel_adaptive_conv2d`.

    Returns:
        [B, O, H', W'].

    Raises:
        ModelError: The kernel is of even size, or the guide not of the size of the output.
    """
    span = dilation * (weight.shape[-1] - 1)
    before = span - padding - span // 2  # the convolution below pads by half the span
    after = before + output_padding
    x = F.pad(_spread(x, stride), (before, after, before, after))
    return pixel_adaptive_conv2d(
        x,
        guide,
        weight.transpose(0, 1),
        bias,
        sigma=sigma,
        padding=span // 2,
        dilation=dilation,
        kernel=kernel,
        recompute=recompute,
    )


class _Window:
    """Where the taps of a window lie in maps that are padded already."""

    def __init__(
        self, kernel_size: int, stride: int, dilation: int, padded: tuple[int, int]
    ) -> None:
        self.stride = stride
        self.dilation = dilation
        self.centre = kernel_size // 2
        self.reach = dilation * self.centre
        self.spans = [(side - 2 * self.reach - 1) // stride * stride + 1 for side in padded]
        """Rows and columns between the first and the last output, both included."""

    @property
    def output_size(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        rows, columns = ((span - 1) // self.stride + 1 for span in self.spans)
        return rows, columns

    def half(self) -> Iterator[tuple[int, int]]:
        """Offsets of the centre and of one of each two opposite taps."""
        yield 0, 0
        for row in range(self.centre + 1):
            for column in range(-self.centre, self.centre + 1):
                if (row, column) > (0, 0):
                    yield row, column

    def at(self, padded: Tensor, row: int, column: int) -> Tensor:
        """What of a padded map lies at an offset from the centres of all windows."""
        top = self.reach + row * self.dilation
        left = self.reach + column * self.dilation
        return padded[
            ..., top : top + self.spans[0] : self.stride, left : left + self.spans[1] : self.stride
        ]


def _kernels(
    guide: Tensor,
    scale: Tensor,
    kernel: Kernel,
    window: _Window,
    offset: tuple[int, int],
) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """Give the kernel of a tap and of the opposite one, with their offsets.

    K at pixel q for offset o is a function of f(q) and f(q + o); for offset -o the same number
    belongs to pixel q + o. So it is computed once, over all q that either tap needs, and sliced.
    """
    row, column = offset
    if offset == (0, 0):
        yield offset, kernel(guide.new_zeros(1, 1, 1, 1))
        return
    down, right = row * window.dilation, column * window.dilation
    top, left = window.reach - down, window.reach - max(right, 0)
    height, width = window.spans[0] + down, window.spans[1] + abs(right)
    here = guide[..., top : top + height, left : left + width]
    there = guide[..., top + down : top + down + height, left + right : left + right + width]
    distance = (there - here).square().sum(dim=1, keepdim=True)
    weights = kernel(distance * scale)
    first = weights[..., down :: window.stride, max(right, 0) :: window.stride]
    second = weights[..., :: window.stride, max(-right, 0) :: window.stride]
    rows, columns = window.output_size
    yield offset, first[..., :rows, :columns]
    yield (-row, -column), second[..., :rows, :columns]


def _tap(x: Tensor, weight: Tensor, window: _Window, offset: tuple[int, int]) -> Tensor:
    """What one tap of the filters gives, not weighed; `x` is padded."""
    row, column = (step + window.centre for step in offset)
    tap = weight[:, :, row : row + 1, column : column + 1]
    if weight.shape[:2] == (1, 1):
        return window.at(x, *offset) * tap
    if window.stride == 1:  # then most of the whole is used, and the whole needs no copy
        return window.at(F.conv2d(x, tap), *offset)
    return F.conv2d(window.at(x, *offset), tap)


def _spread(x: Tensor, stride: int) -> Tensor:
    """Put stride - 1 zeros between neighbouring pixels."""
    batch, channels, height, width = x.shape
    gap = stride - 1
    x = F.pad(x[:, :, :, None, :, None], (0, gap, 0, 0, 0, gap))
    x = x.reshape(batch, channels, height * stride, width * stride)
    return x[..., : height * stride - gap, : width * stride - gap]


def _check(x: Tensor, guide: Tensor, weight: Tensor) -> None:
    if weight.shape[-1] % 2 == 0 or weight.shape[-1] != weight.shape[-2]:
        message = (
            f'a pixel-adaptive kernel of {weight.shape[-2]}x{weight.shape[-1]} has no centre to '
            'compare with; take an odd, square one.'
        )
        raise ModelError(message)
    if guide.shape[-2:] != x.shape[-2:] or guide.shape[0] != x.shape[0]:
        message = (
            f'the guide is {tuple(guide.shape)}, but features of {tuple(x.shape)} need one of '
            f'[{x.shape[0]}, G, {x.shape[-2]}, {x.shape[-1]}]; resize it.'
        )
        raise ModelError(message)


# Layers


class PixelAdaptiveConv2d(nn.Module):
    """A convolution with a guide and a learned sigma for each filter.

    sigma = exp(log_sigma) starts at 1, the value of the original, stays positive whatever the
    optimizer does, and weight decay pulls it back to 1.

    Args:
        in_channels: Channels of the features.
        out_channels: Number of filters.
        kernel_size: Side of the window, odd.
        stride: Step between outputs, pixels.
        padding: Zeros added at each side, pixels.
        dilation: Step between taps, pixels.
        bias: Add a number to each filter.
        kernel: gaussian, or inverse: alpha + (d^2 + 1e-4)^(power / 2), both learned.
        normalize_kernel: Divide by the sum of the kernel over the taps inside the image.
        shared_filters: One filter for each channel alone; as many channels out as in.
        learn_sigma: False keeps sigma = 1.
        recompute: Compute the taps anew in the backward pass: k^2 times less memory in training
            for one more pass forward.

    Raises:
        ConfigError: The kernel is unknown, or shared filters shall change the number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
        kernel: KernelName = 'gaussian',
        normalize_kernel: bool = False,
        shared_filters: bool = False,
        learn_sigma: bool = True,
        recompute: bool = True,
    ) -> None:
        super().__init__()
        if kernel not in KERNELS:
            raise ConfigError(unknown_name('pixel-adaptive kernel', kernel, KERNELS))
        if shared_filters and in_channels != out_channels:
            message = (
                f'shared filters give as many channels as they take, not {out_channels} of '
                f'{in_channels}; make the two equal.'
            )
            raise ConfigError(message)
        filters = (1, 1) if shared_filters else (out_channels, in_channels)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.normalize_kernel = normalize_kernel
        self.recompute = recompute
        self.weight = nn.Parameter(torch.empty(*filters, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.log_sigma = nn.Parameter(torch.zeros(filters[0])) if learn_sigma else None
        self.alpha = nn.Parameter(torch.tensor(0.0)) if kernel == 'inverse' else None
        self.power = nn.Parameter(torch.tensor(-1.0)) if kernel == 'inverse' else None
        self.reset_parameters(1.0 / math.sqrt(in_channels * kernel_size**2))

    def reset_parameters(self, bound: float) -> None:
        """Draw weight and bias evenly from [-bound, bound], as the original does."""
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @property
    def sigma(self) -> Tensor | None:
        """[O] the unit in which each filter measures guide distances; None is 1."""
        return None if self.log_sigma is None else self.log_sigma.exp()

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Convolve `x` [B, C, H, W] along `guide` [B, G, H, W]."""
        return pixel_adaptive_conv2d(
            x,
            guide,
            self.weight,
            self.bias,
            sigma=self.sigma,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            kernel=self._kernel,
            normalize_kernel=self.normalize_kernel,
            recompute=self.recompute and self.training and torch.is_grad_enabled(),
        )

    def _kernel(self, exponent: Tensor) -> Tensor:
        if self.alpha is None or self.power is None:
            return gaussian_kernel(exponent)
        return inverse_kernel(exponent, self.alpha, self.power)
