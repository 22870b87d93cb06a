# SPDX-License-Identifier: Apache-2.0
"""How well a network does on samples it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from lightning_fabric import Fabric
from torch import distributed

from depth_core.contracts import Uint8Array
from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.train.drawing import draw_tiles, stack
from depth_core.train.recipes import Network, Recipe, Score
from depth_core.train.recipes.base import evaluating
from depth_core.train.recipes.rule import USUAL_RULE, Rule


@torch.no_grad()
def validate(
    recipe: Recipe[Network],
    network: Network,
    dataset: DepthDataset,
    fabric: Fabric,
    *,
    batch_size: int,
    rule: Rule = USUAL_RULE,
) -> Score:
    """Score `network` on `dataset`, whose samples the processes share.

    The mode of every layer is as before afterwards.

    Raises:
        DataError: An image cannot be read.
    """
    if fabric.world_size > 1:
        for buffer in network.buffers():  # each process has its own statistics of norm layers
            distributed.broadcast(buffer, src=0)
    scorer = recipe.scorer(network, rule)
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    with evaluating(network), fabric.autocast():
        for sample in _grouped(dataset, mine, batch_size):
            scorer.update(network, sample.to(fabric.device))
    if fabric.world_size == 1:
        return scorer.result()
    found = [scorer] * fabric.world_size
    distributed.all_gather_object(found, scorer)
    total = recipe.scorer(network, rule)
    for share in found:
        total.merge(share)
    return total.result()


def draw(
    recipe: Recipe[Network],
    network: Network,
    dataset: DepthDataset,
    fabric: Fabric,
    *,
    count: int,
    rule: Rule = USUAL_RULE,
) -> Uint8Array | None:
    """Draw the first `count` samples of `dataset`, one below the other.

    Returns:
        [H, W, 3] RGB; None where there is nothing to see.
    """
    indices = range(min(count, len(dataset)))
    samples = (collate([rule.shown(_alone(dataset[index]))]) for index in indices)
    return _draw(recipe, network, samples, fabric)


def draw_trained(
    recipe: Recipe[Network], network: Network, batch: Sample, fabric: Fabric, *, count: int
) -> Uint8Array | None:
    """Draw the first `count` samples of a batch as the network saw them, augmented.

    Returns:
        [H, W, 3] RGB; None where there is nothing to see.
    """
    return _draw(recipe, network, batch.split(len(batch.key))[:count], fabric)


@torch.no_grad()
def _draw(
    recipe: Recipe[Network], network: Network, samples: Iterable[Sample], fabric: Fabric
) -> Uint8Array | None:
    """Draw batches of one sample, one below the other; a mix may have several sizes."""
    rows: list[Uint8Array] = []
    with evaluating(network), fabric.autocast():
        for sample in samples:
            tiles = recipe.picture(network, sample.to(fabric.device))
            if tiles:
                rows.append(draw_tiles(tiles))
    return stack(rows)


def _grouped(dataset: DepthDataset, indices: range, size: int) -> Iterator[Sample]:
    """Batches of at most `size` samples, each of one height, width and kind of labels."""
    waiting: list[Sample] = []
    for index in indices:
        sample = _alone(dataset[index])
        if waiting and (len(waiting) == size or _form(sample) != _form(waiting[0])):
            yield collate(waiting)
            waiting = []
        waiting.append(sample)
    if waiting:
        yield collate(waiting)


def _alone(sample: Sample) -> Sample:
    """The sample without its neighbours, which frames at the ends of a sequence lack."""
    return Sample(
        image=sample.image,
        depth_m=sample.depth_m,
        valid=sample.valid,
        intrinsics=sample.intrinsics,
        key=sample.key,
        semantic=sample.semantic,
        scene_class=sample.scene_class,
    )


def _form(sample: Sample) -> tuple[object, ...]:
    return sample.image.shape, sample.semantic is None, sample.scene_class is None
