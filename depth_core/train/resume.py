# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint keeps beside the weights, so that a run can go on as if never stopped.

Order of the images, augmentation, dropout and learning rate are functions of seed and step (see
`stream`, `optim` and the loop), so the step stands for all of them; what remains is the state of
the optimizer, of the networks trained or evaluated beside the model, and, with averaged weights,
the weights that are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from lightning_fabric.plugins.precision import Precision
from torch import Tensor, nn

from depth_core.errors import CheckpointError
from depth_core.train.command_line import plain
from depth_core.train.freezing import Frozen
from depth_core.train.optim import AveragedModel
from depth_core.train.recipes import Recipe, TrainingStep
from depth_core.train.settings import TrainSettings
from depth_core.weights.checkpoint import Checkpoint

_FREE: Final = (
    'model.weights',
    'model.weights_part',
    'model.weights_missing',
    'model.weights_left_over',
    'model.weights_other_options',
    'recipe.pose_weights',
    'recipe.pose_pretrained',
    'data.cache',
    'data.workers',
    'data.validation',
    'schedule.steps',
    'trainer.max_steps',
    'trainer.accelerator',
    'trainer.devices',
    'trainer.deterministic',
    'trainer.threads',
    'trainer.run_dir',
    'trainer.resume',
    'trainer.checkpoint_every_steps',
    'trainer.keep_checkpoints',
    'trainer.validate_every_steps',
    'trainer.validate_first',
    'trainer.log_every_steps',
    'trainer.images_logged',
    'trainer.loggers',
    'trainer.project',
    'trainer.wandb_mode',
    'trainer.mlflow_uri',
    'trainer.draw_training_every_steps',
    'trainer.patience',
    'trainer.activation_checkpointing',
)
"""Settings that may change at a resume: they change neither the samples nor what is computed."""


@dataclass(kw_only=True)
class Learner:
    """What changes in the course of a run."""

    recipe: Recipe[Any]
    """How its network is scored, written and read."""
    training_step: TrainingStep[Any]
    """The network being trained and what is beside it."""
    averaged: AveragedModel[Any] | None
    """The average of the network's weights, when there is one."""
    optimizer: torch.optim.Optimizer
    frozen: Frozen
    """What of it is frozen, and when."""
    precision: Precision
    """The arithmetic; with fp16 it has a scale of the loss, which follows the gradients."""
    step: int = 0
    """Steps done."""
    best_cost: float = math.inf
    """The smallest on the held-out samples so far, in the metric that best.ckpt is chosen by."""
    best_step: int = 0
    """Steps done when it was reached; 0 = not yet."""
    waited: int = 0
    """Validations since then."""

    @property
    def model(self) -> nn.Module:
        """The network being trained."""
        network: nn.Module = self.training_step.model
        return network

    @property
    def result(self) -> nn.Module:
        """The network to validate and to predict with."""
        return self.model if self.averaged is None else self.averaged.model


def save_checkpoint(
    path: Path, learner: Learner, settings: TrainSettings, provenance: Mapping[str, object]
) -> None:
    """Write weights and everything `load_checkpoint` needs.

    Raises:
        DepthError: The file cannot be written; a former one of that name is untouched.
    """
    learner.recipe.save(
        path,
        learner.result,
        training={
            'step': learner.step,
            'best_cost': learner.best_cost,
            'best_step': learner.best_step,
            'waited': learner.waited,
            'settings': plain(settings),
            'schedule_steps': settings.schedule_steps,
            'optimizer': learner.optimizer.state_dict(),
            'precision': dict(learner.precision.state_dict()),
            'companions': learner.training_step.companions_state(),
            'weights': None if learner.averaged is None else learner.model.state_dict(),
        },
        provenance=provenance,
    )


def load_checkpoint(path: Path, learner: Learner, settings: TrainSettings) -> None:
    """Put the state of the run at `path` into `learner`.

    Raises:
        CheckpointError: The file cannot be read, was not written by a training run, or belongs to
            a run with other settings.
    """
    checkpoint = learner.recipe.read(path)
    training = cast('Mapping[str, Any] | None', checkpoint.training)
    if training is None:
        message = (
            f'{path} holds weights only and cannot be resumed; resume from last.ckpt or '
            f'step-*.ckpt, or start a new run from its weights with --model.weights {path}.'
        )
        raise CheckpointError(message)
    if 'schedule_steps' not in training:
        message = (
            f'{path} was written by a version that trained embedding networks by a loop of their '
            'own, and cannot be continued exactly; start a new run from its weights with '
            f'--model.weights {path}.'
        )
        raise CheckpointError(message)
    refuse_other_settings(path, training, settings)
    if training['step'] >= settings.trainer.max_steps:
        message = (
            f'{path} was written after {training["step"]} steps, and trainer.max_steps is '
            f'{settings.trainer.max_steps}: nothing is left to do; give more steps in all.'
        )
        raise CheckpointError(message)
    waited, patience = training.get('waited', 0), settings.trainer.patience
    if patience is not None and waited >= patience:
        message = (
            f'{path} was written by a run that stopped early: its last {waited} validations were '
            f'not better than that of step {training["best_step"]}, whose weights are in '
            'best.ckpt. Give a larger trainer.patience to go on all the same.'
        )
        raise CheckpointError(message)
    restore(path, learner, checkpoint)
    learner.step, learner.waited = training['step'], waited
    learner.best_cost, learner.best_step = training['best_cost'], training['best_step']


def refuse_other_settings(
    path: Path,
    training: Mapping[str, Any],
    settings: TrainSettings,
    *,
    remedy: str = 'start a new one from its weights with --model.weights {path}',
) -> None:
    """Refuse to take the run at `path`, which wrote `training`, for one of `settings`.

    Args:
        path: Its checkpoint.
        training: The entry `training` of the checkpoint.
        settings: Those given now.
        remedy: What may be done instead of giving the settings of the run.

    Raises:
        CheckpointError: It was trained on other samples, or otherwise.
    """
    differences = _differences(training, settings)
    if differences:
        message = (
            f'{path} cannot be continued exactly, because settings differ:\n  '
            + '\n  '.join(differences)
            + f'\n  Give the settings of the run, or {remedy.format(path=path)}.'
        )
        raise CheckpointError(message)


def restore(path: Path, learner: Learner, checkpoint: Checkpoint) -> None:
    """Put weights and optimizer state of a checkpoint that was read from `path` into `learner`.

    Raises:
        CheckpointError: They do not fit.
    """
    training = cast('Mapping[str, Any]', checkpoint.training)
    learner.recipe.load(learner.result, checkpoint.state, source=str(path))
    if learner.averaged is not None:
        weights = cast('Mapping[str, Tensor]', training['weights'])
        learner.recipe.load(learner.model, weights, source=str(path))
    _load_companions(path, learner.training_step, training['companions'])
    learner.optimizer.load_state_dict(training['optimizer'])
    learner.precision.load_state_dict(training.get('precision', {}))


def _load_companions(path: Path, step: TrainingStep[Any], state: Mapping[str, Tensor]) -> None:
    own = step.companions_state()
    wrong = sorted(own.keys() ^ state.keys()) or [
        key for key, value in own.items() if value.shape != state[key].shape
    ]
    if wrong:
        message = (
            f'{path} does not fit the networks trained beside the model ({wrong[0]}); give '
            'the settings of the run it comes from.'
        )
        raise CheckpointError(message)
    step.load_state_dict(dict(state), strict=False)  # the model has its weights already


def _differences(training: Mapping[str, Any], settings: TrainSettings) -> list[str]:
    before, now = _leaves('', training['settings']), _leaves('', plain(settings))
    differences = [
        f'{key}: {before.get(key)!r} in the checkpoint, {now.get(key)!r} now'
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and not any(key == free or key.startswith(f'{free}.') for free in _FREE)
    ]
    length = training['schedule_steps']
    if settings.schedule.has_end and length != settings.schedule_steps:
        differences.append(
            f'length of the {settings.schedule.name} schedule: {length} steps in the checkpoint, '
            f'{settings.schedule_steps} now; add --schedule.steps {length}'
        )
    return differences


def _leaves(prefix: str, content: Mapping[str, Any]) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in content.items():
        key = f'{prefix}.{name}' if prefix else name
        if isinstance(value, Mapping) and value:
            leaves |= _leaves(key, value)
        else:
            leaves[key] = value
    return leaves
