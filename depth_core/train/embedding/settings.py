# SPDX-License-Identifier: Apache-2.0
"""Everything the training of an embedding network can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from depth_core.errors import ConfigError
from depth_core.train.settings import DatasetSettings
from depth_core.weights.embedding_file import EmbeddingKind


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """A whole configuration file; each attribute's docstring is its `--help`."""

    kind: EmbeddingKind
    """heg_s = tell the scene class from a depth map, on data that knows it (synthetic);
    heg_r = give the depth map back, on any data."""
    run_dir: Path
    """Folder of the run."""
    height: int
    """Rows of the depth maps, pixels; a multiple of 4 for heg_r."""
    width: int
    """Columns of the depth maps, pixels; a multiple of 4 for heg_r."""
    train: DatasetSettings = field(default_factory=DatasetSettings)
    """Depth maps trained on."""
    validation: DatasetSettings = field(default_factory=DatasetSettings)
    """Depth maps held out."""
    max_depth_m: float = 80.0
    """Depth beyond it, and sky, count as this, metres."""
    cache: Path | None = None
    """Folder in which samples are kept, so that each is made once; none = make them anew."""
    workers: int = 0
    """Processes that load depth maps beside the training; the result is the same for any."""
    max_steps: int = 2000
    """Optimizer steps in all."""
    batch_size: int = 32
    """Depth maps in a step."""
    lr: float = 1e-3
    """Peak learning rate of Adam; it falls to 0 along half a cosine."""
    weight_decay: float = 0.0
    """Added to the gradient of convolutions and of the classifier."""
    norm_frozen_from: float = 0.5
    """Share of the run after which batch norm layers go on with the statistics they have, as they
    will in the loss; before, a map is seen relative to the other maps of its batch. 1 = never."""
    seed: int = 0
    """Seed of the initial weights, the order of the maps and their mirroring."""
    threads: int | None = None
    """CPU threads; none = as torch finds best."""
    resume: bool = False
    """Go on exactly from checkpoints/last.ckpt of run_dir."""
    checkpoint_every_steps: int = 500
    """Steps between checkpoints; one is always written at the end."""
    validate_every_steps: int = 500
    """Steps between validations; one is always made at the end."""
    log_every_steps: int = 50
    """Steps between lines and entries in TensorBoard."""

    def __post_init__(self) -> None:
        problems = [
            f'{key} is {value}; give at least {least}.'
            for key, least in _LEAST.items()
            if (value := getattr(self, key)) is not None and not value >= least
        ]
        problems += [
            f'{key} is {getattr(self, key)}; give more than 0.'
            for key in ('lr', 'max_depth_m')
            if not getattr(self, key) > 0.0
        ]
        if not 0.0 <= self.norm_frozen_from <= 1.0:
            problems.append(
                f'norm_frozen_from is {self.norm_frozen_from}; give a share of the run, 0 to 1.'
            )
        if self.kind == 'heg_r' and (self.height % _DIVISOR or self.width % _DIVISOR):
            problems.append(
                f'height x width is {self.height}x{self.width}, which a heg_r cannot give back; '
                f'give multiples of {_DIVISOR}.'
            )
        problems += [
            f'{key}.name is not given; name a dataset, as synthetic.'
            for key, dataset in (('train', self.train), ('validation', self.validation))
            if dataset.name is None
        ]
        problems += [
            f'{key}.frames is {dataset.frames}; lists of frames are for sequences, and depth maps '
            'are learnt one by one: leave it out.'
            for key, dataset in (('train', self.train), ('validation', self.validation))
            if dataset.frames is not None
        ]
        if self.train == self.validation:
            problems.append(
                'validation is the same as train, so that nothing is held out; give it another '
                'split, or another options.seed when synthetic.'
            )
        if problems:
            raise ConfigError('these settings cannot be used:\n  ' + '\n  '.join(problems))


_DIVISOR = 4
_LEAST = {
    'height': 1,
    'width': 1,
    'workers': 0,
    'max_steps': 1,
    'batch_size': 2,  # batch norm
    'weight_decay': 0,
    'seed': 0,
    'threads': 1,
    'checkpoint_every_steps': 1,
    'validate_every_steps': 1,
    'log_every_steps': 1,
}
