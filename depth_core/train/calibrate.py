# SPDX-License-Identifier: Apache-2.0
"""Correct the sigma of a trained network on held-out images.

The command `python -m depth_core.train.calibrate`. What is stated as confidence, the probability
that the true depth is within a factor of 1.25 of the prediction, is to come true. Two numbers are
fitted (`SigmaCalibration`): those under which what was seen, pixel by pixel within the factor or
not, is most likely. They go with the checkpoint into the exported graph. Depth does not change.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from depth_core.arguments import CommandParser, count
from depth_core.contracts import CONFIDENCE_FACTOR, DepthKind, SigmaCalibration
from depth_core.data.sample import DepthDataset, collate
from depth_core.errors import CheckpointError, ConfigError, DataError, run_command
from depth_core.metrics import CalibrationMetrics
from depth_core.metrics.sigma_fit import Seen, fit
from depth_core.models.base import DepthModel
from depth_core.names import show_log
from depth_core.train.command_line import parse as parse_settings
from depth_core.train.datasets import open_validation_set
from depth_core.train.recipes.depth import in_metres
from depth_core.train.settings import DataSettings
from depth_core.weights.checkpoint import load_model, read_checkpoint, save_model

_LOG: Final = logging.getLogger(__name__)
_PIXELS: Final = 2000
"""Pixels taken of each image: neighbours say the same."""


@torch.inference_mode()
def look(model: DepthModel, dataset: DepthDataset, *, images: int) -> Seen:
    """Run `model` on the first `images` held-out images, by the metres it states.

    Depth up to scale is scaled to the median of each image first.

    Raises:
        DataError: No pixel has depth that the network can state.
    """
    relative, ratio = [], []
    for index in range(min(images, len(dataset))):
        sample = collate([dataset[index]])
        depth, sigma, metres = in_metres(model(sample.image), sample, model.spec)
        target = sample.depth_m[0]
        usable = sample.valid[0] & torch.isfinite(target) & (target > 0.0)
        if model.spec.kind is not DepthKind.UP_TO_SCALE:
            low, high = (
                float(metres[0]) * x for x in (model.spec.min_depth, model.spec.max_depth)
            )
            usable &= (target > low) & (target < high)
        chosen = usable.flatten().nonzero().squeeze(1)
        if len(chosen) == 0:
            continue
        drawn = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(index))
        chosen = chosen[drawn[:_PIXELS]]
        d, s, t = (x.flatten()[chosen].float() for x in (depth[0], sigma[0], target))
        scale = (t / d).median() if model.spec.kind is DepthKind.UP_TO_SCALE else 1.0
        relative.append((s / d).numpy())
        ratio.append((t / (scale * d)).numpy())
    if not relative:
        message = 'no held-out pixel has depth within the range of the network; give other images.'
        raise DataError(message)
    return Seen(np.concatenate(relative), np.concatenate(ratio))


def calibrate(
    checkpoint: Path, output: Path, *, config: Path | None = None, images: int = 200
) -> tuple[SigmaCalibration, CalibrationMetrics, CalibrationMetrics]:
    """Write `checkpoint` to `output` with a calibration of its sigma.

    Args:
        checkpoint: A trained depth network.
        output: What is written; the state to resume training from is left out.
        config: Configuration whose `data.validation` is looked at; None = that of the checkpoint.
        images: How many of them.

    Returns:
        The calibration, and how well the confidence came true before and after, on these images.

    Raises:
        ConfigError: The configuration names no held-out images.
        CheckpointError: The checkpoint states none, or is not one of a depth network.
    """
    model = load_model(checkpoint)
    model.spec = dataclasses.replace(model.spec, sigma_calibration=SigmaCalibration())
    provenance = dict(read_checkpoint(checkpoint).provenance or {})
    data = _data_of(checkpoint) if config is None else _read(config)
    held_out = open_validation_set(data, needs_depth=True, model=model)
    if held_out is None:
        message = (
            'the configuration has no data.validation, and confidence is measured on held-out '
            'images; name some by --config.'
        )
        raise ConfigError(message)
    seen = look(model, held_out, images=images)
    found = fit(seen)
    before, after = seen.metrics(SigmaCalibration()), seen.metrics(found)
    model.spec = dataclasses.replace(model.spec, sigma_calibration=found)
    provenance.pop('sigma_calibration', None)
    provenance['calibration'] = {
        'images': min(images, len(held_out)),
        'error_before': before.calibration_error,
        'error_after': after.calibration_error,
    }
    save_model(output, model, provenance=provenance)
    return found, before, after


def _read(config: Path) -> DataSettings:
    return parse_settings(['--config', str(config)]).data


def _data_of(checkpoint: Path) -> DataSettings:
    settings = checkpoint.parent.parent / 'settings.yaml'
    if not settings.is_file():
        message = (
            f'{checkpoint} does not stand in the folder of its run (no {settings}), so that the '
            'images held out are not known; give --config.'
        )
        raise CheckpointError(message)
    return _read(settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, calibrate, and say what came of it."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    show_log(logging.INFO)
    found, before, after = calibrate(
        options.checkpoint, options.output, config=options.config, images=options.images
    )
    _LOG.info(
        '%s: sigma / depth becomes %.3f (sigma / depth) ^ %.3f; within a factor of %.2f stated '
        '%.3f, then %.3f, observed %.3f; calibration error %.3f, then %.3f',
        options.output, found.factor, found.power, CONFIDENCE_FACTOR, before.expected_within,
        after.expected_within, after.observed_within, before.calibration_error,
        after.calibration_error,
    )  # fmt: skip


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: An argument is unknown, missing or malformed.
    """
    parser = CommandParser(
        prog='python -m depth_core.train.calibrate',
        description='Correct the sigma of a trained network on held-out images, so that the '
        'stated confidence comes true. Depth does not change.',
    )
    add = parser.add_argument
    add('--checkpoint', type=Path, required=True, help='checkpoint of a depth network (.ckpt)')
    add('--output', type=Path, required=True, help='checkpoint to write, for depth_core.export')
    add('--config', type=Path, help='its data.validation is looked at; that of the run by default')
    add('--images', type=count, default=200, help='how many of the images held out')
    return parser.parse_command(arguments)


if __name__ == '__main__':
    run_command(main)
