# SPDX-License-Identifier: Apache-2.0
"""What an embedding network is asked, what its answer costs, and how well it does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.data.synthetic import SCENE_CLASSES
from depth_core.errors import DataError
from depth_core.losses import l1
from depth_core.models.cliffnet.embedding import ReconstructionEmbedding, SceneEmbedding
from depth_core.weights.embedding_file import EmbeddingKind, create_embedding

_BLUR: Final = 4
"""The stride of the narrowest map of a HEG-R: the blurred baseline is known at as few places."""


@dataclass(frozen=True)
class EmbeddingTask(ABC):
    """One kind of embedding network and how it is trained."""

    max_depth_m: float
    """Depth beyond it, and sky, count as this."""

    kind: EmbeddingKind = 'heg_s'
    classes: tuple[str, ...] = ()
    """Names of the scene classes, where it learns them."""

    def create(self) -> SceneEmbedding | ReconstructionEmbedding:
        """Make the untrained network."""
        return create_embedding(self.kind, classes=len(self.classes))

    def depth_map(self, sample: Sample) -> Tensor:
        """The network's input [B, 1, H, W]: metres, sky at the largest, 0 where unknown."""
        known = sample.valid | torch.isposinf(sample.depth_m)
        depth_m = sample.depth_m.clamp(max=self.max_depth_m)
        return torch.where(known, depth_m, 0.0).unsqueeze(1)

    @abstractmethod
    def loss(self, network: nn.Module, sample: Sample) -> Tensor:
        """What the network's answer to a batch costs."""

    @abstractmethod
    def scores(
        self, network: nn.Module, dataset: DepthDataset, *, batch_size: int
    ) -> dict[str, float]:
        """How well `network`, in eval mode, does on `dataset`, beside what needs no network."""

    @abstractmethod
    def quality(self, scores: Mapping[str, float]) -> float:
        """The number of `scores` that the best checkpoint has the highest of."""

    def _batches(self, dataset: DepthDataset, size: int) -> Iterator[Sample]:
        for first in range(0, len(dataset), size):
            last = min(first + size, len(dataset))
            yield collate([dataset[index] for index in range(first, last)])


@dataclass(frozen=True)
class SceneTask(EmbeddingTask):
    """HEG-S: which class of scene a depth map shows."""

    kind: EmbeddingKind = 'heg_s'
    classes: tuple[str, ...] = SCENE_CLASSES

    def loss(self, network: nn.Module, sample: Sample) -> Tensor:
        """Cross entropy of the scene class."""
        return F.cross_entropy(network(self.depth_map(sample)), self._classes_of(sample))

    @torch.no_grad()
    def scores(
        self, network: nn.Module, dataset: DepthDataset, *, batch_size: int
    ) -> dict[str, float]:
        """Share of right answers, and that of always naming the commonest class."""
        right, total = 0, 0
        seen = torch.zeros(len(self.classes))
        for sample in self._batches(dataset, batch_size):
            wanted = self._classes_of(sample)
            answer = network(self.depth_map(sample)).argmax(dim=1)
            right += int((answer == wanted).sum())
            total += len(wanted)
            seen += torch.bincount(wanted, minlength=len(self.classes))
        return {'accuracy': right / total, 'accuracy_of_commonest': float(seen.max()) / total}

    def quality(self, scores: Mapping[str, float]) -> float:
        """The share of right answers."""
        return scores['accuracy']

    def _classes_of(self, sample: Sample) -> Tensor:
        if sample.scene_class is None:
            message = (
                f'{sample.key[0]} states no class of its scene, which a heg_s learns from; use '
                'the synthetic data set, or train a heg_r.'
            )
            raise DataError(message)
        return sample.scene_class


@dataclass(frozen=True)
class ReconstructionTask(EmbeddingTask):
    """HEG-R: give the depth map back."""

    kind: EmbeddingKind = 'heg_r'

    def loss(self, network: nn.Module, sample: Sample) -> Tensor:
        """Mean absolute error in metres, over what is known and sky."""
        depth_m = self.depth_map(sample)
        return l1(network(depth_m), depth_m, depth_m > 0.0)

    @torch.no_grad()
    def scores(
        self, network: nn.Module, dataset: DepthDataset, *, batch_size: int
    ) -> dict[str, float]:
        """Mean absolute error in metres: of the network, of each map's mean, of a blurred map.

        The blurred map is the mean of blocks of 4 x 4 pixels, enlarged again: what is left when
        only one number for each place of the narrowest map passes.
        """
        sums = dict.fromkeys(('l1_m', 'l1_m_of_mean', 'l1_m_of_blur'), 0.0)
        pixels = 0
        for sample in self._batches(dataset, batch_size):
            depth_m = self.depth_map(sample)
            known = depth_m > 0.0
            blocks = F.avg_pool2d(depth_m, _BLUR)
            size = (depth_m.shape[-2], depth_m.shape[-1])
            answers = {
                'l1_m': network(depth_m),
                'l1_m_of_mean': depth_m.mean(dim=(-2, -1), keepdim=True).expand_as(depth_m),
                'l1_m_of_blur': F.interpolate(blocks, size, mode='bilinear'),
            }
            for name, answer in answers.items():
                sums[name] += float((answer - depth_m).abs()[known].sum())
            pixels += int(known.sum())
        return {name: total / max(pixels, 1) for name, total in sums.items()}

    def quality(self, scores: Mapping[str, float]) -> float:
        """The smaller the error, the better."""
        return -scores['l1_m']


def task_of(kind: EmbeddingKind, *, max_depth_m: float) -> EmbeddingTask:
    """The task of a kind of embedding network."""
    return (SceneTask if kind == 'heg_s' else ReconstructionTask)(max_depth_m)
