# SPDX-License-Identifier: Apache-2.0
"""What cameras do wrong: exposure, white balance, glare, blur, noise, vignetting, JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from depth_core.data.sample import Sample
from depth_core.data.transforms.base import check_probability, map_colours
from depth_core.errors import ConfigError

_DRAWS = 24
_GREY = np.array((0.299, 0.587, 0.114), np.float32)
_GRAINS = 2**20

_Image = NDArray[np.float32]

_RANGES: Final = {
    'exposure_stops': (0, 8),
    'balance': (0, 1),
    'glare': (0, 1),
    'blur_px': (1, 100),
    'defocus_px': (0, 20),
    'noise': (0, 1),
    'vignette': (0, 1),
    'lowest_quality': (1, 95),
    'tone': (0, 1),
}
"""The strengths that make pictures."""


@dataclass(frozen=True, kw_only=True)
class CameraFaults:
    """Spoil images as real cameras do, in the order of light: optics, sensor, compression.

    Each fault happens with `probability`, on its own, with a strength that is drawn; depth and
    validity stay. All frames of a sample suffer the same faults, each with noise of its own. The
    same sample and the same state of the generator give the same image.
    """

    probability: float = 0.35
    """Of each fault."""
    exposure_stops: float = 1.2
    """Largest error of the exposure, in factors of two; what is then too bright is burnt out."""
    balance: float = 0.25
    """Largest error of the gains of red and blue, relative."""
    glare: float = 0.35
    """Largest veil of stray light, as of a low sun in front, in units of full scale."""
    blur_px: float = 7.0
    """Longest motion blur, pixels."""
    defocus_px: float = 1.5
    """Largest deviation of the blur of a lens out of focus, pixels."""
    noise: float = 0.06
    """Largest deviation of the noise at mid grey, in units of full scale."""
    vignette: float = 0.6
    """Largest loss of light in the corners, relative."""
    lowest_quality: int = 20
    """Lowest quality of JPEG, of 100."""
    tone: float = 0.25
    """Largest change of contrast, gamma and saturation, relative; every image has one."""

    def __post_init__(self) -> None:
        check_probability(self.probability)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                message = f'{name}={value} is outside [{low}, {high}].'
                raise ConfigError(message)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample with spoilt images; draws the same number of times in any case."""
        draws = torch.rand(_DRAWS, generator=generator, dtype=torch.float64).tolist()
        seed = int(torch.randint(2**31, (), generator=generator))

        def spoil(images: Tensor) -> Tensor:
            flat = images.reshape(-1, *images.shape[-3:])
            source = np.random.default_rng(seed)
            spoilt = [self._spoil(item.numpy(), draws, source) for item in flat]
            return torch.from_numpy(np.stack(spoilt)).view_as(images)

        return map_colours(sample, spoil)

    def _spoil(self, image: _Image, draws: list[float], source: np.random.Generator) -> _Image:
        happens = [draw < self.probability for draw in draws[:7]]
        strength = draws[7:]
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))  # [H, W, 3]
        if happens[0] or happens[1] or happens[2] or happens[6]:
            light = np.square(pixels)  # close to linear, and far quicker than a gamma of 2.2
            gains = np.ones(3, np.float32)
            if happens[0]:
                gains *= np.float32(2.0 ** (self.exposure_stops * (2.0 * strength[0] - 1.0)))
            if happens[1]:
                warm, tint = (self.balance * (2.0 * draw - 1.0) for draw in strength[1:3])
                gains *= np.array((1.0 + warm, 1.0 + 0.3 * tint, 1.0 - warm), np.float32)
            light *= gains
            if happens[2]:
                light = self._veil(light, strength[3:6])
            if happens[6]:
                light *= _falloff(light.shape, self.vignette * strength[6])
            pixels = np.asarray(np.sqrt(light), np.float32)
        if happens[3]:
            pixels = self._blur(pixels, strength[7:10])
        if happens[4]:
            deviation = self.noise * strength[10] ** 2
            first = int(source.integers(_GRAINS - pixels.size)) if pixels.size < _GRAINS else 0
            grain = np.resize(_grains()[first : first + pixels.size], pixels.shape)
            amount = np.float32(deviation) * (np.sqrt(pixels) + np.float32(0.3))
            pixels = np.asarray(pixels + grain * amount, np.float32)
        pixels = self._tone(pixels, strength[12:15])
        codes = (np.clip(pixels, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)
        codes = np.asarray(cv2.LUT(codes, self._curve(strength[13], strength[14])), np.uint8)
        if happens[5]:
            quality = self.lowest_quality + int((95 - self.lowest_quality) * strength[11])
            coded = cv2.imencode('.jpg', codes, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            codes = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        return np.ascontiguousarray(codes.transpose(2, 0, 1), np.float32) / np.float32(255.0)

    def _tone(self, pixels: _Image, strength: list[float]) -> _Image:
        """Another saturation: a mix of each pixel with its grey."""
        saturation = 1.0 + self.tone * (2.0 * strength[0] - 1.0)
        mix = saturation * np.eye(3, dtype=np.float32) + np.float32(1.0 - saturation) * _GREY
        return np.asarray(cv2.transform(pixels, mix), np.float32)

    def _curve(self, contrast: float, gamma: float) -> NDArray[np.uint8]:
        """[256] the tone curve of codes."""
        codes = np.linspace(0.0, 1.0, 256) ** ((1.0 + self.tone) ** (2.0 * gamma - 1.0))
        stretched = 0.5 + (1.0 + self.tone * (2.0 * contrast - 1.0)) * (codes - 0.5)
        return np.asarray(np.clip(stretched, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)

    def _veil(self, light: _Image, strength: list[float]) -> _Image:
        """Stray light around a point in the upper half, which takes contrast everywhere."""
        height, width = light.shape[:2]
        x = np.linspace(-1.0, 1.0, width, dtype=np.float32) - np.float32(2.0 * strength[1] - 1.0)
        y = np.linspace(0.0, 1.0, height, dtype=np.float32) - np.float32(0.5 * strength[2])
        spot = 1.0 / (1.0 + 6.0 * (x * x + (y * y)[:, None]))
        return np.asarray(light + np.float32(self.glare * strength[0]) * spot[..., None])

    def _blur(self, pixels: _Image, strength: list[float]) -> _Image:
        """Motion along a line, or a lens out of focus."""
        if strength[0] < 0.4:  # noqa: PLR2004  the share of lenses out of focus
            deviation = max(self.defocus_px * strength[1], 0.1)
            return np.asarray(cv2.GaussianBlur(pixels, (0, 0), deviation), np.float32)
        length = 1.0 + (self.blur_px - 1.0) * strength[1]
        return np.asarray(
            cv2.filter2D(pixels, -1, motion_kernel(length, math.pi * strength[2])), np.float32
        )


@lru_cache(maxsize=1)
def _grains() -> _Image:
    """[2^20] normal noise; drawing as many numbers for every image would take longest of all."""
    return np.random.default_rng(0).standard_normal(_GRAINS, np.float32)


def motion_kernel(length_px: float, angle_rad: float) -> _Image:
    """[K, K] weights of a line of `length_px` pixels through the middle; they sum to 1."""
    side = 2 * math.ceil(0.5 * length_px) + 1
    kernel = np.zeros((side, side), np.float32)
    middle = side // 2
    for step in np.linspace(-0.5, 0.5, 4 * side):
        x, y = step * length_px * math.cos(angle_rad), step * length_px * math.sin(angle_rad)
        kernel[round(middle + y), round(middle + x)] += 1.0
    return np.asarray(kernel / kernel.sum())


def _falloff(shape: tuple[int, ...], loss: float) -> _Image:
    x = np.linspace(-1.0, 1.0, shape[1], dtype=np.float32)
    y = np.linspace(-1.0, 1.0, shape[0], dtype=np.float32)
    return np.asarray(1.0 - np.float32(0.5 * loss) * (x * x + (y * y)[:, None]))[..., None]
