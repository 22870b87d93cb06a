# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning rate and averaged weights."""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections import defaultdict
from fnmatch import fnmatchcase
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from depth_core.errors import ConfigError
from depth_core.models.base import DepthModel
from depth_core.train.settings import OptimizerSettings, TrainSettings

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


def set_rate(optimizer: torch.optim.Optimizer, step: int, settings: TrainSettings) -> float:
    """Give every group its rate, and its momentum if that is cycled, for the next step.

    Args:
        optimizer: Made by `build_optimizer`.
        step: Steps done.
        settings: All of them.

    Returns:
        The rate of groups whose factor is 1.
    """
    lr, momentum = learning_rate(step, settings), momentum_at(step, settings)
    for group in optimizer.param_groups:
        group['lr'] = lr * group['lr_factor']
        if momentum is None:
            continue
        if 'betas' in group:
            group['betas'] = (momentum, group['betas'][1])
        else:
            group['momentum'] = momentum
    return lr


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Rate of the step after `step` finished ones: a function of nothing else.

    `onecycle` is torch's `OneCycleLR` with cosines: `warmup_steps` is its pct_start times its
    total_steps, and `final_factor` is 1 / (div_factor * final_div_factor) of it. `polynomial` is
    final + (peak - final) * (1 - share of the schedule gone) ^ power; `step` is `MultiStepLR`.
    """
    schedule, peak = settings.schedule, settings.optimizer.lr
    final = peak * schedule.final_factor
    if schedule.name == 'onecycle':
        return _cycle(step, settings, peak / schedule.div_factor, peak, final)
    if step < schedule.warmup_steps:
        return peak * (step + 1) / schedule.warmup_steps
    if schedule.name == 'constant':
        return peak
    if schedule.name == 'step':
        falls = bisect_right(sorted(schedule.milestones), step)
        return peak * math.pow(schedule.gamma, falls)
    length = settings.schedule_steps - schedule.warmup_steps
    gone = min(1.0, (step - schedule.warmup_steps) / length)
    if schedule.name == 'polynomial':
        return final + (peak - final) * math.pow(1.0 - gone, schedule.power)
    return _cosine(peak, final, gone)


def momentum_at(step: int, settings: TrainSettings) -> float | None:
    """Momentum (beta1 of Adam) of the step after `step` finished ones; None = it is constant."""
    cycled = settings.schedule.cycled_momentum
    if cycled is None:
        return None
    low, high = cycled
    return _cycle(step, settings, high, low, high)


def freeze_norms(module: nn.Module) -> None:
    """Keep the statistics and the weights of all batch norm layers as they are."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval().requires_grad_(requires_grad=False)


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


def _cycle(step: int, settings: TrainSettings, start: float, top: float, end: float) -> float:
    """Up from `start` to `top` during the warm-up, and down to `end` after it, as cosines."""
    turn = settings.schedule.warmup_steps - 1
    if step < turn:
        return _cosine(start, top, step / turn)
    last = settings.schedule_steps - 1
    return _cosine(top, end, min(1.0, (step - turn) / max(1, last - turn)))


def _cosine(start: float, end: float, gone: float) -> float:
    return end + (start - end) * (0.5 + 0.5 * math.cos(math.pi * gone))
