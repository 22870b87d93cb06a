# SPDX-License-Identifier: Apache-2.0
"""A run of MLflow, kept in the folder `mlruns` of the run unless a server is named."""

from __future__ import annotations

import math
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Final

from depth_core.contracts import Uint8Array
from depth_core.train.loggers.base import RunLogger, Told
from depth_core.train.loggers.identity import identity

FOLDER: Final = 'mlruns'
_TAG: Final = 'depth_core.run'
_LONGEST: Final = 500
"""Characters of the value of a setting; all stores take as many."""
_AT_ONCE: Final = 100
"""Settings that MLflow takes in one call."""


class MLflowRun(RunLogger):
    """Needs the package mlflow-skinny, or mlflow; usage statistics are switched off."""

    def __init__(self, told: Told, uri: str | None) -> None:
        os.environ.setdefault('MLFLOW_DISABLE_TELEMETRY', 'true')
        # MLflow asks this of whoever takes the store that needs no database.
        os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
        from mlflow.tracking import MlflowClient  # noqa: PLC0415  optional, seconds of imports

        local = (told.folder / FOLDER).resolve().as_uri()
        self._client: Any = MlflowClient(tracking_uri=uri or local)
        experiment = self._client.get_experiment_by_name(told.project)
        number = (
            self._client.create_experiment(told.project)
            if experiment is None
            else experiment.experiment_id
        )
        self._project = told.project
        own = identity(told.folder)
        found = self._client.search_runs([number], f"tags.`{_TAG}` = '{own}'")
        run = (
            found[0]
            if found
            else self._client.create_run(number, run_name=told.name, tags={_TAG: own})
        )
        self._id = str(run.info.run_id)
        self._client.update_run(self._id, status='RUNNING')

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self._project

    @property
    def version(self) -> str:
        """Of the run."""
        return self._id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to curves; MLflow has no place for those that are not finite."""
        for name, value in metrics.items():
            if math.isfinite(value):
                self._client.log_metric(self._id, name, value, step=step)

    def log_picture(self, name: str, picture: Uint8Array, step: int) -> None:
        """Add a picture."""
        self._client.log_image(self._id, picture, key=name, step=step)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *_: object, **__: object
    ) -> None:
        """Add settings that the run does not have yet: MLflow lets none change."""
        from mlflow.entities import Param  # noqa: PLC0415  as above

        given = vars(params) if isinstance(params, Namespace) else params
        known = self._client.get_run(self._id).data.params
        fresh = [
            Param(name, str(value)[:_LONGEST])
            for name, value in given.items()
            if name not in known
        ]
        for first in range(0, len(fresh), _AT_ONCE):
            self._client.log_batch(self._id, params=fresh[first : first + _AT_ONCE])

    def log_score_names(
        self, settings: Mapping[str, bool | float | str], names: Sequence[str]
    ) -> None:
        """Keep the settings, and say which number best.ckpt is chosen by."""
        self.log_hyperparams(dict(settings))
        self._client.set_tag(self._id, 'depth_core.score', ', '.join(names))

    def finalize(self, status: str) -> None:
        """End the run."""
        ended = 'FINISHED' if status == 'success' else 'FAILED'
        self._client.set_terminated(self._id, status=ended)
