# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning rate and averaged weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from depth_core.models.base import DepthModel
from depth_core.train.settings import OptimizerSettings, TrainSettings


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Make the optimizer over all trainable weights; vectors (biases, norms) do not decay."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    kinds = {'adam': torch.optim.Adam, 'adamw': torch.optim.AdamW}
    optimizer: torch.optim.Optimizer = kinds[settings.name](
        [
            {'params': [weight for weight in weights if weight.ndim > 1]},
            {'params': [weight for weight in weights if weight.ndim <= 1], 'weight_decay': 0.0},
        ],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        amsgrad=settings.amsgrad,
        fused=True,
    )
    return optimizer


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Rate of the step after `step` finished ones: a function of nothing else."""
    schedule, peak = settings.schedule, settings.optimizer.lr
    if step < schedule.warmup_steps:
        risen = (step + 1) / schedule.warmup_steps
        return peak * (
            0.5 - 0.5 * math.cos(math.pi * risen) if schedule.name == 'onecycle' else risen
        )
    if schedule.name == 'constant':
        return peak
    length = settings.schedule_steps - schedule.warmup_steps
    gone = min(1.0, (step - schedule.warmup_steps) / length)
    falling = 0.5 + 0.5 * math.cos(math.pi * gone)
    return peak * (schedule.final_factor + (1.0 - schedule.final_factor) * falling)


class AveragedModel:
    """A copy of a network whose weights follow it as an exponential moving average.

    The decay rises from 0.1 to its final value with the steps, so that the initial weights are
    soon forgotten. Statistics of norm layers are averaged alike, counters are copied.
    """

    def __init__(self, model: DepthModel, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def update(self, model: DepthModel, step: int) -> None:
        """Move towards `model`, whose step number `step` (from 1) is done."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        own: list[Tensor] = []
        new: list[Tensor] = []
        for mine, theirs in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if mine.is_floating_point():
                own.append(mine)
                new.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(own, new, 1.0 - decay)


def average_of(model: DepthModel, settings: OptimizerSettings) -> AveragedModel | None:
    """Start the average the settings ask for, if they do."""
    return None if settings.ema_decay is None else AveragedModel(model, settings.ema_decay)
