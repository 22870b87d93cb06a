# SPDX-License-Identifier: Apache-2.0
"""How well a network does on images it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import distributed

from depth_core.contracts import DepthKind, Uint8Array
from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.metrics import Evaluation, MetricAccumulator, find_protocol
from depth_core.models.base import DepthModel, Prediction


@torch.no_grad()
def validate(
    model: DepthModel, dataset: DepthDataset, fabric: Fabric, *, batch_size: int
) -> Evaluation:
    """Score `model` on `dataset`, whose images the processes share.

    Every pixel of known depth within the range of the model counts; a network that knows no
    scale is aligned by the median of each image. Training mode is restored.

    Raises:
        DataError: An image cannot be read.
    """
    spec = model.spec
    scores = MetricAccumulator(
        find_protocol('none', min_depth_m=spec.min_depth, max_depth_m=spec.max_depth),
        align='none' if spec.kind is DepthKind.METRIC else 'median',
    )
    if fabric.world_size > 1:
        for buffer in model.buffers():  # each process has its own statistics of norm layers
            distributed.broadcast(buffer, src=0)
    was_training = model.training
    model.eval()
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    for sample in _grouped(dataset, mine, batch_size):
        prediction = predict(model, sample, fabric)
        depth_m, sigma_m = prediction.depth.float().cpu(), prediction.sigma.float().cpu()
        for index, key in enumerate(sample.key):
            scores.update(
                depth_m[index].numpy(),
                sample.depth_m[index].numpy(),
                sample.valid[index].numpy(),
                sigma_m[index].numpy(),
                key=key,
            )
    model.train(was_training)
    if fabric.world_size == 1:
        return scores.result()
    gathered = [scores.scores] * fabric.world_size
    distributed.all_gather_object(gathered, scores.scores)
    total = MetricAccumulator(scores.protocol, align=scores.align)
    for share in gathered:
        total.extend(share)
    return total.result()


def predict(model: DepthModel, sample: Sample, fabric: Fabric) -> Prediction:
    """Run `model` on a batch, in the arithmetic of the run."""
    images = sample.image.to(fabric.device)
    with fabric.autocast():
        prediction: Prediction = model(images)
    return prediction


@torch.no_grad()
def draw(
    model: DepthModel, dataset: DepthDataset, fabric: Fabric, *, count: int
) -> Uint8Array | None:
    """Draw the first images of `dataset`: image | true depth | predicted depth | sigma / depth.

    Depth is coloured by its reciprocal, near red and far blue, on the scale of the model; a
    relative sigma of 0.5 and above is red. Black is unknown.

    Returns:
        [H * count, W * 4, 3] RGB; None for no images.
    """
    was_training = model.training
    model.eval()
    rows = []
    for index in range(min(count, len(dataset))):
        sample = collate([dataset[index]])
        prediction = predict(model, sample, fabric)
        depth_m = prediction.depth[0].float().cpu().numpy()
        sigma_m = prediction.sigma[0].float().cpu().numpy()
        nearest = max(model.spec.min_depth, 1.0)
        image = (sample.image[0] * 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
        rows.append(
            np.hstack(
                [
                    image,
                    _coloured(nearest / sample.depth_m[0].numpy()),
                    _coloured(nearest / depth_m),
                    _coloured(sigma_m / depth_m / 0.5),
                ]
            )
        )
    model.train(was_training)
    return np.vstack(rows) if rows else None


def _coloured(unit: NDArray[np.floating]) -> Uint8Array:
    codes = np.nan_to_num(np.clip(unit, 0.0, 1.0) ** 0.5 * 255.0).astype(np.uint8)
    coloured: Uint8Array = cv2.cvtColor(
        cv2.applyColorMap(codes, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB
    )
    coloured[np.isnan(unit)] = 0
    return coloured


def _grouped(dataset: DepthDataset, indices: range, size: int) -> Iterator[Sample]:
    for first in range(0, len(indices), size):
        yield collate([dataset[index] for index in indices[first : first + size]])
