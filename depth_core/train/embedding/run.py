# SPDX-License-Identifier: Apache-2.0
"""The folder of a run of an embedding network: its numbers, its checkpoints, its resume.

Order of the maps, mirroring and learning rate are functions of seed and step, so that the step,
the weights and the state of the optimizer are all a resume needs.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
import yaml

from depth_core.errors import CheckpointError, ConfigError
from depth_core.files import write_text_atomically
from depth_core.models.cliffnet.embedding import ReconstructionEmbedding, SceneEmbedding
from depth_core.train.command_line import plain
from depth_core.train.embedding.settings import EmbeddingSettings
from depth_core.train.embedding.task import EmbeddingTask
from depth_core.train.run_folder import RunFolder
from depth_core.weights.embedding_file import read_embedding, save_embedding

_LOG = logging.getLogger(__name__)

_FREE: Final = (
    'run_dir',
    'resume',
    'cache',
    'workers',
    'threads',
    'validation',
    'checkpoint_every_steps',
    'validate_every_steps',
    'log_every_steps',
)
"""Settings that may change at a resume: they do not change what is learnt from which map."""


@dataclass(kw_only=True)
class Learner:
    """What changes while a run goes on."""

    network: SceneEmbedding | ReconstructionEmbedding
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Steps done."""
    best: float = -math.inf
    """Highest score on the held-out maps so far."""
    records: list[dict[str, float]] = field(default_factory=list)
    """One entry a validation: step and scores."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingRun:
    """Where a run writes."""

    folder: RunFolder
    learner: Learner
    task: EmbeddingTask
    settings: EmbeddingSettings

    def write_description(self) -> None:
        """Write settings.yaml, a file that `--config` reads back to the same settings."""
        content = yaml.safe_dump(plain(self.settings), sort_keys=False, width=99)
        write_text_atomically(self.folder.path / 'settings.yaml', content)

    def record(self, scores: Mapping[str, float]) -> None:
        """Add the scores of a validation to metrics.json; keep the network when it is best."""
        learner = self.learner
        learner.records.append({'step': learner.step, **scores})
        write_text_atomically(
            self.folder.path / 'metrics.json', json.dumps(learner.records, indent=2) + '\n'
        )
        shown = ', '.join(f'{name} {value:.4f}' for name, value in scores.items())
        _LOG.info('step %d, held out: %s', learner.step, shown)
        if self.task.quality(scores) > learner.best:
            learner.best = self.task.quality(scores)
            save_embedding(
                self.folder.best,
                self.task.kind,
                learner.network,
                classes=self.task.classes,
                provenance={**self._made_with(), 'held_out': dict(scores)},
            )

    def save(self) -> None:
        """Write last.ckpt, which a resume continues from."""
        learner = self.learner
        save_embedding(
            self.folder.last,
            self.task.kind,
            learner.network,
            classes=self.task.classes,
            training={
                'step': learner.step,
                'best': learner.best,
                'records': learner.records,
                'optimizer': learner.optimizer.state_dict(),
                'settings': plain(self.settings),
            },
            provenance=self._made_with(),
        )

    def _made_with(self) -> dict[str, object]:
        return {
            'written': dt.datetime.now(dt.timezone.utc).isoformat(timespec='seconds'),
            'command': shlex.join(['python', '-m', 'depth_core.train.embedding', *sys.argv[1:]]),
            'torch': str(torch.__version__),
            'settings': plain(self.settings),
            'step': self.learner.step,
        }


def open_run(learner: Learner, task: EmbeddingTask, settings: EmbeddingSettings) -> EmbeddingRun:
    """The folder of a run; at a resume, `learner` goes back to where the run stood.

    Raises:
        CheckpointError: There is nothing to resume, or it is a run with other settings.
        ConfigError: The folder holds a run that is not being resumed.
    """
    folder = RunFolder(settings.run_dir)
    if settings.resume:
        _go_back(learner, folder, settings)
    elif folder.last.exists():
        message = (
            f'{folder.path} already holds a run; continue it with --resume true, or give another '
            '--run_dir.'
        )
        raise ConfigError(message)
    return EmbeddingRun(folder=folder, learner=learner, task=task, settings=settings)


def _go_back(learner: Learner, folder: RunFolder, settings: EmbeddingSettings) -> None:
    file = read_embedding(folder.last)
    training = file.training
    if training is None:
        message = f'{folder.last} holds a result only and cannot be resumed; start a new run.'
        raise CheckpointError(message)
    before, now = training['settings'], plain(settings)
    differences = [
        f'{key}: {before.get(key)!r} in the checkpoint, {now[key]!r} now'
        for key in now
        if key not in _FREE and before.get(key) != now[key]
    ]
    if differences:
        message = (
            f'{folder.last} cannot be continued exactly, because settings differ:\n  '
            + '\n  '.join(differences)
            + '\nGive the settings of the run, or start a new one.'
        )
        raise CheckpointError(message)
    if training['step'] >= settings.max_steps:
        message = f'{folder.last} was written after all {training["step"]} steps: nothing is left.'
        raise CheckpointError(message)
    learner.network.load_state_dict(file.network.state_dict())
    learner.optimizer.load_state_dict(training['optimizer'])
    learner.step, learner.best = training['step'], training['best']
    learner.records = list(training['records'])
