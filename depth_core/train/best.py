# SPDX-License-Identifier: Apache-2.0
"""The best validation of a run: its weights are kept, and a run may go back to it.

`best.ckpt` holds weights alone, to predict with. A run that goes back to its best state when the
learning rate falls (`schedule.reload_best`) also keeps that state whole, under the step it was
reached at; the file stays until a later checkpoint names a better one, so that a run that was
killed in between still resumes exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lightning_fabric import Fabric

from depth_core.errors import CheckpointError
from depth_core.metrics import Evaluation
from depth_core.train.resume import Learner, restore, save_checkpoint
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import TrainSettings
from depth_core.weights.checkpoint import read_checkpoint, save_model

_LOG = logging.getLogger(__name__)


def keep_best(
    run: RunFolder,
    learner: Learner,
    evaluation: Evaluation,
    settings: TrainSettings,
    made_with: Mapping[str, object],
    *,
    writes: bool,
) -> None:
    """Write the weights when no earlier validation was as good in `trainer.best_metric`.

    Args:
        run: Where to.
        learner: Is told the best so far, in every process.
        evaluation: The validation just made.
        settings: All of them.
        made_with: Provenance of the file.
        writes: Whether this process is the one that writes.
    """
    if evaluation.mean is None:
        return
    metric = settings.trainer.best_metric
    value: float = getattr(evaluation.mean, metric)
    cost = -value if metric == 'a1' else value  # delta1 is the share that is right
    if cost >= learner.best_cost:
        return
    learner.best_cost, learner.best_step = cost, learner.step
    if not writes:
        return
    save_model(run.best, learner.result, provenance=made_with)
    if settings.schedule.reload_best:
        save_checkpoint(run.best_state(learner.step), learner, settings, made_with)


def reload_best(run: RunFolder, learner: Learner, settings: TrainSettings, fabric: Fabric) -> None:
    """At a milestone, put weights and optimizer of the best validation so far into `learner`.

    The number of the step goes on: the milestone is about the rate, not about the data.

    Raises:
        CheckpointError: The state is gone or damaged.
    """
    schedule = settings.schedule
    if not schedule.reload_best or learner.step not in schedule.milestones:
        return
    if learner.best_step == 0:
        _LOG.warning('step %d: no validation had ground truth, so none is best', learner.step)
        return
    fabric.barrier()  # the first process may still be writing it
    path = run.best_state(learner.best_step)
    restore(path, learner, read_checkpoint(path))
    _LOG.info('step %d: going on from the best state, of step %d', learner.step, learner.best_step)


def check_best_is_there(run: RunFolder, learner: Learner, settings: TrainSettings) -> None:
    """Refuse to resume a run that will want a best state that its folder lacks.

    Raises:
        CheckpointError: It is missing.
    """
    ahead = [step for step in settings.schedule.milestones if step >= learner.step]
    path = run.best_state(learner.best_step)
    if settings.schedule.reload_best and ahead and learner.best_step and not path.is_file():
        message = (
            f'schedule.reload_best will need {path} at step {ahead[0]}, which does not exist; '
            'give the folder of the run as --trainer.run_dir, and resume its last.ckpt.'
        )
        raise CheckpointError(message)
