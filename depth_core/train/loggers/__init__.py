# SPDX-License-Identifier: Apache-2.0
"""Shows a run in TensorBoard, Weights & Biases and MLflow, through Fabric's logger interface.

Nothing goes online unless the settings ask for it. The last two are optional packages, which are
loaded only where they are asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Final

from depth_core.errors import ConfigError, missing_package
from depth_core.train.loggers.base import RunLogger, Told
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainerSettings

__all__ = ['RunLogger', 'check_loggers', 'open_loggers']

_PACKAGES: Final = {'wandb': ('wandb', 'wandb'), 'mlflow': ('mlflow', 'mlflow-skinny')}
"""What a logger imports, and what pip calls that."""


def check_loggers(trainer: TrainerSettings) -> None:
    """Refuse loggers whose package is not installed, before anything is read.

    Raises:
        ConfigError: One is missing.
    """
    for name in trainer.loggers:
        module, package = _PACKAGES.get(name, ('tensorboard', 'tensorboard'))
        if importlib.util.find_spec(module) is None:
            asked = f'trainer.loggers {name}'
            instead = 'leave it out: training.jsonl and metrics.json have the numbers too'
            raise ConfigError(missing_package(asked, package, extra=name, instead=instead))


def open_loggers(
    trainer: TrainerSettings, run: RunFolder, *, first_step: int
) -> Sequence[RunLogger]:
    """Open those that `trainer.loggers` names, for the run whose folder is described already."""
    told = Told(folder=run.path, first_step=first_step, project=trainer.project)
    return [_open(name, trainer, told) for name in dict.fromkeys(trainer.loggers)]


def _open(name: str, trainer: TrainerSettings, told: Told) -> RunLogger:
    if name == 'wandb':
        from depth_core.train.loggers.wandb import WandbRun  # noqa: PLC0415  optional package

        return WandbRun(told, trainer.wandb_mode)
    if name == 'mlflow':
        from depth_core.train.loggers.mlflow import MLflowRun  # noqa: PLC0415  optional package

        return MLflowRun(told, trainer.mlflow_uri)
    from depth_core.train.loggers.tensorboard import TensorBoardRun  # noqa: PLC0415  as the others

    return TensorBoardRun(told)
