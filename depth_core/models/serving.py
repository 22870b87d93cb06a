# SPDX-License-Identifier: Apache-2.0
"""A network as it is served: the module that is exported, and the manifest that describes it."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor, nn

from depth_core.contracts import DepthKind, InputSpec, OutputSpec, SizeRule
from depth_core.manifest import Manifest
from depth_core.models.base import DepthModel

_WHITE: Final = 255.0


class ServingGraph(nn.Module):
    """A network behind the contract of a graph: uint8 pixels in, two planes a picture out."""

    def __init__(self, model: DepthModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Predict from `image`, [N, H, W, 3] uint8 RGB: depth and sigma, [N, H, W]."""
        # TensorRT takes uint8 at its door only: the cast stands before everything else.
        images = image.to(torch.float32).permute(0, 3, 1, 2) / _WHITE  # [N, 3, H, W]
        # With channels last in memory, group norms on a CPU sum so that PackNet rounds by 1e-3.
        prediction = self.model(images.contiguous())
        calibrated = self.model.spec.sigma_calibration(prediction.depth, prediction.sigma)
        return prediction.depth, calibrated


def served_manifest(model: DepthModel, *, batch: int) -> Manifest:
    """The manifest of `model` as it is served where nothing else is asked for.

    A network that takes every size keeps the aspect of a camera, with as many pixels as its own
    size has; another is given its own size. `batch` as for `manifest_of`.
    """
    height, width = model.spec.default_size
    resize = default_resize(free_size=model.spec.free_size)
    return manifest_of(model, height=height, width=width, batch=batch, resize=resize)


def default_resize(*, free_size: bool) -> Literal['stretch', 'keep_aspect']:
    """How images are brought to a network whose size is free, or is not."""
    return 'keep_aspect' if free_size else 'stretch'


def manifest_of(
    model: DepthModel,
    *,
    height: int,
    width: int,
    batch: int = 1,
    resize: Literal['stretch', 'keep_aspect'] = 'stretch',
) -> Manifest:
    """Say what the `ServingGraph` of `model` takes and gives at this input size.

    Args:
        model: The network.
        height: Rows of the input, pixels.
        width: Columns of the input, pixels.
        batch: Images at once; 0 leaves their number free.
        resize: How images are brought to it. stretch: to this very size. keep_aspect: to as many
            pixels as it has, in the shape of the camera.

    Raises:
        ConfigError: The batch is negative.
        ModelError: The network does not take this size.
    """
    model.check_input(torch.empty(0, 3, height, width))
    spec = model.spec
    keeps = resize == 'keep_aspect'
    rule = SizeRule(mode='pixels', target=height * width) if keeps else None
    return Manifest(
        name=spec.name,
        family=spec.family,
        options=model.options,
        divisor=spec.divisor,
        input=InputSpec(
            height=height,
            width=width,
            batch=batch,
            size=rule,
            multiple=1 if rule is None else spec.divisor,
            min_side=spec.min_side,
            resize=resize,
        ),
        output=OutputSpec(
            kind=spec.kind,
            min_depth=spec.min_depth,
            max_depth=spec.max_depth,
            canonical_focal_px=spec.canonical_focal_px,
            # Its answers end at its range, which is that of the canonical camera.
            saturates=spec.kind is DepthKind.CANONICAL,
        ),
    )
