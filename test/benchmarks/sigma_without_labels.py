# SPDX-License-Identifier: Apache-2.0
"""What teaches sigma without depth labels: the ways compared on one trained network.

    python -m test.benchmarks.sigma_without_labels --run runs/selfsup --student runs/student

The run is one of the recipe selfsup. Its depth is frozen and a new sigma head is taught on
it, for the same steps on the same batches, by the disagreement with the mirrored image, by the
photometric likelihood, and by how the answer to a jittered image differs from that to the clean
one. Self-teaching in full, a student trained from nothing on the depth of this network, is scored
with its own depth: give its run as --student. Scored on the held-out images of the run by
sparsification: the less area between the curve of sigma and the best there is (AUSE), and the more
gained over a random order (AURG), the better.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from depth_core.data.sample import DepthDataset, Sample, collate
from depth_core.errors import run_command
from depth_core.metrics import Evaluation, MetricAccumulator, find_protocol
from depth_core.models.base import DepthModel
from depth_core.models.blocks import SigmaHead
from depth_core.models.selfsup.inverse_depth import InverseDepthModel
from depth_core.train.command_line import parse
from depth_core.train.datasets import (
    open_augmentation,
    open_training_set,
    open_validation_set,
)
from depth_core.train.recipes.self_teaching import SelfTeachingRecipe
from depth_core.train.recipes.selfsup import SelfSupRecipe
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainSettings
from depth_core.train.stream import SampleStream, batches
from depth_core.weights.checkpoint import load_model, read_checkpoint

BATCH_SIZE = 8
LEARNING_RATE = 2e-3

SigmaLoss = Callable[[Sample], Tensor]


def opened(checkpoint: Path) -> InverseDepthModel:
    """The network with a new sigma head that answers 0.2 depth, the only part that learns."""
    model = cast('InverseDepthModel', load_model(checkpoint))
    model.eval().requires_grad_(requires_grad=False)
    model.sigma_head = SigmaHead(model.sigma_head.hidden.in_channels).make_neutral()
    return model


def teach(model: InverseDepthModel, loss: SigmaLoss, settings: TrainSettings, steps: int) -> None:
    """Train the sigma head alone, on the stream of training samples of the run."""
    head = model.sigma_head.requires_grad_()
    optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    train_set = open_training_set(settings.data, needs_depth=False)
    stream = SampleStream(
        train_set,
        open_augmentation(settings.data, train_set),
        seed=1,
        batch_size=BATCH_SIZE,
    )
    for sample in batches(stream, first_step=0, steps=steps):
        optimizer.zero_grad()
        loss(sample).backward()
        optimizer.step()
        schedule.step()


def selfsup_loss(
    model: DepthModel, recipe: SelfSupRecipe, way: str, companions: dict[str, Tensor]
) -> SigmaLoss:
    """The term of the recipe that teaches sigma, with the pose network of the run."""
    replaced: Any = {**recipe.__dict__, 'sigma': way, 'flip_probability': 0.0}
    step = SelfSupRecipe(**replaced).open(model)
    step.load_state_dict(companions, strict=False)
    step.eval()
    return lambda sample: step.losses(sample, 0)['sigma']


def jitter_loss(model: DepthModel) -> SigmaLoss:
    """Self-teaching without a student: the teacher is the network itself."""
    step = SelfTeachingRecipe().open(model)
    step.eval()
    return lambda sample: step.losses(sample, 0)['sigma']


@torch.no_grad()
def scored(model: DepthModel, held_out: DepthDataset) -> Evaluation:
    """Score depth and sigma, scaled by the median image by image."""
    spec = model.eval().spec
    protocol = find_protocol('none', min_depth_m=spec.min_depth, max_depth_m=spec.max_depth)
    scores = MetricAccumulator(protocol, align='median')
    for index in range(len(held_out)):
        sample = held_out[index]
        answer = model(collate([sample]).image)
        scores.update(
            answer.depth[0].numpy(),
            sample.depth_m.numpy(),
            sample.valid.numpy(),
            answer.sigma[0].numpy(),
        )
    return scores.result()


def row(name: str, result: Evaluation) -> str:
    """One line of the table."""
    mean, sigma = result.mean, result.uncertainty
    if mean is None or sigma is None:
        return f'{name:28} nothing scored'
    areas = ''.join(
        f'{curve.ause:11.3f}{curve.aurg:9.3f}'
        for curve in (sigma.sparsification[key] for key in ('abs_rel', 'rmse', 'a1'))
    )
    return f'{name:28}{mean.abs_rel:7.3f}{areas}{sigma.calibration_error:8.3f}'


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(
        prog='python -m test.benchmarks.sigma_without_labels',
        description='Compare what teaches sigma without depth labels, on one trained network.',
    )
    parser.add_argument('--run', type=Path, required=True, help='folder of a run of selfsup')
    parser.add_argument('--student', type=Path, help='folder of a run of self_teaching on it')
    parser.add_argument('--steps', type=int, default=200, help='steps of each head (%(default)s)')
    given = parser.parse_args()
    torch.manual_seed(0)
    last = RunFolder(given.run).last
    training = cast('dict[str, Any]', read_checkpoint(last).training)
    settings = parse(['--config', str(given.run / 'settings.yaml')])
    recipe = cast('SelfSupRecipe', settings.recipe)
    held_out = cast('DepthDataset', open_validation_set(settings.data, needs_depth=True))
    print(
        f'{"":28}{"AbsRel":>7}'
        + ''.join(f'{"AUSE " + key:>11}{"AURG":>9}' for key in ('rel', 'rmse', 'd1'))
        + f'{"calib.":>8}'
    )
    model = opened(last)
    print(row('0.2 depth everywhere', scored(model, held_out)), flush=True)
    for way in ('flip', 'photometric', 'jitter'):
        model = opened(last)
        loss = (
            jitter_loss(model)
            if way == 'jitter'
            else selfsup_loss(model, recipe, way, training['companions'])
        )
        teach(model, loss, settings, given.steps)
        print(row(way, scored(model, held_out)), flush=True)
    if given.student is not None:
        print(
            row(
                'self-teaching, a student',
                scored(load_model(RunFolder(given.student).last), held_out),
            )
        )


if __name__ == '__main__':
    run_command(main)
