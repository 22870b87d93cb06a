# SPDX-License-Identifier: Apache-2.0
"""All settings of a training run; each attribute's docstring is its `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from depth_core.errors import ConfigError
from depth_core.train.recipes import Recipe
from depth_core.train.settings.data import DataSettings, data_problems
from depth_core.train.settings.dataset import DatasetSettings, ValidationSettings
from depth_core.train.settings.model import ModelSettings
from depth_core.train.settings.optimizer import (
    OptimizerSettings,
    ScheduleSettings,
    optimizer_problems,
)
from depth_core.train.settings.trainer import USUAL_METRIC, TrainerSettings, trainer_problems

__all__ = [
    'DataSettings',
    'DatasetSettings',
    'ModelSettings',
    'OptimizerSettings',
    'ScheduleSettings',
    'TrainSettings',
    'TrainerSettings',
    'ValidationSettings',
]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A whole configuration file."""

    model: ModelSettings
    data: DataSettings
    recipe: Recipe[Any]
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    trainer: TrainerSettings

    def __post_init__(self) -> None:
        problems = [
            *data_problems(self.data),
            *optimizer_problems(self.optimizer, self.schedule, length=self.schedule_steps),
            *trainer_problems(self.trainer),
            *_joint_problems(self),
        ]
        if problems:
            raise ConfigError('these settings cannot be used:\n  ' + '\n  '.join(problems))

    @property
    def schedule_steps(self) -> int:
        """Length of the learning rate schedule, steps."""
        return self.schedule.steps or self.trainer.max_steps


def _joint_problems(settings: TrainSettings) -> list[str]:
    """What settings of several groups contradict each other in."""
    schedule, trainer = settings.schedule, settings.trainer
    every = trainer.validate_every_steps
    problems = []
    if schedule.reload_best and not (
        schedule.milestones
        and settings.data.validation.name is not None
        and 0 < every <= min(schedule.milestones)
    ):
        problems.append(
            'schedule.reload_best needs a best validation at each milestone; give schedule.name '
            'step, data.validation, and trainer.validate_every_steps not above the first one.'
        )
    if trainer.patience is not None and settings.data.validation.name is None:
        problems.append(
            f'trainer.patience is {trainer.patience}, but there is no data.validation whose score '
            'could stop improving; name one, or leave it out.'
        )
    held_out = settings.data.validation
    if not settings.recipe.best_metrics and (
        held_out.protocol or held_out.align or held_out.flip_average != 'none'
    ):
        problems.append(
            f'data.validation has a protocol, alignment or mirrored pass of depth, and recipe '
            f'{settings.recipe.name} has one score of its own; leave these out.'
        )
    if not settings.recipe.best_metrics and trainer.best_metric != USUAL_METRIC:
        problems.append(
            f'trainer.best_metric is {trainer.best_metric}, a metric of depth, and recipe '
            f'{settings.recipe.name} has one score of its own; leave it out.'
        )
    return problems
