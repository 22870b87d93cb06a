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
from depth_core.train.recipes import Score
from depth_core.train.resume import Learner, restore, save_checkpoint
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import ScheduleSettings, TrainerSettings, TrainSettings

_LOG = logging.getLogger(__name__)


def keep_best(
    run: RunFolder,
    learner: Learner,
    score: Score,
    settings: TrainSettings,
    made_with: Mapping[str, object],
    *,
    writes: bool,
) -> None:
    """Write the weights when no earlier validation was as good.

    Args:
        run: Where to.
        learner: Its best cost and step, and the validations since, are updated in every process.
        score: The validation just made; trainer.best_metric says which of its costs counts, the
            first where the recipe has no such metric.
        settings: All of them; with schedule.reload_best the whole state is written too.
        made_with: Provenance of the file.
        writes: Whether this process is the one that writes.
    """
    if not score.costs:
        return
    cost = score.costs.get(settings.trainer.best_metric, next(iter(score.costs.values())))
    if cost >= learner.best_cost:
        learner.waited += 1
        return
    learner.best_cost, learner.best_step, learner.waited = cost, learner.step, 0
    if not writes:
        return
    scored = {'step': learner.step, **score.numbers}
    made_with = {**made_with, 'validation': scored}
    learner.recipe.save(run.best, learner.result, provenance=made_with)
    if settings.schedule.reload_best:
        save_checkpoint(run.best_state(learner.step), learner, settings, made_with)


def stops_early(learner: Learner, trainer: TrainerSettings) -> bool:
    """Whether `trainer.patience` validations in a row were not better than the best; says so."""
    if trainer.patience is None or learner.waited < trainer.patience:
        return False
    _LOG.info(
        'step %d: stopped early, %d validations in a row were not better than that of step %d; '
        'best.ckpt has its weights',
        learner.step,
        learner.waited,
        learner.best_step,
    )
    return True


def reload_best(
    run: RunFolder, learner: Learner, schedule: ScheduleSettings, fabric: Fabric
) -> None:
    """At a milestone, put weights and optimizer of the best validation so far into `learner`.

    The number of the step continues: the milestone is about the rate, not about the data.

    Raises:
        CheckpointError: The state is gone or damaged.
    """
    if not schedule.reload_best or learner.step not in schedule.milestones:
        return
    if learner.best_step == 0:
        _LOG.warning('step %d: no validation could be scored, so none is best', learner.step)
        return
    fabric.barrier()  # the first process may still be writing it
    path = run.best_state(learner.best_step)
    restore(path, learner, learner.recipe.read(path))
    _LOG.info('step %d: going on from the best state, of step %d', learner.step, learner.best_step)


def check_best_is_there(run: RunFolder, learner: Learner, schedule: ScheduleSettings) -> None:
    """Refuse to resume a run that will want a best state that its folder lacks.

    Raises:
        CheckpointError: It is missing.
    """
    ahead = [step for step in schedule.milestones if step >= learner.step]
    path = run.best_state(learner.best_step)
    if schedule.reload_best and ahead and learner.best_step and not path.is_file():
        message = (
            f'schedule.reload_best will need {path} at step {ahead[0]}, which does not exist; '
            'give the folder of the run as --trainer.run_dir, and resume its last.ckpt.'
        )
        raise CheckpointError(message)
