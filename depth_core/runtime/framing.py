# SPDX-License-Identifier: Apache-2.0
"""How images are brought to a network, where that is asked for otherwise than its manifest says.

A graph that leaves its sizes free, or a network on torch, keeps the aspect of an image by taking
another size; a graph of one size by padding what the image leaves free of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from depth_core.manifest import Manifest
from depth_core.runtime.flip import FlipAverage

_GREY: Final = (124.0, 116.0, 104.0)
"""The mean of ImageNet, codes of RGB: to a network nothing is less remarkable."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How an image is brought to the network; all off for the fastest answer."""

    padding: bool = False
    """Surround the image with its reflection first, as ZoeDepth does: the network does not see
    the edge of the image."""
    keep_aspect: bool = False
    """Choose the input size for the shape of each image, as ZoeDepth does, not one size for all.
    A graph of one size gets the whole image at one scale, and grey around it."""
    flip_average: FlipAverage = 'none'
    """Average with the answer for the mirror image: twice the time."""

    def applied_to(self, manifest: Manifest, *, any_size: bool) -> Manifest:
        """The manifest of a network whose images are framed like this.

        Args:
            manifest: As it comes with the network.
            any_size: Whether the network takes other sizes than the one stated.
        """
        spec = manifest.input
        if not self.keep_aspect or any_size or spec.size is not None or spec.resize != 'stretch':
            return manifest
        padded = replace(spec, resize='letterbox', pad_rgb=_GREY, pad_stage='pre_norm')
        return replace(manifest, input=padded)
