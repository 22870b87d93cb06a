# SPDX-License-Identifier: Apache-2.0
"""What the networks of the self-supervised family share: inverse depth at four scales, and sigma.

They are trained without depth, by how well one image explains its neighbours. Nothing in that
fixes the unit of length, so their depth is up to scale by contract. A network that was trained
with speeds or with depth is built with `metric=True`, and its depth is metres.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from depth_core.contracts import DepthKind
from depth_core.models.base import DepthModel, ModelSpec, Prediction
from depth_core.models.blocks import STRIDES, SigmaHead, resize_bilinear


@dataclass(frozen=True, kw_only=True)
class InverseDepthPrediction(Prediction):
    """Depth and sigma, and what the losses of training without depth are computed on."""

    inv_depths: tuple[Tensor, ...]
    """[B, 1, H / 2^i, W / 2^i] inverse depth, finest first, 1 / unit of the depth, not clipped."""
    features: Tensor
    """[B, C, H, W], or at half the size, what sigma is computed from; detached."""


class InverseDepthModel(DepthModel):
    """A network to inverse depth at four scales, with the sigma head every family has.

    Args:
        spec: What the network is and within which range it answers.
        feature_channels: Channels of the finest features of its decoder.
    """

    def __init__(self, spec: ModelSpec, *, feature_channels: int) -> None:
        super().__init__()
        self.spec = spec
        self.sigma_head = SigmaHead(feature_channels)

    @abstractmethod
    def inverse_depths(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return inverse depth, finest first at full size, and the features sigma is read from.

        These are of the size of one of the inverse depths.
        """

    def forward(self, images: Tensor) -> InverseDepthPrediction:
        """Predict depth and sigma at the size of `images`."""
        self.check_input(images)
        inv_depths, features = self.inverse_depths(images)
        depth = self._depth(inv_depths[0])
        same = next(item for item in inv_depths if item.shape[-2:] == features.shape[-2:])
        sigma = self.sigma_head(features, depth if same is inv_depths[0] else self._depth(same))
        if sigma.shape != depth.shape:
            size = (depth.shape[-2], depth.shape[-1])
            sigma = resize_bilinear(sigma, size, 'half_pixel')
        return InverseDepthPrediction(
            depth=depth.squeeze(1),
            sigma=sigma.squeeze(1),
            inv_depths=inv_depths,
            features=features.detach(),
        )

    def _depth(self, inv_depth: Tensor) -> Tensor:
        low, high = self.spec.min_depth, self.spec.max_depth
        depth = 1.0 / inv_depth.clamp(1.0 / high, 1.0 / low)
        return depth.clamp(low, high)  # a rounded reciprocal may lie just outside

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the authors' network on RGB in [0, 1], not normalised.

        Returns:
            `inv_depth0` to `inv_depth3`: [B, 1, H / 2^i, W / 2^i] inverse depth, in evaluation
            too, where theirs gives the finest alone.
        """
        inv_depths, _ = self.inverse_depths(x)
        return {f'inv_depth{scale}': value for scale, value in enumerate(inv_depths)}

    def own_state(self) -> dict[str, Tensor]:
        """The sigma head, answering 0.2 depth everywhere."""
        head = SigmaHead(self.sigma_head.hidden.in_channels).make_neutral()
        return {f'sigma_head.{key}': value for key, value in head.state_dict().items()}


def inverse_depth_spec(
    name: str,
    *,
    min_depth: float,
    max_depth: float,
    metric: bool,
    default_size: tuple[int, int] = (192, 640),
    min_side: int = 1,
) -> ModelSpec:
    """Describe a network of the family; `metric` says that its unit of depth is the metre."""
    return ModelSpec(
        name=name,
        family='selfsup',
        kind=DepthKind.METRIC if metric else DepthKind.UP_TO_SCALE,
        min_depth=min_depth,
        max_depth=max_depth,
        free_size=True,
        min_side=min_side,
        divisor=STRIDES[-1],
        default_size=default_size,
    )
