# SPDX-License-Identifier: Apache-2.0
"""Optimizer, learning rate and averaged weights."""

from __future__ import annotations

import copy
import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Generic

import torch
from torch import Tensor, nn

from depth_core.errors import ConfigError
from depth_core.train.freezing import check_patterns
from depth_core.train.recipes import Network
from depth_core.train.settings import OptimizerSettings, ScheduleSettings

_ENCODERS: Final = ('encoder', 'trunk')
"""What the networks of this package call their encoders."""


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Make the optimizer over all trainable weights.

    Weights of one rate and one decay form a group; a group's `lr_factor` times the rate of the
    schedule is its rate. Vectors (biases, norms) do not decay unless all do.

    Raises:
        ConfigError: A pattern of `lr_factors` matches no trainable weight, all factors are 0, or
            `layer_decay` finds no encoder.
    """
    shared: dict[str, Any] = {'lr': settings.lr, 'weight_decay': settings.weight_decay}
    groups = _groups(module, settings)
    if settings.name == 'sgd':
        # The fused one wants momentum of all weights or of none: not so of some that come later.
        fused = settings.frozen_steps is None
        return torch.optim.SGD(groups, momentum=settings.momentum, fused=fused, **shared)
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
    check_patterns('optimizer.lr_factors', settings.lr_factors, trained)
    by_layer = _factors_by_layer(trained, settings.layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, weight in trained.items():
        matching = (
            factor for pattern, factor in settings.lr_factors.items() if fnmatchcase(name, pattern)
        )
        factor = next(matching, 1.0) * by_layer.get(name, 1.0)
        groups[factor, settings.decay_all or weight.ndim > 1].append(weight)
    if not any(factor for factor, _ in groups):
        message = (
            f'optimizer.lr_factors {settings.lr_factors} gives all {len(trained)} trainable '
            'weights a factor of 0, so that nothing is trained; leave out what is to learn.'
        )
        raise ConfigError(message)
    return [
        {'params': weights, 'lr_factor': factor} | ({} if decays else {'weight_decay': 0.0})
        for (factor, decays), weights in groups.items()
    ]


def _factors_by_layer(names: Iterable[str], decay: float) -> dict[str, float]:
    """Factors of the weights of encoders: `decay` to the number of layers up to the decoder.

    A layer is what comes under the first numbered part of a name, as `blocks.3` or `layer2`, in
    the order of the network; what stands between two numbered parts counts with the former.

    Raises:
        ConfigError: There is no encoder.
    """
    if decay == 1.0:
        return {}
    layers: dict[str, dict[str, int]] = defaultdict(dict)
    last: dict[str, str] = {}
    places: list[tuple[str, str, str]] = []
    for name in names:
        *path, _ = name.split('.')
        start = next((index for index, part in enumerate(path) if part in _ENCODERS), None)
        if start is None:
            continue
        encoder = '.'.join(path[: start + 1])
        numbered = next(
            (i for i, part in enumerate(path) if i > start and re.search(r'\d', part)), None
        )
        layer = last.get(encoder, '') if numbered is None else '.'.join(path[: numbered + 1])
        last[encoder] = layer
        layers[encoder].setdefault(layer, len(layers[encoder]))
        places.append((name, encoder, layer))
    if not places:
        message = (
            f'optimizer.layer_decay is {decay}, and the network has no trainable encoder whose '
            'layers could be told apart; leave it out, or use optimizer.lr_factors.'
        )
        raise ConfigError(message)
    return {
        name: math.pow(decay, len(layers[encoder]) - layers[encoder][layer])
        for name, encoder, layer in places
    }


def _cosine(start: float, end: float, gone: float) -> float:
    return end + (start - end) * (0.5 + 0.5 * math.cos(math.pi * gone))
