# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning rate and averaged weights."""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Generic

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from depth_core.errors import ConfigError
from depth_core.train.recipes import Network
from depth_core.train.settings import OptimizerSettings, ScheduleSettings

_NAMES_SHOWN: Final = 6


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Make the optimizer over all trainable weights.

    Weights of one rate and one decay form a group; a group's `lr_factor` times the rate of the
    schedule is its rate. Vectors (biases, norms) do not decay unless all do.

    Raises:
        ConfigError: A pattern of `lr_factors` matches no trainable weight.
    """
    shared: dict[str, Any] = {'lr': settings.lr, 'weight_decay': settings.weight_decay}
    groups = _groups(module, settings)
    if settings.name == 'sgd':
        return torch.optim.SGD(groups, momentum=settings.momentum, fused=True, **shared)
    kinds = {'adam': torch.optim.Adam, 'adamw': torch.optim.AdamW}
    optimizer: torch.optim.Optimizer = kinds[settings.name](
        groups,
        betas=settings.betas,
        eps=settings.eps,
        amsgrad=settings.amsgrad,
        fused=True,
        **shared,
    )
    return optimizer


@dataclass(frozen=True)
class LearningRate:
    """The learning rate, and the momentum if that is cycled, as functions of the steps done.

    `onecycle` is torch's `OneCycleLR` with cosines: `warmup_steps` is its pct_start times its
    total_steps, and `final_factor` is 1 / (div_factor * final_div_factor) of it. `polynomial` is
    final + (peak - final) * (1 - share of the schedule gone) ^ power; `step` is `MultiStepLR`.
    """

    schedule: ScheduleSettings
    peak: float
    """Largest rate."""
    steps: int
    """Length of the schedule."""

    def set(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Give all groups of `build_optimizer` their values for the step after `step` done.

        Returns:
            The rate of groups whose factor is 1.
        """
        lr, momentum = self.at(step), self.momentum_at(step)
        for group in optimizer.param_groups:
            group['lr'] = lr * group['lr_factor']
            if momentum is None:
                continue
            if 'betas' in group:
                group['betas'] = (momentum, group['betas'][1])
            else:
                group['momentum'] = momentum
        return lr

    def at(self, step: int) -> float:
        """Rate of the step after `step` finished ones."""
        schedule, peak = self.schedule, self.peak
        final = peak * schedule.final_factor
        if schedule.name == 'onecycle':
            return self._cycle(step, peak / schedule.div_factor, peak, final)
        if step < schedule.warmup_steps:
            return peak * (step + 1) / schedule.warmup_steps
        if schedule.name == 'constant':
            return peak
        if schedule.name == 'step':
            falls = bisect_right(sorted(schedule.milestones), step)
            return peak * math.pow(schedule.gamma, falls)
        length = self.steps - schedule.warmup_steps
        gone = min(1.0, (step - schedule.warmup_steps) / length)
        if schedule.name == 'polynomial':
            return final + (peak - final) * math.pow(1.0 - gone, schedule.power)
        return _cosine(peak, final, gone)

    def momentum_at(self, step: int) -> float | None:
        """Momentum (beta1 of Adam) of the step after `step` finished ones; None = constant."""
        if self.schedule.cycled_momentum is None:
            return None
        low, high = self.schedule.cycled_momentum
        return self._cycle(step, high, low, high)

    def _cycle(self, step: int, start: float, top: float, end: float) -> float:
        """Up from `start` to `top` during the warm-up, and down to `end` after it, as cosines."""
        turn = self.schedule.warmup_steps - 1
        if step < turn:
            return _cosine(start, top, step / turn)
        last = self.steps - 1
        return _cosine(top, end, min(1.0, (step - turn) / max(1, last - turn)))


def freeze_norms(module: nn.Module) -> None:
    """Keep the statistics and the weights of all batch norm layers as they are."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval().requires_grad_(requires_grad=False)


class AveragedModel(Generic[Network]):
    """A copy of a network whose weights follow it as an exponential moving average.

    The decay rises from 0.1 to its final value with the steps, so that the initial weights are
    soon forgotten. Statistics of norm layers are averaged alike, counters are copied.
    """

    def __init__(self, model: Network, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
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


def average_of(model: Network, settings: OptimizerSettings) -> AveragedModel[Network] | None:
    """Start the average of the weights; None without ema_decay."""
    return None if settings.ema_decay is None else AveragedModel(model, settings.ema_decay)


def _groups(module: nn.Module, settings: OptimizerSettings) -> list[dict[str, Any]]:
    trained = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    for pattern in settings.lr_factors:
        if not any(fnmatchcase(name, pattern) for name in trained):
            first = ', '.join(list(trained)[:_NAMES_SHOWN])
            message = (
                f'optimizer.lr_factors: {pattern!r} matches none of the {len(trained)} trainable '
                f'weights; their names are as {first}.'
            )
            raise ConfigError(message)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, weight in trained.items():
        matching = (
            factor for pattern, factor in settings.lr_factors.items() if fnmatchcase(name, pattern)
        )
        groups[next(matching, 1.0), settings.decay_all or weight.ndim > 1].append(weight)
    return [
        {'params': weights, 'lr_factor': factor} | ({} if decays else {'weight_decay': 0.0})
        for (factor, decays), weights in groups.items()
    ]


def _cosine(start: float, end: float, gone: float) -> float:
    return end + (start - end) * (0.5 + 0.5 * math.cos(math.pi * gone))
