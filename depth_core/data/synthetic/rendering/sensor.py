# SPDX-License-Identifier: Apache-2.0
"""From radiance to pixel values: what a camera's optics and electronics do to an image."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """The settings of one camera exposure; equal for all frames of a sample."""

    exposure: float = 0.2
    """What the camera's metering makes of the mean radiance of the surfaces."""
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gains of red, green and blue."""
    gamma: float = 2.2
    contrast: float = 0.0
    """0 keeps the tone curve, 1 is a full S-curve."""
    saturation: float = 1.0
    vignette: float = 0.0
    """Loss of light in the corners, relative."""
    noise: float = 0.0
    """Standard deviation of the noise at mid grey, in units of full scale."""
    blur: float = 0.3
    """Share of a 3x3 binomial blur, which stands for the optics and the pixel's area."""

    def meter(self, radiance: Tensor, depth_m: Tensor) -> float:
        """Return the gain for an image: surfaces count, the sky may burn out.

        Few pixels are read, so that the sum is the same for any number of threads.
        """
        grey = radiance[:, 4::8, 4::8].mean(0)
        surface = grey[torch.isfinite(depth_m[4::8, 4::8])]
        mean = float(surface.clamp(1e-3, 10.0).log().mean().exp()) if surface.numel() else 1.0
        return self.exposure / max(mean, 1e-3)

    def expose(
        self, radiance: Tensor, gain: float, seed: int, *, pixels_across: int = 1
    ) -> Tensor:
        """Turn linear radiance into an image.

        Args:
            radiance: [3, H, W] linear RGB.
            gain: As metered; equal for neighbouring frames.
            seed: Of the noise.
            pixels_across: Pixels of the sensor along each side of one of the image, which is a
                smaller copy of what the camera takes: their noise is averaged.

        Returns:
            [3, H, W] float32 in [0, 1], in steps of 1/255.
        """
        height, width = radiance.shape[1:]
        image = radiance * (
            torch.tensor(self.balance, device=radiance.device)[:, None, None] * gain
        )
        x = torch.linspace(-1.0, 1.0, width, device=radiance.device)
        y = torch.linspace(-1.0, 1.0, height, device=radiance.device)
        falloff = 1.0 - 0.5 * self.vignette * (x.square() + y.square()[:, None])
        image = image.mul_(falloff).clamp_(1e-6, 1.0)
        if self.blur > 0.0:
            image.add_(self.blur * (_binomial(image) - image))
        image = image.pow_(1.0 / self.gamma)
        if self.contrast > 0.0:
            curve = image.square() * (3.0 - 2.0 * image)
            image.add_(self.contrast * (curve - image))
        if self.saturation != 1.0:
            grey = image.mean(0)
            image = grey + self.saturation * (image - grey)
        if self.noise > 0.0:
            generator = torch.Generator(device=radiance.device).manual_seed(seed)
            noise = torch.randn(image.shape, generator=generator, device=radiance.device)
            deviation = self.noise / pixels_across
            image.addcmul_(noise, (image + 0.3).clamp_(min=0.0), value=deviation)
        return image.mul_(255.0).round_().clamp_(0.0, 255.0).div_(255.0)


def _binomial(image: Tensor) -> Tensor:
    """[C, H, W] convolved with (1, 2, 1)/4 in both directions, edges repeated."""
    padded = torch.nn.functional.pad(image[None], (1, 1, 1, 1), mode='replicate')[0]
    across = padded[:, :, :-2] + 2.0 * padded[:, :, 1:-1] + padded[:, :, 2:]
    return (across[:, :-2] + 2.0 * across[:, 1:-1] + across[:, 2:]).mul_(1.0 / 16.0)


def draw_sensor(source: Random, *, exposure: float) -> Sensor:
    """Draw the settings of a camera that meters for about `exposure`."""
    warm = source.gauss(0.0, 0.08)
    return Sensor(
        exposure=exposure * 2.0 ** source.gauss(0.0, 0.6),
        balance=(1.0 + warm, 1.0 + source.gauss(0.0, 0.02), 1.0 - warm),
        gamma=source.uniform(1.8, 2.5),
        contrast=source.uniform(0.0, 0.8),
        saturation=source.uniform(0.6, 1.7),
        vignette=source.choice((0.0, 0.0, source.uniform(0.0, 0.5))),
        noise=source.choice((0.004, 0.01, source.uniform(0.0, 0.03))),
        blur=source.uniform(0.0, 0.9),
    )
