# SPDX-License-Identifier: Apache-2.0
"""Settings of the optimizer and of the learning rate over the steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from depth_core.train.settings.checks import at_least


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How gradients become steps."""

    name: Literal['adam', 'adamw', 'sgd'] = 'adamw'
    """adam (weight decay added to the gradient), adamw (decoupled), or sgd (added, too)."""
    lr: float = 1e-4
    """Peak learning rate."""
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Factors on the rate by patterns of weight names, as {'model.encoder.*': 0.1}; * is any run
    of characters, the first pattern that matches counts, others keep 1; 0 = not trained. The names
    of the network start with model., those of others trained with it by what the recipe calls
    them."""
    layer_decay: float = 1.0
    """Factor on the rate from each layer of an encoder to the one before it, so that the first
    layers change least; lr_factors multiply it. 1 = all alike; 0.65 to 0.9 are usual."""
    frozen: list[str] = field(default_factory=list)
    """Patterns of weights that stay as they are, as ['model.encoder.*'], and with them the
    statistics of their batch norms; names as in lr_factors."""
    frozen_steps: int | None = None
    """How many first steps frozen counts for; none = for all."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient, per step."""
    eps: float = 1e-8
    """Added to the denominator of the step."""
    weight_decay: float = 0.0
    """Pull of the weights to zero; biases and norm layers are exempt."""
    decay_all: bool = False
    """Let weight_decay pull at biases and norm layers too."""
    momentum: float = 0.9
    """Decay of the running mean of the gradient, per step; sgd only."""
    frozen_norm: bool = False
    """Keep statistics, scales and shifts of batch norm layers as they are before training."""
    amsgrad: bool = False
    """Divide by the largest running square seen so far."""
    clip_norm: float | None = None
    """Longest gradient (2-norm over all weights) a step may use; none = any."""
    ema_decay: float | None = None
    """Decay per step of an average of the weights, which is then what is validated and what the
    checkpoint predicts with; none = the weights of the last step."""


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The learning rate over the steps."""

    name: Literal['constant', 'cosine', 'onecycle', 'polynomial', 'step'] = 'constant'
    """constant; cosine = from the peak down along half a cosine; onecycle = cosine up during the
    warm-up, cosine down after it, as OneCycleLR of torch; polynomial = down to final_factor as
    (1 - share gone) ^ power; step = times gamma at each milestone."""
    warmup_steps: int = 0
    """Steps in which the rate rises to its peak (linearly, or as a cosine for onecycle)."""
    final_factor: float = 0.01
    """Rate at the end of cosine, onecycle and polynomial, as a fraction of the peak."""
    div_factor: float = 25.0
    """onecycle starts at the peak divided by this; 1 = no warm-up of the rate."""
    cycled_momentum: tuple[float, float] | None = None
    """Lowest and highest momentum (beta1 of adam and adamw) of onecycle, the lowest where the
    rate is highest; none = constant."""
    power: float = 0.9
    """Exponent of polynomial."""
    milestones: list[int] = field(default_factory=list)
    """Steps done when step multiplies the rate by gamma, each time once more."""
    gamma: float = 0.1
    """Factor of step."""
    reload_best: bool = False
    """At each milestone of step, go on from the weights and the optimizer state of the best
    validation so far."""
    steps: int | None = None
    """Length of the schedule, steps; none = trainer.max_steps."""

    @property
    def has_end(self) -> bool:
        """Whether the rate depends on how long the schedule is."""
        return self.name not in {'constant', 'step'}


def optimizer_problems(
    optimizer: OptimizerSettings, schedule: ScheduleSettings, *, length: int
) -> list[str]:
    """Say which settings contradict each other; `length` is that of the schedule, steps."""
    problems = at_least(
        0,
        {
            'optimizer.weight_decay': optimizer.weight_decay,
            'schedule.warmup_steps': schedule.warmup_steps,
        },
    )
    problems += [
        f'{key} is {value}; give more than 0.'
        for key, value in (
            ('optimizer.lr', optimizer.lr),
            ('optimizer.clip_norm', optimizer.clip_norm),
            ('schedule.div_factor', schedule.div_factor),
            ('schedule.power', schedule.power),
            ('schedule.gamma', schedule.gamma),
        )
        if value is not None and not value > 0.0
    ]
    problems += at_least(
        0, {f'optimizer.lr_factors {key!r}': item for key, item in optimizer.lr_factors.items()}
    )
    if not 0.0 < optimizer.layer_decay <= 1.0:
        problems.append(
            f'optimizer.layer_decay is {optimizer.layer_decay}; give a number in (0, 1].'
        )
    problems += at_least(1, {'optimizer.frozen_steps': optimizer.frozen_steps})
    if optimizer.frozen_steps is not None and not optimizer.frozen:
        problems.append(
            f'optimizer.frozen_steps is {optimizer.frozen_steps}, but optimizer.frozen names no '
            "weights; give patterns, as ['model.encoder.*']."
        )
    problems += [
        f'{key} is {value}; give a number in [0, 1).'
        for key, value in (
            ('optimizer.betas[0]', optimizer.betas[0]),
            ('optimizer.betas[1]', optimizer.betas[1]),
            ('optimizer.momentum', optimizer.momentum),
            ('optimizer.ema_decay', optimizer.ema_decay),
            *(
                (f'schedule.cycled_momentum[{place}]', item)
                for place, item in enumerate(schedule.cycled_momentum or ())
            ),
        )
        if value is not None and not 0.0 <= value < 1.0
    ]
    if schedule.steps is not None and schedule.steps < 1:
        problems.append(f'schedule.steps is {schedule.steps}; give at least 1, or leave it out.')
    elif schedule.has_end and schedule.warmup_steps >= length:
        problems.append(
            f'schedule.warmup_steps is {schedule.warmup_steps}, but the whole {schedule.name} '
            f'schedule has {length} steps; give fewer warm-up steps, or the '
            'length of the whole schedule as schedule.steps: a run may stop before its end.'
        )
    return problems + _schedule_problems(schedule)


def _schedule_problems(schedule: ScheduleSettings) -> list[str]:
    problems = []
    if schedule.cycled_momentum is not None and schedule.name != 'onecycle':
        problems.append(
            f'schedule.cycled_momentum is given, but schedule.name is {schedule.name}; only '
            'onecycle cycles it.'
        )
    if (schedule.name == 'step') != bool(schedule.milestones):
        problems.append(
            f'schedule.milestones is {schedule.milestones} and schedule.name is {schedule.name}; '
            'step needs milestones, and nothing else has them.'
        )
    if any(step < 1 for step in schedule.milestones):
        problems.append(f'schedule.milestones is {schedule.milestones}; give steps of at least 1.')
    return problems
