# SPDX-License-Identifier: Apache-2.0
"""The semantic network of a guided depth network, trained on labels; depth is left as it is.

Held-out images are scored by the mean intersection over union of the classes. The checkpoint is
one of the whole depth network: give it as `model.options.semantic_weights`, or as `model.weights`
where the network is the same, and train depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from typing_extensions import Self

from depth_core.data.sample import Sample
from depth_core.errors import DataError, ModelError
from depth_core.metrics import CLASS_NAMES
from depth_core.models.base import DepthModel
from depth_core.models.selfsup.semantic import FrozenSemantics, SemanticNetwork
from depth_core.train.drawing import Tile
from depth_core.train.recipes.base import Score, Scorer, TrainingStep
from depth_core.train.recipes.depth import DepthRecipe
from depth_core.train.recipes.rule import USUAL_RULE, Rule

NO_LABEL = 255
"""Train id of pixels that nothing is known about."""


@dataclass(frozen=True, kw_only=True)
class SemanticRecipe(DepthRecipe):
    """Cross-entropy of the semantic network's classes; depth is not trained."""

    name: Literal['semantic'] = 'semantic'
    """Name of the recipe."""
    label_smoothing: float = 0.0
    """Share of the certainty spread over all classes; 0 = plain cross-entropy, as is usual."""
    balance: float = 0.0
    """How much rare classes count beside common ones: each pixel by its class's number of pixels
    in the batch to the power of -balance; 0 = every pixel alike, 1 = every class alike."""

    @property
    def needs_depth(self) -> bool:
        """Labels are trained on, not depth."""
        return False

    best_metrics: ClassVar[tuple[str, ...]] = ()

    def problems(self, model: DepthModel) -> list[str]:
        """Say what contradicts itself or does not go with `model`."""
        problems = [
            f'recipe.{key} is {value}; give a share in [0, 1].'
            for key, value in (
                ('label_smoothing', self.label_smoothing),
                ('balance', self.balance),
            )
            if not 0.0 <= value <= 1.0
        ]
        if not isinstance(getattr(model, 'semantics', None), FrozenSemantics):
            problems.append(
                f'recipe semantic trains the semantic network of a guided depth network, and '
                f'{model.spec.name} has none; take semantic_packnet, semantic_resnet18, or '
                'selfsup_small with guided_strides.'
            )
        return problems

    def open(self, model: DepthModel) -> SemanticStep:
        """Let the semantic network of `model` learn, and nothing else."""
        return SemanticStep(model, self)

    def scorer(self, network: DepthModel, rule: Rule = USUAL_RULE) -> Scorer[DepthModel]:
        """Begin to score the classes of labelled pixels."""
        del rule
        classes = semantic_network(network).classes
        return SemanticScorer(np.zeros((classes, classes), dtype=np.int64))

    def picture(self, network: DepthModel, sample: Sample) -> Sequence[Tile]:
        """Draw nothing: depth is not trained."""
        del network, sample
        return ()


class SemanticStep(TrainingStep[DepthModel]):
    """A guided depth network of which only the semantic part is trained."""

    def __init__(self, model: DepthModel, recipe: SemanticRecipe) -> None:
        super().__init__(model)
        model.requires_grad_(requires_grad=False)
        semantic_network(model).requires_grad_(requires_grad=True)
        self.recipe = recipe

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the semantic network, which the depth network would keep frozen."""
        super().train(mode)
        self.model.eval()
        semantic_network(self.model).train(mode)
        return self

    def losses(self, sample: Sample, step: int) -> dict[str, Tensor]:
        """Compare the classes of each labelled pixel."""
        del step
        if sample.semantic is None:
            message = (
                f'sample {sample.key[0]} has no semantic labels, and the recipe semantic learns '
                'from them; take a data set that has: synthetic, or folder with '
                'semantic/<image>.png.'
            )
            raise DataError(message)
        logits = semantic_network(self.model)(sample.image)
        loss = cross_entropy(
            logits,
            sample.semantic,
            balance=self.recipe.balance,
            label_smoothing=self.recipe.label_smoothing,
        )
        return {'cross_entropy': loss}


@dataclass
class SemanticScorer(Scorer[DepthModel]):
    """The classes of labelled pixels, over all held-out images."""

    confusion: NDArray[np.int64]
    """[C, C] pixels, by true class and predicted class."""
    images: int = 0

    def update(self, network: DepthModel, sample: Sample) -> None:
        """Count the labelled pixels of a batch."""
        self.images += len(sample.key)
        if sample.semantic is None:
            return
        classes = len(self.confusion)
        predicted = semantic_network(network)(sample.image).argmax(dim=1)
        labelled = (sample.semantic >= 0) & (sample.semantic < classes)
        codes = (sample.semantic[labelled] * classes + predicted[labelled]).cpu()
        counts = np.bincount(codes.numpy(), minlength=classes**2)
        self.confusion += counts.reshape(self.confusion.shape)

    def merge(self, other: Self) -> None:
        """Add the pixels of another process."""
        self.confusion += other.confusion
        self.images += other.images

    def result(self) -> Score:
        """Mean intersection over union of the classes that occur; share of right pixels."""
        true, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        right, occurs = np.diag(self.confusion), true > 0
        if not occurs.any():
            return Score(
                numbers={'images': self.images},
                costs={},
                summary='no held-out image has semantic labels; take a data set that has: '
                'synthetic, or folder with semantic/<image>.png',
            )
        iou = right[occurs] / (true + predicted - right)[occurs]
        miou, accuracy = float(iou.mean()), float(right.sum() / true.sum())
        each = {
            f'iou/{_class_name(index)}': value
            for index, value in zip(np.flatnonzero(occurs).tolist(), iou.tolist(), strict=True)
        }
        return Score(
            numbers={'images': self.images, 'miou': miou, 'pixel_accuracy': accuracy, **each},
            costs={'miou': -miou},
            summary=f'mIoU {miou:.3f} over {len(iou)} classes, pixel accuracy {accuracy:.3f}',
        )


def semantic_network(model: DepthModel) -> SemanticNetwork:
    """Take the semantic network out of a guided depth network.

    Raises:
        ModelError: The network has none.
    """
    semantics = getattr(model, 'semantics', None)
    if not isinstance(semantics, FrozenSemantics):
        message = f'{model.spec.name} has no semantic network; take semantic_packnet.'
        raise ModelError(message)
    return semantics.network


def cross_entropy(
    logits: Tensor, labels: Tensor, *, balance: float = 0.0, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of the labelled pixels, rare classes weighed up by `balance`.

    Args:
        logits: [B, C, H, W].
        labels: [B, H, W] int64 below C; any other number is no label.
        balance: See `SemanticRecipe.balance`.
        label_smoothing: See `SemanticRecipe.label_smoothing`.

    Returns:
        [] scalar, float32; 0 where nothing is labelled.
    """
    classes = logits.shape[1]
    labelled = (labels >= 0) & (labels < classes)
    labels = torch.where(labelled, labels, NO_LABEL)
    counts = torch.bincount(labels[labelled], minlength=classes).float()
    weight = torch.where(counts > 0.0, counts.clamp(min=1.0) ** -balance, 0.0)
    # torch would weigh the smoothed part by all classes, and the divisor is of the true one alone.
    each = F.cross_entropy(
        logits.float(),
        labels,
        ignore_index=NO_LABEL,
        label_smoothing=label_smoothing,
        reduction='none',
    )
    of_pixel = weight[torch.where(labelled, labels, 0)] * labelled
    return (of_pixel * each).sum() / of_pixel.sum().clamp(min=torch.finfo(torch.float32).tiny)


def _class_name(index: int) -> str:
    return CLASS_NAMES[index] if index < len(CLASS_NAMES) else f'class {index}'
