# SPDX-License-Identifier: Apache-2.0
"""The training loop of embedding networks, in the order in which things happen."""

from __future__ import annotations

import hashlib
import json
import logging
import math

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from depth_core.data import DepthDataset, Sample, open_dataset
from depth_core.data.cache import cached, describe
from depth_core.data.transforms import HorizontalFlip
from depth_core.errors import DepthError
from depth_core.train.embedding.run import Learner, open_run
from depth_core.train.embedding.settings import EmbeddingSettings
from depth_core.train.embedding.task import task_of
from depth_core.train.run_folder import RunFolder
from depth_core.train.settings import DatasetSettings
from depth_core.train.stream import SampleStream, batches

_LOG = logging.getLogger(__name__)


def train_embedding(settings: EmbeddingSettings) -> RunFolder:
    """Train as `settings` say and return the folder of the run; `best.ckpt` is the result.

    Raises:
        DepthError: Data or a checkpoint is missing or broken, the folder holds another run, the
            loss is no longer finite, or a file cannot be written.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    task = task_of(settings.kind, max_depth_m=settings.max_depth_m)
    network = task.create().to(memory_format=torch.channels_last)  # the faster order on CPUs
    learner = Learner(network=network, optimizer=_optimizer(network, settings))
    run = open_run(learner, task, settings)
    train_set = _open_data(settings, settings.train)
    held_out = _open_data(settings, settings.validation)
    run.write_description()
    _LOG.info(
        '%s: %s, %d depth maps, %d held out, steps %d to %d', run.folder.path, settings.kind,
        len(train_set), len(held_out), learner.step, settings.max_steps,
    )  # fmt: skip
    loader = batches(
        SampleStream(train_set, HorizontalFlip(), settings.seed, settings.batch_size),
        first_step=learner.step,
        steps=settings.max_steps,
        workers=settings.workers,
    )
    with SummaryWriter(str(run.folder.path / 'tensorboard'), purge_step=learner.step) as writer:
        for sample in loader:
            _set_mode(network, learner.step, settings)
            for group in learner.optimizer.param_groups:
                group['lr'] = _rate(learner.step, settings)
            loss = task.loss(network, sample)
            _refuse_non_finite(loss, learner.step, sample)
            loss.backward()
            learner.optimizer.step()
            learner.optimizer.zero_grad(set_to_none=True)

            learner.step += 1
            if _due(settings.log_every_steps, learner.step, settings):
                writer.add_scalar('train/loss', loss.item(), learner.step)
                _LOG.info('step %d/%d, loss %.4f', learner.step, settings.max_steps, loss.item())
            if _due(settings.validate_every_steps, learner.step, settings):
                network.eval()
                scores = task.scores(network, held_out, batch_size=settings.batch_size)
                run.record(scores)
                for name, value in scores.items():
                    writer.add_scalar(f'held_out/{name}', value, learner.step)
            if _due(settings.checkpoint_every_steps, learner.step, settings):
                run.save()
    _LOG.info('done: %s', run.folder.best)
    return run.folder


def _set_mode(network: nn.Module, step: int, settings: EmbeddingSettings) -> None:
    """Training mode; norm layers, the only ones it makes a difference to, up to their share."""
    network.train(step < settings.norm_frozen_from * settings.max_steps)


def _rate(step: int, settings: EmbeddingSettings) -> float:
    return settings.lr * (0.5 + 0.5 * math.cos(math.pi * step / settings.max_steps))


def _due(every: int, step: int, settings: EmbeddingSettings) -> bool:
    return step == settings.max_steps or step % every == 0


def _optimizer(network: nn.Module, settings: EmbeddingSettings) -> torch.optim.Optimizer:
    """Adam; vectors (biases, norms) do not decay."""
    weights = list(network.parameters())
    matrices = [weight for weight in weights if weight.ndim > 1]
    vectors = [weight for weight in weights if weight.ndim <= 1]
    groups = [
        {'params': matrices, 'weight_decay': settings.weight_decay},
        {'params': vectors, 'weight_decay': 0.0},
    ]
    return torch.optim.Adam(groups, lr=settings.lr)


def _open_data(settings: EmbeddingSettings, chosen: DatasetSettings) -> DepthDataset:
    dataset = open_dataset(
        str(chosen.name),
        root=chosen.root,
        split=chosen.split,
        height=settings.height,
        width=settings.width,
        **chosen.options,
    )
    if settings.cache is None:
        return dataset
    # One folder for each data set and its settings, so that none is in the way of another.
    identity = json.dumps(describe(dataset), sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cached(dataset, settings.cache / f'{chosen.name}-{digest}', workers=settings.workers)


def _refuse_non_finite(loss: Tensor, step: int, sample: Sample) -> None:
    if math.isfinite(loss.item()):
        return
    message = (
        f'the loss is {loss.item()} at step {step + 1} on samples {", ".join(sample.key)}; '
        'nothing was learnt from them and the last checkpoint is intact. Look at these samples '
        'for wrong depth, or lower lr.'
    )
    raise DepthError(message)
