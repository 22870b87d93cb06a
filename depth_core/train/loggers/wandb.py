# SPDX-License-Identifier: Apache-2.0
"""A run of Weights & Biases, kept in the folder `wandb` of the run unless it may go online."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from depth_core.contracts import Uint8Array
from depth_core.train.loggers.base import RunLogger, Told
from depth_core.train.loggers.identity import identity


class WandbRun(RunLogger):
    """Needs the package wandb; offline, nothing leaves the machine until `wandb sync`."""

    def __init__(self, told: Told, mode: Literal['offline', 'online']) -> None:
        # It would report its own errors, offline too.
        os.environ.setdefault('WANDB_ERROR_REPORTING', 'false')
        # Otherwise it keeps logs of its own in the home folder.
        os.environ.setdefault('WANDB_CACHE_DIR', str(told.folder.resolve() / 'wandb' / 'cache'))
        import wandb  # noqa: PLC0415  optional, and seconds of imports

        self._wandb = wandb
        self._run: Any = wandb.init(
            project=told.project,
            name=told.name,
            id=identity(told.folder),
            resume='allow' if mode == 'online' else None,
            dir=told.folder,
            mode=mode,
            settings=wandb.Settings(
                console='off', disable_code=True, disable_git=True, silent=True
            ),
        )
        # Values of one step come from several calls, so that the step is one of the values.
        self._run.define_metric('step')
        self._run.define_metric('*', step_metric='step')

    @property
    def name(self) -> str:
        """Of the project."""
        return str(self._run.project)

    @property
    def version(self) -> str:
        """Of the run."""
        return str(self._run.id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to curves."""
        self._run.log({**metrics, 'step': step})

    def log_picture(self, name: str, picture: Uint8Array, step: int) -> None:
        """Add a picture."""
        self._run.log({name: self._wandb.Image(picture), 'step': step})

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *_: object, **__: object
    ) -> None:
        """Add settings to those of the run."""
        given = vars(params) if isinstance(params, Namespace) else params
        self._run.config.update(given, allow_val_change=True)

    def log_score_names(
        self, settings: Mapping[str, bool | float | str], names: Sequence[str]
    ) -> None:
        """Keep the settings, and let the table of runs have the best of each number."""
        self.log_hyperparams(dict(settings))
        for name in names:
            best = 'max' if name.endswith(('/a1', '/miou', '/accuracy')) else 'min'
            self._run.define_metric(name, step_metric='step', summary=f'{best},last')

    def finalize(self, status: str) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if status == 'success' else 1)
