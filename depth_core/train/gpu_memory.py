# SPDX-License-Identifier: Apache-2.0
"""The memory a training takes on each GPU, computed before one is rented.

The command `python -m depth_core.train.gpu_memory --config …`. Weights, gradients and the state of
the optimizer are counted exactly. What is kept for the gradient is counted from the tensors that
the losses of one step save, each storage once: on tensors without numbers where the losses allow
it, else of one image on the CPU and times the images of a GPU. Rendered images stand in for the
data set, so that neither data nor weights are needed. Not counted: what exists for a moment only,
workspaces of cuDNN, the context of CUDA (about 0.5 GB), fragments; a tenth to a fifth more is
usual.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, run_command
from depth_core.models import WEIGHT_OPTIONS
from depth_core.train.command_line import parse, values_of
from depth_core.train.datasets import open_augmentation, open_training_set
from depth_core.train.freezing import Frozen
from depth_core.train.settings import DatasetSettings, TrainSettings
from depth_core.train.start import open_training_step
from depth_core.train.stream import SampleStream, batches

_GB: Final = 1e9
_STATES: Final = {'adam': 2, 'adamw': 2, 'sgd': 1}
"""Numbers an optimizer keeps of each weight."""

_WITHOUT_NUMBERS: Final = (NotImplementedError, RuntimeError, ValueError)
"""What operations answer that need the numbers of a tensor that has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """Memory of one GPU, GB of 1e9 bytes."""

    weights_gb: float
    """The networks, frozen ones and an average of the weights included."""
    gradients_gb: float
    optimizer_gb: float
    """What the optimizer keeps of each weight it moves."""
    activations_gb: float
    """What is kept for the gradient of the images of one GPU."""
    images: int
    """How many these are."""
    extrapolated: bool
    """Whether the activations are those of one image, times `images`."""

    @property
    def total_gb(self) -> float:
        """The sum."""
        return self.weights_gb + self.gradients_gb + self.optimizer_gb + self.activations_gb


def memory_need(settings: TrainSettings, *, gpus: int = 1) -> MemoryNeed:
    """Compute what a step with `settings` keeps on each of so many GPUs, in float32.

    Raises:
        ConfigError: The batch cannot be shared by so many.
    """
    settings = _without_files(settings)
    trainer, chosen = settings.trainer, settings.optimizer
    shares = gpus * trainer.gradient_accumulation
    if trainer.batch_size % shares:
        message = (
            f'trainer.batch_size is {trainer.batch_size}, which {gpus} GPU(s) cannot share in '
            f'{trainer.gradient_accumulation} part(s) each; give a multiple of {shares}.'
        )
        raise ConfigError(message)
    images = trainer.batch_size // shares
    try:
        with torch.device('meta'):
            training_step = open_training_step(settings, None)
        samples = _samples(settings, training_step.model)
        kept = max(_kept_bytes(training_step, _repeated(item, images)) for item in samples)
        extrapolated = False
    except _WITHOUT_NUMBERS:
        training_step = open_training_step(settings, None)
        samples = _samples(settings, training_step.model)
        kept = images * max(_kept_bytes(training_step, item) for item in samples)
        extrapolated = images > 1
    Frozen(training_step, chosen.frozen, chosen.frozen_steps).apply(0)
    trained = sum(_bytes(item) for item in training_step.parameters() if item.requires_grad)
    averaged = 0 if chosen.ema_decay is None else _bytes_of(training_step.model)
    return MemoryNeed(
        weights_gb=(_bytes_of(training_step) + averaged) / _GB,
        gradients_gb=trained / _GB,
        optimizer_gb=trained * (_STATES[chosen.name] + chosen.amsgrad) / _GB,
        activations_gb=kept / _GB,
        images=images,
        extrapolated=extrapolated,
    )


def _kept_bytes(training_step: nn.Module, sample: Sample) -> int:
    """The bytes that a step saves for its gradient, weights left out, each storage once."""
    device = next(training_step.parameters()).device
    seen = {StorageWeakRef(item.untyped_storage()) for item in training_step.parameters()}
    kept = 0

    def count(tensor: Tensor) -> None:
        nonlocal kept
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)  # as long as it lives, no other gets its address
        if reference not in seen:
            seen.add(reference)
            kept += storage.nbytes()

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda _: torch.empty(0)):
        training_step(step=0, **vars(sample.to(device)))
    return kept


def _samples(settings: TrainSettings, model: nn.Module) -> list[Sample]:
    """A batch of one image of each data set of a mixture, or of the only one."""
    data, recipe = settings.data, settings.recipe
    train_set = open_training_set(data, needs_depth=recipe.needs_depth, model=model)
    stream = SampleStream(train_set, open_augmentation(data, train_set), 0, 1)
    parts = len(data.train.options.get('datasets', [None]))
    return list(batches(stream, first_step=0, steps=parts, rank=0, world_size=1, workers=0))


def _repeated(sample: Sample, images: int) -> Sample:
    """The sample so many times, on no device."""
    moved: dict[str, Any] = {
        name: torch.empty((images, *value.shape[1:]), dtype=value.dtype, device='meta')
        if isinstance(value, Tensor)
        else value
        for name, value in vars(sample).items()
    }
    return Sample(**moved | {'key': (*sample.key,) * images})


def _without_files(settings: TrainSettings) -> TrainSettings:
    """The same settings with rendered images and without weights to start from."""
    recipe = settings.recipe
    absent: dict[str, Any] = {
        item.name: None
        for item in dataclasses.fields(recipe)
        if isinstance(getattr(recipe, item.name), Path)
    }
    absent |= {
        item.name: False for item in dataclasses.fields(recipe) if item.name.endswith('pretrained')
    }
    options = settings.model.options
    options = options | {key: WEIGHT_OPTIONS[key] for key in options if key in WEIGHT_OPTIONS}
    data = settings.data
    return dataclasses.replace(
        settings,
        model=dataclasses.replace(settings.model, weights=None, options=options),
        recipe=dataclasses.replace(recipe, **absent),
        data=dataclasses.replace(data, train=_rendered(settings), cache=None, workers=0),
    )


def _rendered(settings: TrainSettings) -> DatasetSettings:
    """Rendered images in the place of the data set, or of each in a mixture."""
    train = settings.data.train
    options: dict[str, Any] = {'seed': 1, 'length': 1}
    if count := getattr(settings.recipe, 'neighbours', 0):
        options['neighbours'] = [-1, 1, -2, 2][:count]
    if train.name != 'mix':
        return DatasetSettings(name='synthetic', options=options)
    own = ('height', 'width', 'augmentation', 'domain')
    parts = [
        {key: part[key] for key in own if key in part} | {'name': 'synthetic', 'options': options}
        for part in train.options['datasets']
    ]
    return DatasetSettings(name='mix', options={'datasets': parts})


def _bytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()


def _bytes_of(module: nn.Module) -> int:
    return sum(_bytes(item) for item in (*module.parameters(), *module.buffers()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = 'python -m depth_core.train.gpu_memory'
    settings = parse(
        given,
        command=command,
        purpose='Say how much memory a training takes on each GPU (trainer.devices of them).',
    )
    if not values_of('config', given):
        message = f'no configuration is given; try {command} --config config/train/….yaml.'
        raise ConfigError(message)
    logging.disable(logging.INFO)
    gpus = settings.trainer.devices
    need = memory_need(settings, gpus=1 if gpus == 'auto' else gpus)
    sys.stdout.write(f'{describe(need)}\n')


def describe(need: MemoryNeed) -> str:
    """The need in lines."""
    how = ', counted on one' if need.extrapolated else ''
    return '\n'.join(
        (
            f'{need.total_gb:6.1f} GB on each GPU at least, computed, not measured; of it',
            f'{need.weights_gb:6.1f} GB weights',
            f'{need.gradients_gb:6.1f} GB gradients',
            f'{need.optimizer_gb:6.1f} GB state of the optimizer',
            f'{need.activations_gb:6.1f} GB kept for the gradient of {need.images} image(s){how}',
        )
    )


if __name__ == '__main__':
    run_command(main)
