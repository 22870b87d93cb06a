# SPDX-License-Identifier: Apache-2.0
"""Train and score the semantic network: `python -m depth_core.train.semantic [--config ….yaml]`.

Without a configuration it is trained on synthetic streets, by semantic_synthetic.yaml of this
package. The settings are those of `python -m depth_core.train`, with the recipe semantic. The loop
trains as it trains depth; held-out images are scored here, by the mean intersection over union of
the classes, and the result is written to `semantic.json` in the folder of the run.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from depth_core.data import DepthDataset
from depth_core.errors import ConfigError, DataError, run_command
from depth_core.files import write_text_atomically
from depth_core.metrics.classes import CLASS_NAMES
from depth_core.models.selfsup.semantic import SemanticNetwork
from depth_core.shipped import shipped_file
from depth_core.train.command_line import parse
from depth_core.train.datasets import open_validation_set
from depth_core.train.loop import train
from depth_core.train.recipes.semantic import SemanticRecipe, semantic_network
from depth_core.train.settings import DatasetSettings, TrainSettings
from depth_core.weights.checkpoint import load_model

_COMMAND: Final = 'python -m depth_core.train.semantic'
_DEFAULT: Final = 'config/train/semantic_synthetic.yaml'
_CONFIG: Final = '--config'


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemanticScore:
    """How well classes are told on held-out images."""

    images: int
    miou: float
    """Mean over the classes that occur of intersection over union."""
    pixel_accuracy: float
    """Share of the labelled pixels that are told right."""
    iou: dict[str, float]
    """Intersection over union of each class that occurs, by name."""


def score_of(confusion: NDArray[np.int64], *, images: int) -> SemanticScore:
    """Turn a confusion matrix into scores.

    Args:
        confusion: [C, C] pixels, by true class and told class.
        images: How many images they are of.

    Raises:
        DataError: Nothing is labelled.
    """
    true, told, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    occurs = true > 0
    if not occurs.any():
        message = (
            'no held-out image has semantic labels; take a data set that has: synthetic, or '
            'folder with semantic/<image>.png.'
        )
        raise DataError(message)
    iou = right[occurs] / (true + told - right)[occurs]
    names = [_name(index) for index in np.flatnonzero(occurs).tolist()]
    return SemanticScore(
        images=images,
        miou=float(iou.mean()),
        pixel_accuracy=float(right.sum() / true.sum()),
        iou=dict(zip(names, iou.tolist(), strict=True)),
    )


@torch.inference_mode()
def score(network: SemanticNetwork, dataset: DepthDataset) -> SemanticScore:
    """Score `network`, in eval mode and on its device, on the labelled pixels of `dataset`.

    Raises:
        DataError: An image cannot be read, or nothing is labelled.
    """
    network.eval()
    confusion = np.zeros((network.classes, network.classes), dtype=np.int64)
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.semantic is None:
            continue
        told = network(sample.image[None].to(network.mean.device))[0].argmax(dim=0).cpu()
        labelled = (sample.semantic >= 0) & (sample.semantic < network.classes)
        codes = sample.semantic[labelled] * network.classes + told[labelled]
        counts = np.bincount(codes.numpy(), minlength=network.classes**2)
        confusion += counts.reshape(confusion.shape)
    return score_of(confusion, images=len(dataset))


def train_semantic(settings: TrainSettings, *, console: Console | None = None) -> SemanticScore:
    """Train the semantic network, score it on the held-out images and write both down.

    Raises:
        ConfigError: The recipe is another one, or no held-out data is named.
        DepthError: As `depth_core.train.loop.train`.
    """
    if not isinstance(settings.recipe, SemanticRecipe):
        message = (
            f'recipe.name is {settings.recipe.name!r}; this command takes the recipe semantic. '
            'Depth is trained by python -m depth_core.train.'
        )
        raise ConfigError(message)
    held_out = open_validation_set(settings)
    if held_out is None:
        message = 'data.validation.name is not given; name a dataset to score on, as synthetic.'
        raise ConfigError(message)
    # The loop would score depth, which is not trained here.
    data = dataclasses.replace(settings.data, validation=DatasetSettings())
    run = train(dataclasses.replace(settings, data=data), console=console)
    result = score(semantic_network(load_model(run.last)), held_out)
    text = json.dumps(dataclasses.asdict(result), indent=2)
    write_text_atomically(run.path / 'semantic.json', text + '\n')
    return result


def read_settings(arguments: Sequence[str]) -> TrainSettings:
    """Read the command line; without a file the shipped one for synthetic streets is taken.

    Raises:
        ConfigError: As `depth_core.train.command_line.parse`.
    """
    given = list(arguments)
    if not any(argument.partition('=')[0] == _CONFIG for argument in given):
        given = [_CONFIG, str(shipped_file(_DEFAULT)), *given]
    return parse(
        given,
        command=_COMMAND,
        purpose='Train the semantic network of a guided depth network on labels, and report its '
        f'mIoU on held-out images. Without --config it takes {_DEFAULT}: synthetic streets.',
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the settings, train, and print the scores."""
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('depth_core').setLevel(logging.INFO)
    given = sys.argv[1:] if arguments is None else list(arguments)
    result = train_semantic(read_settings(given), console=Console(stderr=True))
    width = max(len(name) for name in result.iou)
    lines = [f'{name:{width}}  {value:.3f}' for name, value in result.iou.items()]
    sys.stdout.write(
        'intersection over union\n'
        + '\n'.join(lines)
        + f'\nmIoU {result.miou:.3f} over {len(lines)} classes, pixel accuracy '
        f'{result.pixel_accuracy:.3f}, {result.images} images\n'
    )


def _name(index: int) -> str:
    return CLASS_NAMES[index] if index < len(CLASS_NAMES) else f'class {index}'


if __name__ == '__main__':
    run_command(main)
