# SPDX-License-Identifier: Apache-2.0
"""All settings of a training run; each attribute's docstring is its `--help`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from depth_core.data.augmentations import AUGMENTATIONS
from depth_core.errors import ConfigError, unknown_name
from depth_core.train.recipes import Recipe

_USUAL_METRIC: Final = 'abs_rel'


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The network."""

    name: str
    """Name in the registry of depth_core.models, as densedepth or densedepth_small; with recipe
    embedding: heg_s or heg_r."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword options of that model; on the command line --model.options.max_depth 10."""
    weights: Path | None = None
    """Checkpoint of the same model whose weights (only) the run starts from: fine-tuning."""


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """Where samples come from."""

    name: str | None = None
    """Dataset: synthetic, kitti, nyu, folder, bag; mix = several, each batch from one in turn."""
    root: Path | None = None
    """Folder or bag it is read from; none for synthetic and mix."""
    split: str | None = None
    """Split of the dataset, where it has several."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword options of that dataset, as seed and length of synthetic; of mix datasets, a
    list of {name, root, split, options, height, width, augmentation}."""
    frames: Path | None = None
    """List of frames written by depth_core.train.infinite_depth; those it does not keep are left
    out."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Images trained on and images held out, and how they reach the network."""

    height: int
    """Rows of the images the network sees, pixels."""
    width: int
    """Columns of the images the network sees, pixels."""
    train: DatasetSettings = field(default_factory=DatasetSettings)
    """Images trained on."""
    validation: DatasetSettings = field(default_factory=DatasetSettings)
    """Images held out; without a name there is no validation."""
    canonical_focal_px: float | None = None
    """Focal length all samples are brought to, pixels of the image the network sees: their depth
    is multiplied by it and divided by their own. The network then serves any camera whose focal
    length is known; none = it learns metres as they are, for cameras like those trained on."""
    augmentation: str = 'none'
    """none; mirror = with probability 0.5; jitter = mirror, and change brightness, contrast, gamma
    and saturation by up to 20 %; strong_jitter = the same by up to 40 to 80 %, for other cameras
    than those trained on; zoom_jitter = jitter of windows that are 1 to 1/2 of the image, which
    needs canonical_focal_px; or that of the authors: densedepth, zoedepth_nyu, zoedepth_kitti,
    urcdc_nyu, urcdc_kitti, cliffnet; packnet and monodepth2 for sequences."""
    cutflip_probability: float = 0.0
    """How often an image is cut at a random row and its two parts change places (URCDC: 0.5)."""
    cache: Path | None = None
    """Folder in which samples are kept before augmentation, depth rounded by at most 0.05 %, so
    that each is made once; none = make them anew in each epoch."""
    workers: int = 0
    """Processes that load images beside the training; 0 = load in the training process. The
    images and their augmentation are the same for any number."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How gradients become steps."""

    name: Literal['adam', 'adamw', 'sgd'] = 'adamw'
    """adam (weight decay added to the gradient), adamw (decoupled), or sgd (added, too)."""
    lr: float = 1e-4
    """Peak learning rate."""
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Factors on the rate by patterns of weight names, as {'model.encoder.*': 0.1}; * is any run
    of characters, the first pattern that matches counts, others keep 1. The names of the network
    start with model., those of others trained with it by what the recipe calls them."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient, per step."""
    eps: float = 1e-8
    """Added to the denominator of the step."""
    weight_decay: float = 0.0
    """Pull of the weights to zero; biases and norm layers are exempt."""
    decay_all: bool = False
    """Let weight_decay pull at biases and norm layers too."""
    momentum: float = 0.9
    """Decay of the running mean of the gradient, per step; sgd only."""
    frozen_norm: bool = False
    """Keep statistics, scales and shifts of batch norm layers as they are before training."""
    amsgrad: bool = False
    """Divide by the largest running square seen so far."""
    clip_norm: float | None = None
    """Longest gradient (2-norm over all weights) a step may use; none = any."""
    ema_decay: float | None = None
    """Decay per step of an average of the weights, which is then what is validated and what the
    checkpoint predicts with; none = the weights of the last step."""


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The learning rate over the steps."""

    name: Literal['constant', 'cosine', 'onecycle', 'polynomial', 'step'] = 'constant'
    """constant; cosine = from the peak down along half a cosine; onecycle = cosine up during the
    warm-up, cosine down after it, as OneCycleLR of torch; polynomial = down to final_factor as
    (1 - share gone) ^ power; step = times gamma at each milestone."""
    warmup_steps: int = 0
    """Steps in which the rate rises to its peak (linearly, or as a cosine for onecycle)."""
    final_factor: float = 0.01
    """Rate at the end of cosine, onecycle and polynomial, as a fraction of the peak."""
    div_factor: float = 25.0
    """onecycle starts at the peak divided by this; 1 = no warm-up of the rate."""
    cycled_momentum: tuple[float, float] | None = None
    """Lowest and highest momentum (beta1 of adam and adamw) of onecycle, the lowest where the
    rate is highest; none = constant."""
    power: float = 0.9
    """Exponent of polynomial."""
    milestones: list[int] = field(default_factory=list)
    """Steps done when step multiplies the rate by gamma, each time once more."""
    gamma: float = 0.1
    """Factor of step."""
    reload_best: bool = False
    """At each milestone of step, go on from the weights and the optimizer state of the best
    validation so far."""
    steps: int | None = None
    """Length of the schedule, steps; none = trainer.max_steps."""

    @property
    def has_end(self) -> bool:
        """Whether the rate depends on how long the schedule is."""
        return self.name not in {'constant', 'step'}


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
    precision: Literal['fp32', 'tf32', 'bf16'] = 'fp32'
    """Arithmetic: fp32; tf32 = faster matrix products on recent GPUs; bf16 = mixed."""
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
    log_every_steps: int = 20
    """Steps between entries in TensorBoard."""
    images_logged: int = 4
    """Held-out images drawn in TensorBoard at each validation."""
    best_metric: Literal['abs_rel', 'a1', 'rmse'] = _USUAL_METRIC
    """Metric of depth on the held-out images that best.ckpt is the best in: AbsRel, delta1 or
    RMSE. The recipes semantic (mIoU) and embedding (accuracy, L1) each have one score of their
    own."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A whole configuration file."""

    model: ModelSettings
    data: DataSettings
    recipe: Recipe[Any]
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    trainer: TrainerSettings

    def __post_init__(self) -> None:
        problems = [*_data_problems(self), *_optimizer_problems(self), *_trainer_problems(self)]
        if problems:
            raise ConfigError('these settings cannot be used:\n  ' + '\n  '.join(problems))

    @property
    def schedule_steps(self) -> int:
        """Length of the learning rate schedule, steps."""
        return self.schedule.steps or self.trainer.max_steps


def _at_least(minimum: float, values: dict[str, float | None]) -> list[str]:
    return [
        f'{key} is {value}; give at least {minimum}.'
        for key, value in values.items()
        if value is not None and not value >= minimum
    ]


def _data_problems(settings: TrainSettings) -> list[str]:
    data = settings.data
    problems = _at_least(1, {'data.height': data.height, 'data.width': data.width})
    problems += _at_least(0, {'data.workers': data.workers})
    if data.augmentation not in AUGMENTATIONS:
        problems.append(unknown_name('data.augmentation', data.augmentation, AUGMENTATIONS))
    if not 0.0 <= data.cutflip_probability <= 1.0:
        problems.append(
            f'data.cutflip_probability is {data.cutflip_probability}; give a number in [0, 1].'
        )
    focal_px = data.canonical_focal_px
    if focal_px is not None and not 0.0 < focal_px < math.inf:
        problems.append(
            f'data.canonical_focal_px is {focal_px}; give a number of pixels above 0, about the '
            'width of the images, or leave it out.'
        )
    if data.train.name is None:
        problems.append('data.train.name is not given; name a dataset, as synthetic.')
    if data.validation.name is not None and data.validation == data.train:
        problems.append(
            'data.validation is the same as data.train, so that nothing is held out; give it '
            'another split, or another options.seed when synthetic.'
        )
    return problems


def _optimizer_problems(settings: TrainSettings) -> list[str]:
    optimizer, schedule = settings.optimizer, settings.schedule
    problems = _at_least(
        0,
        {
            'optimizer.weight_decay': optimizer.weight_decay,
            'schedule.warmup_steps': schedule.warmup_steps,
        },
    )
    problems += [
        f'{key} is {value}; give more than 0.'
        for key, value in (
            ('optimizer.lr', optimizer.lr),
            ('optimizer.clip_norm', optimizer.clip_norm),
            ('schedule.div_factor', schedule.div_factor),
            ('schedule.power', schedule.power),
            ('schedule.gamma', schedule.gamma),
            *(
                (f'optimizer.lr_factors {key!r}', item)
                for key, item in optimizer.lr_factors.items()
            ),
        )
        if value is not None and not value > 0.0
    ]
    problems += [
        f'{key} is {value}; give a number in [0, 1).'
        for key, value in (
            ('optimizer.betas[0]', optimizer.betas[0]),
            ('optimizer.betas[1]', optimizer.betas[1]),
            ('optimizer.momentum', optimizer.momentum),
            ('optimizer.ema_decay', optimizer.ema_decay),
            *(
                (f'schedule.cycled_momentum[{place}]', item)
                for place, item in enumerate(schedule.cycled_momentum or ())
            ),
        )
        if value is not None and not 0.0 <= value < 1.0
    ]
    if schedule.steps is not None and schedule.steps < 1:
        problems.append(f'schedule.steps is {schedule.steps}; give at least 1, or leave it out.')
    elif schedule.has_end and schedule.warmup_steps >= settings.schedule_steps:
        problems.append(
            f'schedule.warmup_steps is {schedule.warmup_steps}, but the whole {schedule.name} '
            f'schedule has {settings.schedule_steps} steps; give fewer warm-up steps, or the '
            'length of the whole schedule as schedule.steps: a run may stop before its end.'
        )
    return problems + _schedule_problems(settings)


def _schedule_problems(settings: TrainSettings) -> list[str]:
    schedule, every = settings.schedule, settings.trainer.validate_every_steps
    problems = []
    if schedule.cycled_momentum is not None and schedule.name != 'onecycle':
        problems.append(
            f'schedule.cycled_momentum is given, but schedule.name is {schedule.name}; only '
            'onecycle cycles it.'
        )
    if (schedule.name == 'step') != bool(schedule.milestones):
        problems.append(
            f'schedule.milestones is {schedule.milestones} and schedule.name is {schedule.name}; '
            'step needs milestones, and nothing else has them.'
        )
    if any(step < 1 for step in schedule.milestones):
        problems.append(f'schedule.milestones is {schedule.milestones}; give steps of at least 1.')
    if schedule.reload_best and not (
        schedule.milestones
        and settings.data.validation.name is not None
        and 0 < every <= min(schedule.milestones)
    ):
        problems.append(
            'schedule.reload_best needs a best validation at each milestone; give schedule.name '
            'step, data.validation, and trainer.validate_every_steps not above the first one.'
        )
    return problems


def _trainer_problems(settings: TrainSettings) -> list[str]:
    trainer = settings.trainer
    problems = _at_least(
        1,
        {
            'trainer.max_steps': trainer.max_steps,
            'trainer.batch_size': trainer.batch_size,
            'trainer.gradient_accumulation': trainer.gradient_accumulation,
            'trainer.checkpoint_every_steps': trainer.checkpoint_every_steps,
            'trainer.keep_checkpoints': trainer.keep_checkpoints,
            'trainer.log_every_steps': trainer.log_every_steps,
            'trainer.threads': trainer.threads,
        },
    )
    problems += _at_least(
        0,
        {
            'trainer.seed': trainer.seed,
            'trainer.validate_every_steps': trainer.validate_every_steps,
            'trainer.images_logged': trainer.images_logged,
        },
    )
    if trainer.resume == 'last' and trainer.run_dir is None:
        problems.append(
            'trainer.resume is last, but trainer.run_dir is not given; give the folder of the run '
            'to continue.'
        )
    if trainer.resume is not None and settings.model.weights is not None:
        problems.append(
            'trainer.resume and model.weights both say where weights come from; resume continues '
            'a run, model.weights starts a new one: give one of them.'
        )
    if not settings.recipe.best_metrics and trainer.best_metric != _USUAL_METRIC:
        problems.append(
            f'trainer.best_metric is {trainer.best_metric}, a metric of depth, and recipe '
            f'{settings.recipe.name} has one score of its own; leave it out.'
        )
    if trainer.precision == 'tf32' and trainer.accelerator == 'cpu':
        problems.append('trainer.precision is tf32, which only GPUs have; give fp32 or bf16.')
    return problems
