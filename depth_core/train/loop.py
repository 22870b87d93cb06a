# SPDX-License-Identifier: Apache-2.0
"""The training loop, in the order in which things happen."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DepthError
from depth_core.train.best import check_best_is_there, keep_best, reload_best
from depth_core.train.command_line import to_yaml
from depth_core.train.datasets import open_augmentation, open_training_set, open_validation_set
from depth_core.train.fabric import open_fabric, seed_of
from depth_core.train.optim import LearningRate, average_of, build_optimizer, freeze_norms
from depth_core.train.paths import check_paths
from depth_core.train.progress import Progress
from depth_core.train.protocol import open_rule
from depth_core.train.recipes import TrainingStep
from depth_core.train.resume import Learner, load_checkpoint, save_checkpoint
from depth_core.train.run_folder import (
    RunFolder,
    describe,
    find_resumed,
    run_folder_of,
    take_up,
    write_description,
)
from depth_core.train.settings import TrainerSettings, TrainSettings
from depth_core.train.stream import SampleStream, batches
from depth_core.train.validate import draw, validate
from depth_core.weights.checkpoint import Checkpoint

_LOG = logging.getLogger(__name__)
_IMAGES_NDIM: Final = 4


def train(settings: TrainSettings, *, console: Console | None = None) -> RunFolder:
    """Train with `settings` and return the folder of the run.

    Args:
        settings: All of them.
        console: Where progress is shown; nowhere when None.

    Raises:
        DepthError: Settings contradict each other or the machine, data or checkpoints are missing
            or broken, the loss is no longer finite, or a file cannot be written.
    """
    with contextlib.ExitStack() as held:
        return _train(settings, console, held)


def _train(
    settings: TrainSettings, console: Console | None, held: contextlib.ExitStack
) -> RunFolder:
    recipe, trainer = settings.recipe, settings.trainer
    fabric = open_fabric(trainer, partial=recipe.partial)
    torch.manual_seed(trainer.seed)
    training_step = _open_training_step(settings).to(fabric.device)
    distributed_step, optimizer = fabric.setup(
        training_step, build_optimizer(training_step, settings.optimizer)
    )
    rate = LearningRate(settings.schedule, settings.optimizer.lr, settings.schedule_steps)
    learner = Learner(
        recipe=recipe,
        training_step=training_step,
        averaged=average_of(training_step.model, settings.optimizer),
        optimizer=optimizer,
    )
    train_set, held_out = (
        open_training_set(settings.data, needs_depth=recipe.needs_depth),
        open_validation_set(settings.data, needs_depth=recipe.needs_depth),
    )
    augmentation = open_augmentation(settings.data, train_set)
    rule = open_rule(settings.data, held_out, training_step.model)
    run = _open_run(settings, learner, held if fabric.is_global_zero else None)
    made_with = describe(
        settings.data, train_set=train_set, held_out=held_out, world=fabric.world_size
    )
    fabric.barrier()  # nobody writes before everybody has looked
    if fabric.is_global_zero:
        write_description(run, to_yaml(settings), made_with, first_step=learner.step)
        _LOG.info(
            '%s: %s on %s, %d training samples, %d held out, steps %d to %d',
            run.path, settings.model.name, fabric.device, len(train_set),
            len(held_out) if held_out else 0, learner.step, trainer.max_steps,
        )  # fmt: skip
    loader = batches(
        SampleStream(train_set, augmentation, trainer.seed, trainer.batch_size),
        first_step=learner.step,
        steps=trainer.max_steps,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        workers=settings.data.workers,
    )
    with Progress(
        trainer, console, run, first_step=learner.step, active=fabric.is_global_zero
    ) as progress:
        for batch in loader:
            reload_best(run, learner, settings.schedule, fabric)
            lr = rate.set(optimizer, learner.step)
            # Dropout too is a function of seed, step and process.
            torch.manual_seed(seed_of(trainer.seed, 3, learner.step, fabric.global_rank))
            shares = []
            for part in batch.split(trainer.gradient_accumulation):
                sample = _on_device(part, fabric, channels_last=trainer.channels_last)
                terms = distributed_step(step=learner.step, **vars(sample))
                loss = torch.stack(tuple(terms.values())).sum()
                _refuse_non_finite('loss', loss, terms, learner.step, sample)
                fabric.backward(loss / trainer.gradient_accumulation)
                shares.append({'loss': loss.detach(), **terms})
            if settings.optimizer.clip_norm is not None:
                norm = nn.utils.clip_grad_norm_(
                    training_step.parameters(), settings.optimizer.clip_norm
                )
                _refuse_non_finite('length of the gradient', norm, terms, learner.step, batch)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            learner.step += 1
            if learner.averaged is not None:
                learner.averaged.update(learner.model, learner.step)
            progress.advance(learner.step, _mean(shares), lr)
            if held_out is not None and _due(trainer.validate_every_steps, learner.step, trainer):
                network = learner.result
                score = validate(
                    recipe, network, held_out, fabric, batch_size=trainer.batch_size, rule=rule
                )
                keep_best(run, learner, score, settings, made_with, writes=fabric.is_global_zero)
                if fabric.is_global_zero:
                    run.record(learner.step, score.numbers)
                    drawn = draw(
                        recipe, network, held_out, fabric, count=trainer.images_logged, rule=rule
                    )
                    progress.show(learner.step, score, drawn)
                progress.restart_clock()
            due = _due(trainer.checkpoint_every_steps, learner.step, trainer)
            if due and fabric.is_global_zero:
                _write_checkpoint(run, learner, settings, made_with)
    fabric.barrier()
    return run


def _warn_of_other_focal(source: Checkpoint, focal_px: float | None, path: Path) -> None:
    """Say that weights state the depth of another focal length than they are to be trained for."""
    was_px = source.canonical_focal_px
    if was_px == focal_px or (was_px is None and not source.provenance):
        return
    before, now = (
        'metres, without a canonical focal length'
        if length is None
        else f'depth of a canonical focal length of {length:g} px'
        for length in (was_px, focal_px)
    )
    _LOG.warning(
        '%s was trained to state %s, and data.canonical_focal_px asks for %s: the first steps '
        'only learn the other scale; set it to that of the weights to keep theirs',
        path,
        before,
        now,
    )


def _open_training_step(settings: TrainSettings) -> TrainingStep[Any]:
    check_paths(settings)  # a network may download weights that are of no use without data
    chosen, data, recipe = settings.model, settings.data, settings.recipe
    model = recipe.create(chosen.name, chosen.options, size=(data.height, data.width))
    if data.canonical_focal_px is not None:
        recipe.make_canonical(model, data.canonical_focal_px)
    problems = recipe.problems(model)
    if problems:
        raise ConfigError('these settings cannot be used:\n  ' + '\n  '.join(problems))
    if chosen.weights is not None:
        source = recipe.read(chosen.weights)
        _warn_of_other_focal(source, data.canonical_focal_px, chosen.weights)
        recipe.load(model, source.state, source=str(chosen.weights))
    training_step = recipe.open(model)
    if settings.trainer.channels_last:
        for weight in training_step.parameters():
            if weight.ndim == _IMAGES_NDIM:  # those of 3D convolutions stay as they are
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    training_step.train()
    if settings.optimizer.frozen_norm:
        freeze_norms(training_step)
    return training_step


def _open_run(
    settings: TrainSettings, learner: Learner, held: contextlib.ExitStack | None
) -> RunFolder:
    """The folder of the run; at a resume, `learner` goes back to where the run stood.

    Args:
        settings: All of them.
        learner: What a resume brings back.
        held: Keeps the folder from others while it is open; None where another process does.
    """
    run = run_folder_of(settings.trainer, settings.model.name)
    if held is not None:
        held.enter_context(run.alone())
    source = find_resumed(settings.trainer)
    if source is not None:
        load_checkpoint(source, learner, settings)
        run.refuse_newer(source, learner.step)
    take_up(run, resumed_step=learner.step if source else None)
    check_best_is_there(run, learner, settings.schedule)
    return run


def _on_device(batch: Sample, fabric: Fabric, *, channels_last: bool) -> Sample:
    sample = batch.to(fabric.device, non_blocking=True)
    if not channels_last:
        return sample
    image = sample.image.contiguous(memory_format=torch.channels_last)
    return dataclasses.replace(sample, image=image)


def _write_checkpoint(
    run: RunFolder, learner: Learner, settings: TrainSettings, made_with: Mapping[str, object]
) -> None:
    path = run.step_checkpoint(learner.step)
    save_checkpoint(path, learner, settings, made_with)
    run.point_last_to(path, keep=settings.trainer.keep_checkpoints, best_step=learner.best_step)


def _mean(shares: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The terms of a step that was worked through in parts."""
    if len(shares) == 1:
        return shares[0]
    return {
        name: torch.stack([share[name].detach() for share in shares]).mean() for name in shares[0]
    }


def _due(every: int, step: int, trainer: TrainerSettings) -> bool:
    return step == trainer.max_steps or (every > 0 and step % every == 0)


def _refuse_non_finite(
    what: str, value: Tensor, terms: Mapping[str, Tensor], step: int, sample: Sample
) -> None:
    if math.isfinite(value.item()):
        return
    each = ', '.join(f'{name} {term.item():.4g}' for name, term in terms.items())
    message = (
        f'the {what} is {value.item()} at step {step + 1} ({each}) on samples '
        f'{", ".join(sample.key)}; no step was made with them and the last checkpoint is '
        'intact. Look at these samples for wrong depth, lower optimizer.lr, or set '
        'optimizer.clip_norm.'
    )
    raise DepthError(message)
