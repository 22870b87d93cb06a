# SPDX-License-Identifier: Apache-2.0
"""Where a run computes: device, arithmetic, threads and processes."""

from __future__ import annotations

import os
from typing import Any, Final, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy

from depth_core.errors import ConfigError
from depth_core.train.settings import TrainerSettings

_MIXED: Final[dict[str, Literal['bf16-mixed', '16-mixed']]] = {
    'bf16': 'bf16-mixed',
    'fp16': '16-mixed',
}
_MASK: Final = (1 << 63) - 1


class _Mixed(MixedPrecision):
    """Autocast, and for fp16 a scale of the loss, on the CPU too."""

    def convert_input(self, data: Any) -> Any:  # noqa: ANN401  as Fabric declares it
        """Leave samples as they are: true depth in bf16 would be wrong by up to 0.4 %."""
        return data


def open_fabric(trainer: TrainerSettings, *, partial: bool = False) -> Fabric:
    """Join the processes torchrun started, or be the only one.

    Args:
        trainer: Where to compute.
        partial: Whether a step may leave trainable weights without a gradient.

    Raises:
        ConfigError: There is no GPU, too few of them, or processes and batch do not fit.
    """
    world, here = _processes(trainer)
    shares = world * trainer.gradient_accumulation
    if trainer.batch_size % shares:
        message = (
            f'trainer.batch_size is {trainer.batch_size} images over all processes, which '
            f'{world} processes cannot share evenly in {trainer.gradient_accumulation} parts '
            f'(trainer.gradient_accumulation); give a multiple of {shares}.'
        )
        raise ConfigError(message)
    accelerator = _accelerator(trainer, here)
    if trainer.threads is not None:
        torch.set_num_threads(trainer.threads)
    if trainer.precision == 'tf32':
        torch.set_float32_matmul_precision('high')
    if trainer.deterministic:
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        torch.use_deterministic_algorithms(mode=True)
    mixed = _MIXED.get(trainer.precision)
    fabric = Fabric(
        accelerator=accelerator,
        devices=here,
        num_nodes=world // here,
        strategy=DDPStrategy(find_unused_parameters=partial) if world > 1 else 'auto',
        plugins=None if mixed is None else _Mixed(mixed, accelerator),
    )
    fabric.launch()
    return fabric


def open_device(trainer: TrainerSettings) -> torch.device:
    """Choose where one process computes between trainings, by the same settings.

    Raises:
        ConfigError: As `open_fabric`.
    """
    _, here = _processes(trainer)
    if trainer.threads is not None:
        torch.set_num_threads(trainer.threads)
    if _accelerator(trainer, here) == 'cpu':
        return torch.device('cpu')
    return torch.device('cuda', int(os.environ.get('LOCAL_RANK', '0')))


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of those torchrun started."""
    return int(os.environ.get('RANK', '0')) == 0


def seed_of(*parts: int) -> int:
    """Mix numbers (a seed, a step, a rank) into one seed, well spread for neighbouring ones."""
    mixed = 0
    for part in parts:
        mixed = (mixed ^ (part + 0x9E3779B97F4A7C15)) & _MASK
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
        mixed ^= mixed >> 31
    return mixed


def _processes(trainer: TrainerSettings) -> tuple[int, int]:
    """Processes in all and on this machine."""
    world = int(os.environ.get('WORLD_SIZE', '1'))
    here = int(os.environ.get('LOCAL_WORLD_SIZE', str(world)))
    if trainer.devices not in ('auto', here):
        message = (
            f'trainer.devices is {trainer.devices}, but {here} process(es) run on this machine; '
            f'start with torchrun --nproc_per_node {trainer.devices} -m depth_core.train, or '
            'leave trainer.devices out.'
        )
        raise ConfigError(message)
    return world, here


def _accelerator(trainer: TrainerSettings, here: int) -> Literal['cpu', 'cuda']:
    if trainer.accelerator == 'cpu' or (
        trainer.accelerator == 'auto' and not torch.cuda.is_available()
    ):
        return 'cpu'
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < here:
        message = (
            f'trainer.accelerator is {trainer.accelerator} with {here} process(es) here, but '
            f'torch finds {found} CUDA GPU(s); start fewer processes, install a CUDA build of '
            'torch, or give --trainer.accelerator cpu.'
        )
        raise ConfigError(message)
    return 'cuda'
