# SPDX-License-Identifier: Apache-2.0
"""How well a network does on images it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import distributed

from depth_core.contracts import DepthKind, Uint8Array
from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.errors import DataError
from depth_core.metrics import Align, Evaluation, MetricAccumulator, find_protocol
from depth_core.metrics.alignment import depth_of_inverse, fit_inverse
from depth_core.models.base import DepthModel, ModelSpec, Prediction

_ALIGNMENTS: Final[Mapping[DepthKind, Align]] = {
    DepthKind.METRIC: 'none',
    DepthKind.UP_TO_SCALE: 'median',
    DepthKind.INVERSE: 'affine_inverse',
}


@torch.no_grad()
def validate(
    model: DepthModel, dataset: DepthDataset, fabric: Fabric, *, batch_size: int
) -> Evaluation:
    """Score `model` on `dataset`, whose images the processes share.

    Every pixel of known depth counts that `scores_for` says counts. The mode of every layer is
    as before afterwards.

    Raises:
        DataError: An image cannot be read.
    """
    scores = scores_for(model.spec)
    if fabric.world_size > 1:
        for buffer in model.buffers():  # each process has its own statistics of norm layers
            distributed.broadcast(buffer, src=0)
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    with _evaluating(model):
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
    if fabric.world_size == 1:
        return scores.result()
    gathered = [scores.scores] * fabric.world_size
    distributed.all_gather_object(gathered, scores.scores)
    total = MetricAccumulator(scores.protocol, align=scores.align)
    for share in gathered:
        total.extend(share)
    return total.result()


def scores_for(spec: ModelSpec) -> MetricAccumulator:
    """Begin to score a network by every pixel whose true depth it can state.

    One that knows no scale, or only inverse depth up to scale and shift, is aligned image by
    image. The range of depth up to scale is not in metres: truth of 1 mm to 80 m counts.
    """
    low, high = (
        (None, None) if spec.kind is DepthKind.UP_TO_SCALE else (spec.min_depth, spec.max_depth)
    )
    protocol = find_protocol('none', min_depth_m=low, max_depth_m=high)
    return MetricAccumulator(protocol, align=_ALIGNMENTS[spec.kind])


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
    rows = []
    with _evaluating(model):
        for index in range(min(count, len(dataset))):
            sample = collate([_alone(dataset[index])])
            rows.append(_row(model.spec, sample, predict(model, sample, fabric)))
    widest = max((row.shape[1] for row in rows), default=0)  # a mix may have several sizes
    rows = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows]
    return np.vstack(rows) if rows else None


def _row(spec: ModelSpec, sample: Sample, prediction: Prediction) -> Uint8Array:
    image = (sample.image[0] * 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    target_m, valid = sample.depth_m[0].numpy(), sample.valid[0].numpy()
    depth_m = prediction.depth[0].float().cpu().numpy()
    sigma_m = prediction.sigma[0].float().cpu().numpy()
    if spec.kind is DepthKind.INVERSE:
        try:
            fitted = fit_inverse(depth_m, target_m, valid)
        except DataError:  # no ground truth to fit to: nothing to draw on its scale
            fitted = float('nan'), float('nan')
        depth_m, sigma_m = depth_of_inverse(depth_m, sigma_m, *fitted)
    nearest = max(spec.min_depth, 1.0)
    return np.hstack(
        [
            image,
            _coloured(nearest / target_m),
            _coloured(nearest / depth_m),
            _coloured(sigma_m / depth_m / 0.5),
        ]
    )


@contextmanager
def _evaluating(model: DepthModel) -> Iterator[None]:
    """In eval mode; frozen layers are as they were afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _coloured(unit: NDArray[np.floating]) -> Uint8Array:
    codes = np.nan_to_num(np.clip(unit, 0.0, 1.0) ** 0.5 * 255.0).astype(np.uint8)
    coloured: Uint8Array = cv2.cvtColor(
        cv2.applyColorMap(codes, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB
    )
    coloured[np.isnan(unit)] = 0
    return coloured


def _grouped(dataset: DepthDataset, indices: range, size: int) -> Iterator[Sample]:
    """Batches of at most `size` images, each of one height and width."""
    waiting: list[Sample] = []
    for index in indices:
        sample = _alone(dataset[index])
        if waiting and (len(waiting) == size or sample.image.shape != waiting[0].image.shape):
            yield collate(waiting)
            waiting = []
        waiting.append(sample)
    if waiting:
        yield collate(waiting)


def _alone(sample: Sample) -> Sample:
    """What validation looks at: frames at the ends of a sequence lack a neighbour."""
    return Sample(
        image=sample.image,
        depth_m=sample.depth_m,
        valid=sample.valid,
        intrinsics=sample.intrinsics,
        key=sample.key,
    )
