# SPDX-License-Identifier: Apache-2.0
"""Settings of the run: its length, where it computes, what it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from depth_core.train.settings.checks import at_least

USUAL_METRIC: Final = 'abs_rel'
"""The metric that best.ckpt is chosen by where none is named."""


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """The run."""

    max_steps: int
    """Optimizer steps in all, those before a resume included."""
    batch_size: int
    """Images in a step, over all processes together."""
    gradient_accumulation: int = 1
    """Parts a batch is worked through one after another, for less memory; the gradient is the
    mean over the parts, and batch norm sees one part at a time."""
    accelerator: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Where to compute; auto = a CUDA GPU when there is one, else the CPU."""
    devices: int | Literal['auto'] = 'auto'
    """Processes on this machine, each with its GPU; auto = 1, or as many as torchrun started.
    More than one needs torchrun --nproc_per_node N -m depth_core.train."""
    precision: Literal['fp32', 'tf32', 'bf16', 'fp16'] = 'fp32'
    """Arithmetic: fp32; tf32 = faster matrix products on recent GPUs; bf16 = mixed; fp16 = mixed
    with a scaled loss, for GPUs without bf16 (Turing, Volta)."""
    compile: bool = False
    """Compile the network with torch.compile; where that fails, one warning, and it runs as it
    is. The first steps take minutes."""
    activation_checkpointing: bool = False
    """Keep only what enters each block of the network, and compute the block again for the
    gradient: much less memory for about a third more time, and the same numbers."""
    channels_last: bool = True
    """Keep images in NHWC order in memory, usually the faster order for convolutions."""
    deterministic: bool = False
    """Refuse GPU kernels whose result depends on timing; on the CPU runs are exact anyway."""
    threads: int | None = None
    """CPU threads of each process; none = as torch finds best."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and their augmentation."""
    run_dir: Path | None = None
    """Folder of the run; none = runs/<model>-<date>-<time> (UTC)."""
    resume: Literal['last'] | Path | None = None
    """Checkpoint whose run is continued exactly; last = checkpoints/last.ckpt of run_dir."""
    checkpoint_every_steps: int = 1000
    """Steps between checkpoints; one is always written at the end."""
    keep_checkpoints: int = 2
    """How many step-*.ckpt files stay, newest first; last.ckpt and best.ckpt are extra."""
    validate_every_steps: int = 1000
    """Steps between validations; one is always made at the end. 0 = only at the end."""
    validate_first: bool = False
    """Validate before the first step too, to see what fine-tuning began with; best.ckpt is of
    later ones."""
    log_every_steps: int = 20
    """Steps between entries in training.jsonl and the loggers."""
    loggers: list[Literal['tensorboard', 'wandb', 'mlflow']] = field(
        default_factory=lambda: ['tensorboard']
    )
    """What shows the run beside training.jsonl and metrics.json: tensorboard; wandb and mlflow,
    each in a folder of run_dir, which need pip install 'depth_ros[wandb]' or 'depth_ros[mlflow]';
    [] for none."""
    project: str = 'depth_core'
    """Name of the project of Weights & Biases and of the experiment of MLflow."""
    wandb_mode: Literal['offline', 'online'] = 'offline'
    """offline = nothing leaves this machine, wandb sync uploads it later; online = at once."""
    mlflow_uri: str | None = None
    """Where MLflow keeps the run: a server (http:// or https://), a folder (file:///absolute) or a
    data base (sqlite:///file); none = the folder mlruns of run_dir."""
    images_logged: int = 4
    """Images drawn for the loggers at each validation, and of those trained on."""
    draw_training_every_steps: int = 1000
    """Steps between pictures of images trained on, augmented, with truth and prediction; 0 =
    none."""
    patience: int | None = None
    """Stop early after so many validations in a row without a better one (best_metric); none =
    train all steps. best.ckpt has the best weights."""
    best_metric: Literal['abs_rel', 'a1', 'rmse'] = USUAL_METRIC
    """Metric of depth on the held-out images that best.ckpt is the best in: AbsRel, delta1 or
    RMSE. The recipes semantic (mIoU) and embedding (accuracy, L1) each have one score of their
    own."""


def trainer_problems(trainer: TrainerSettings) -> list[str]:
    """Say which settings of the run contradict each other."""
    problems = at_least(
        1,
        {
            'trainer.max_steps': trainer.max_steps,
            'trainer.batch_size': trainer.batch_size,
            'trainer.gradient_accumulation': trainer.gradient_accumulation,
            'trainer.checkpoint_every_steps': trainer.checkpoint_every_steps,
            'trainer.keep_checkpoints': trainer.keep_checkpoints,
            'trainer.log_every_steps': trainer.log_every_steps,
            'trainer.threads': trainer.threads,
            'trainer.patience': trainer.patience,
        },
    )
    problems += at_least(
        0,
        {
            'trainer.seed': trainer.seed,
            'trainer.validate_every_steps': trainer.validate_every_steps,
            'trainer.images_logged': trainer.images_logged,
            'trainer.draw_training_every_steps': trainer.draw_training_every_steps,
        },
    )
    problems += _logger_problems(trainer)
    if trainer.resume == 'last' and trainer.run_dir is None:
        problems.append(
            'trainer.resume is last, but trainer.run_dir is not given; give the folder of the run '
            'to continue.'
        )
    if trainer.compile and trainer.activation_checkpointing:
        problems.append(
            'trainer.compile and trainer.activation_checkpointing are both true; torch.compile '
            'decides by itself what it keeps: give one of them.'
        )
    if trainer.precision == 'tf32' and trainer.accelerator == 'cpu':
        problems.append('trainer.precision is tf32, which only GPUs have; give fp32 or bf16.')
    return problems


def _logger_problems(trainer: TrainerSettings) -> list[str]:
    """Say what is set of loggers that are not asked for."""
    problems = []
    if trainer.wandb_mode == 'online' and 'wandb' not in trainer.loggers:
        problems.append(
            f'trainer.wandb_mode is online, but trainer.loggers is {trainer.loggers}; add wandb, '
            'or leave it out.'
        )
    if trainer.mlflow_uri is not None and 'mlflow' not in trainer.loggers:
        problems.append(
            f'trainer.mlflow_uri is {trainer.mlflow_uri}, but trainer.loggers is '
            f'{trainer.loggers}; add mlflow, or leave it out.'
        )
    uri = trainer.mlflow_uri
    if uri is not None and not uri.startswith(('http://', 'https://', 'file:///', 'sqlite:///')):
        problems.append(
            f'trainer.mlflow_uri is {uri}; give a server as http://127.0.0.1:5000, a folder as '
            'file:///data/mlruns, or a data base as sqlite:///mlflow.db.'
        )
    if not trainer.project.strip():
        problems.append('trainer.project is empty; give a name, or leave it out.')
    return problems
