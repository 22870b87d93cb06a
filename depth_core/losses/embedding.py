# SPDX-License-Identifier: Apache-2.0
"""The hierarchical embedding loss of CLIFFNet: L1 between embeddings of two depth maps.

An embedding pixel depends on every depth in its receptive field. Where ground truth has holes,
there are three ways to do, each right for one kind of data:

`whole` counts an embedding pixel only where its whole receptive field is known. Each pixel that
counts has then the very value it has on dense ground truth, and nothing of what is unknown, on
either side, reaches value or gradient. For dense sensors, whose holes are few and in one piece.

`fill` is for LiDAR, which leaves no 5x5 window whole. Unknown ground truth becomes the prediction
itself, without its gradient, and the prediction keeps its own gradient only where the truth is
known. With M the mask, p = M d^ + (1 - M) sg(d^) and t = M d + (1 - M) sg(d^): p and t differ at
known pixels only, p has gradients at known pixels only, and perfect predictions there make the
loss 0. (Were p not stopped too, an unknown pixel next to a wrong one would be moved so as to hide
the error.) What the loss sees is the error map with zeros in its holes: for a linear embedding
L1(G(M (d^ - d))). It is therefore no estimate of the dense loss: an error that is the same
everywhere, which a gradient would not see, counts at the rim of each hole. Of the prediction in
the holes, the values serve as background for both sides. The mean runs over the embedding pixels
that see a known pixel.

`dense` is what the authors do: all pixels count, and a pixel that is not valid holds -1 m in the
ground truth, as their padding does. Only right where (nearly) all is valid.

With everything valid the three are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.losses.masking import cleaned, masked_mean
from depth_core.precision import at_least_float32

EmbeddingMask: TypeAlias = Literal['whole', 'fill', 'dense']
"""Which embedding pixels count where ground truth has holes; see the module."""

EMBEDDING_MASKS: Final[tuple[EmbeddingMask, ...]] = get_args(EmbeddingMask)

_AUTHORS_PADDING_M: Final = -1.0


class Embedding(Protocol):
    """A frozen network from a depth map to a hierarchy of maps."""

    def __call__(self, depth_m: Tensor) -> Sequence[Tensor]:
        """Embed [B, 1, H, W] metres."""

    def reach(self, marked: Tensor) -> Sequence[Tensor]:
        """Say of each embedding pixel whether its receptive field holds a marked one."""


def embedding_l1(
    embedding: Embedding,
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    masking: EmbeddingMask = 'whole',
) -> list[Tensor]:
    """Mean absolute difference of each embedding of two depth maps.

    Args:
        embedding: In eval mode, so that an image does not depend on the batch.
        prediction: [B, 1, H, W] metres; gradients flow through it alone.
        target: [B, 1, H, W] metres.
        valid: [B, 1, H, W] bool, or None where all of the target may be trained on.
        masking: What to do where it is False.

    Returns:
        A scalar for each embedding, the finest first; 0 where no pixel counts.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        if valid is None:
            ours, theirs = at_least_float32(prediction), at_least_float32(target)
            counted: Sequence[Tensor | None] | None = None
        elif masking == 'whole':
            ours, theirs, _ = cleaned(prediction, target, valid)
            counted = [~reached for reached in embedding.reach(~valid)]
        elif masking == 'fill':
            background = at_least_float32(prediction.detach())
            background = torch.where(background.isfinite(), background, 0.0)
            ours = torch.where(valid, at_least_float32(prediction), background)
            theirs = torch.where(valid, at_least_float32(target), background)
            counted = embedding.reach(valid)
        else:
            ours = at_least_float32(prediction)
            theirs = torch.where(valid, at_least_float32(target), _AUTHORS_PADDING_M)
            counted = None
        with torch.no_grad():
            wanted = embedding(theirs)
        found = embedding(ours)
        return [
            masked_mean((e - e_true).abs(), None if mask is None else mask.expand_as(e))
            for e, e_true, mask in zip(found, wanted, counted or [None] * len(wanted), strict=True)
        ]


def hierarchical_embedding(
    embedding: Embedding,
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    weights: Sequence[float] = (10.0, 15.0),
    masking: EmbeddingMask = 'whole',
) -> Tensor:
    """Weighted sum of the L1 distances of the embeddings; the authors' weights are 10 and 15.

    Args:
        embedding: As for `embedding_l1`, and so are the next four.
        prediction: [B, 1, H, W] metres.
        target: [B, 1, H, W] metres.
        valid: [B, 1, H, W] bool, or None.
        weights: One for each embedding.
        masking: What to do where `valid` is False.

    Returns:
        A scalar.
    """
    distances = embedding_l1(embedding, prediction, target, valid, masking=masking)
    return torch.stack(
        [weight * distance for weight, distance in zip(weights, distances, strict=True)]
    ).sum()


def embedding_warm_up(step: int, *, steps: int = 100) -> float:
    """Factor on the embedding loss: rises from 0 to 1 over the first `steps` steps."""
    return 1.0 if steps <= 0 else min(1.0, step / steps)


def sobel_l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute difference of the Sobel gradients across and down; maps are padded with 0.

    The authors had it, with weight 2, before the embeddings replaced it. `sobel_trunk` of
    depth_core.models.cliffnet.embedding gives it as an embedding loss, masked alike: a pixel
    counts where the eight around it, of which its gradients are made, are valid.

    Args:
        prediction: [B, 1, H, W].
        target: The same shape.
        valid: The same shape, or None where all of the target may be trained on.
    """
    prediction, target, mask = cleaned(prediction, target, valid)
    across = prediction.new_tensor(((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)))
    kernels = torch.stack((across, across.T)).unsqueeze(1)
    with torch.autocast(prediction.device.type, enabled=False):
        difference = F.conv2d(prediction - target, kernels, padding=1).abs()
    if mask is None:
        return difference.mean()
    around = torch.ones_like(kernels[:1])
    around[..., 1, 1] = 0.0
    whole = F.conv2d((~mask).to(around), around, padding=1) == 0.0
    return masked_mean(difference, whole.expand_as(difference))
