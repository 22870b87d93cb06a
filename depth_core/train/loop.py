# SPDX-License-Identifier: Apache-2.0
"""The training loop, in the order in which things happen."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn

from depth_core.contracts import Uint8Array
from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import DepthError
from depth_core.train.best import check_best_is_there, keep_best, reload_best, stops_early
from depth_core.train.command_line import to_yaml
from depth_core.train.compiling import compile_network
from depth_core.train.datasets import open_augmentation, open_training_set, open_validation_set
from depth_core.train.fabric import open_fabric, seed_of
from depth_core.train.freezing import Frozen
from depth_core.train.loggers import check_loggers, open_loggers
from depth_core.train.optim import LearningRate, average_of, build_optimizer
from depth_core.train.paths import check_paths
from depth_core.train.progress import Progress
from depth_core.train.protocol import open_rule
from depth_core.train.recipes import Score
from depth_core.train.recipes.rule import Rule
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
from depth_core.train.start import open_training_step, read_start
from depth_core.train.stream import SampleStream, batches
from depth_core.train.validate import draw, draw_trained, validate
from depth_core.weights.checkpoint import Checkpoint

_LOG = logging.getLogger(__name__)


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
    check_paths(settings)  # before anything is read or downloaded
    check_loggers(settings.trainer)
    settings, source = read_start(settings)
    recipe, trainer = settings.recipe, settings.trainer
    chosen = settings.model
    partial = recipe.leaves_weights_out(chosen.name, chosen.options)
    releases = settings.optimizer.frozen_steps is not None
    fabric = open_fabric(trainer, partial=partial or releases)
    torch.manual_seed(trainer.seed)
    learner, distributed_step = _open_learner(settings, source, fabric)
    rate = LearningRate(settings.schedule, settings.optimizer.lr, settings.schedule_steps)
    run = _open_run(settings, learner, held if fabric.is_global_zero else None)
    needs_depth, model = recipe.needs_depth, learner.model
    train_set = open_training_set(settings.data, needs_depth=needs_depth, model=model)
    held_out = open_validation_set(settings.data, needs_depth=needs_depth, model=model)
    augmentation = open_augmentation(settings.data, train_set)
    rule = open_rule(settings.data, held_out, learner.training_step.model)
    recipe.check_data(train_set)
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
    with _open_progress(settings, console, run, learner.step, fabric) as progress:
        if held_out is not None and trainer.validate_first and learner.step == 0:
            _show(0, *_score(learner, held_out, rule, fabric, trainer), progress)
        for batch in loader:
            reload_best(run, learner, settings.schedule, fabric)
            lr = rate.set(learner.optimizer, learner.step)
            learner.frozen.apply(learner.step)
            # Dropout too is a function of seed, step and process.
            torch.manual_seed(seed_of(trainer.seed, 3, learner.step, fabric.global_rank))
            logged = progress.is_logged(learner.step + 1)
            terms, norm = _make_step(
                batch, learner, distributed_step, fabric, settings, measured=logged
            )
            learner.step += 1
            if learner.averaged is not None:
                learner.averaged.update(learner.model, learner.step)
            progress.advance(learner.step, terms, lr=lr, gradient_norm=norm)
            _show_training(progress, batch, learner, fabric, trainer)
            if held_out is not None and _due(trainer.validate_every_steps, learner.step, trainer):
                score, drawn = _score(learner, held_out, rule, fabric, trainer)
                keep_best(run, learner, score, settings, made_with, writes=fabric.is_global_zero)
                _show(learner.step, score, drawn, progress)
            stops = stops_early(learner, trainer)
            due = stops or _due(trainer.checkpoint_every_steps, learner.step, trainer)
            if due and fabric.is_global_zero:
                _write_checkpoint(run, learner, settings, made_with)
            if stops:
                break
    fabric.barrier()
    return run


def _score(
    learner: Learner, held_out: DepthDataset, rule: Rule, fabric: Fabric, trainer: TrainerSettings
) -> tuple[Score, Uint8Array | None]:
    """Validate; in the first process some of the images are drawn, too."""
    recipe, network = learner.recipe, learner.result
    score = validate(recipe, network, held_out, fabric, batch_size=trainer.batch_size, rule=rule)
    if not fabric.is_global_zero:
        return score, None
    count = trainer.images_logged
    return score, draw(recipe, network, held_out, fabric, count=count, rule=rule)


def _show(step: int, score: Score, drawn: Uint8Array | None, progress: Progress) -> None:
    """Write down a validation in the first process; its time is left out of the speed."""
    if progress.active:
        progress.run.record(step, score.numbers)
        progress.show(step, score, drawn)
    progress.restart_clock()


def _make_step(
    batch: Sample,
    learner: Learner,
    distributed_step: nn.Module,
    fabric: Fabric,
    settings: TrainSettings,
    *,
    measured: bool,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Predict, compare, move the weights once.

    Returns:
        The loss and its terms, means over the parts; and the length of the gradient, where it is
        `measured` or shortened.
    """
    shares = []
    count = settings.trainer.gradient_accumulation
    for part in batch.split(count):
        sample = _on_device(part, fabric, channels_last=settings.trainer.channels_last)
        terms = distributed_step(step=learner.step, **vars(sample))
        loss = torch.stack(tuple(terms.values())).sum()
        _refuse_non_finite('loss', loss, terms, learner.step, sample)
        fabric.backward(loss / count)
        shares.append({'loss': loss.detach(), **terms})
    longest = settings.optimizer.clip_norm
    norm = _gradient_norm(learner, longest) if measured or longest is not None else None
    if norm is not None and longest is not None and not _tries_scales(learner):
        _refuse_non_finite('length of the gradient', norm, terms, learner.step, batch)
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    return _mean(shares), norm


def _open_learner(
    settings: TrainSettings, source: Checkpoint | None, fabric: Fabric
) -> tuple[Learner, nn.Module]:
    """All that changes in a run, and the network as the processes share it."""
    training_step = open_training_step(settings, source).to(fabric.device)
    chosen = settings.optimizer
    frozen = Frozen(training_step, chosen.frozen, chosen.frozen_steps)
    if not frozen.for_a_time:  # the optimizer and the other processes never hear of it, then
        frozen.apply(0)
    distributed_step, optimizer = fabric.setup(
        training_step, build_optimizer(training_step, chosen)
    )
    learner = Learner(
        recipe=settings.recipe,
        training_step=training_step,
        averaged=average_of(training_step.model, chosen),
        optimizer=optimizer,
        frozen=frozen,
        precision=fabric.strategy.precision,
    )
    if settings.trainer.compile:
        compile_network(learner.model)
    return learner, distributed_step


def _gradient_norm(learner: Learner, longest: float | None) -> Tensor:
    """The length of the gradient; then it is shortened to `longest`, unless that is None."""
    weights = list(learner.training_step.parameters())
    scaler = getattr(learner.precision, 'scaler', None)
    if longest is None:
        found = [weight.grad for weight in weights if weight.grad is not None]
        norm = nn.utils.get_total_norm(found)
        return norm if scaler is None else norm / scaler.get_scale()
    if scaler is not None:
        # Fabric's optimizer stands around the one whose gradients are scaled.
        scaler.unscale_(getattr(learner.optimizer, 'optimizer', learner.optimizer))
    return nn.utils.clip_grad_norm_(weights, longest)


def _tries_scales(learner: Learner) -> bool:
    """Whether the scale of the loss, with fp16, may be what is wrong with a gradient.

    A step whose gradient is not finite is then left out, and the scale halved. Only below 1 it is
    not the scale.
    """
    scaler = getattr(learner.precision, 'scaler', None)
    return scaler is not None and bool(scaler.get_scale() >= 1.0)


def _show_training(
    progress: Progress, batch: Sample, learner: Learner, fabric: Fabric, trainer: TrainerSettings
) -> None:
    """Show some of the samples of a step, where that is due."""
    every = trainer.draw_training_every_steps
    if not fabric.is_global_zero or every == 0 or learner.step % every:
        return
    count = trainer.images_logged
    drawn = draw_trained(learner.recipe, learner.model, batch, fabric, count=count)
    progress.show_training(learner.step, drawn)
    progress.restart_clock()


def _open_progress(
    settings: TrainSettings, console: Console | None, run: RunFolder, step: int, fabric: Fabric
) -> Progress:
    """What shows the steps after `step`; the loggers are the first process's."""
    loggers = open_loggers(settings.trainer, run, first_step=step) if fabric.is_global_zero else ()
    return Progress(settings, console, run, first_step=step, fabric=fabric, loggers=loggers)


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
