# SPDX-License-Identifier: Apache-2.0
"""How a network trained on one camera does on others, with and without canonical focal length.

    python -m depth_core.train --config test/benchmarks/cameras/metric.yaml
    python -m depth_core.train --config test/benchmarks/cameras/canonical.yaml
    python -m test.benchmarks.focal_lengths

The trainings take about six minutes of one CPU core each, this a few. Both networks see the same
held-out scenes through every camera at the size and shape of its images, about as many pixels as
they were trained on; the metric one also as it would be served without keeping the aspect.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import cv2
import numpy as np
import torch

from depth_core.contracts import DepthMap, Float32Array, Intrinsics, Uint8Array
from depth_core.data.synthetic import SyntheticDataset
from depth_core.evaluate import evaluate_dataset
from depth_core.files import write_text_atomically
from depth_core.metrics import find_protocol
from depth_core.models.base import DepthModel
from depth_core.models.serving import ServingGraph
from depth_core.train.command_line import parse
from depth_core.weights.checkpoint import load_model

FOLDER: Final = Path(__file__).parent / 'cameras'
RESULT: Final = Path(__file__).resolve().parents[2] / 'docs' / 'results' / 'focal_lengths.json'
VIEWS_DEG: Final = (50.0, 70.0, 90.0, 110.0)
SHAPES: Final[Mapping[str, tuple[int, int]]] = {
    '4:3': (96, 128),
    '16:9': (96, 160),
    '3.3:1': (64, 192),
}
"""(height, width) of images of each aspect, about as near as multiples of 32 come."""
TRAINED: Final = (70.0, '4:3')
SEED: Final = 1_000_000
RANGE_M: Final = (1.0, 40.0)
"""Depths that are scored: those that both networks can state through every camera."""


@dataclass(frozen=True)
class AtImageSize:
    """A network run at the size of each image, which it takes."""

    model: DepthModel

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        """Depth in metres."""
        assert intrinsics is not None
        with torch.inference_mode():
            depth, sigma = ServingGraph(self.model)(torch.from_numpy(image)[None])
        canonical_px = self.model.spec.canonical_focal_px
        mean_px = (intrinsics.fx_px + intrinsics.fy_px) / 2.0
        factor = 1.0 if canonical_px is None else mean_px / canonical_px
        return DepthMap(depth_m=depth[0].numpy() * factor, sigma_m=sigma[0].numpy() * factor)


@dataclass(frozen=True)
class Stretched(AtImageSize):
    """The same with every image stretched to the size of the training, and back."""

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        """Depth in metres."""
        height, width = SHAPES[TRAINED[1]]
        pixels = np.empty((height, width, 3), np.uint8)
        cv2.resize(image, (width, height), dst=pixels, interpolation=cv2.INTER_AREA)
        answer = super().predict(pixels, intrinsics)
        size = image.shape[1], image.shape[0]

        def back(plane: Float32Array) -> Float32Array:
            return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.float32)

        return DepthMap(depth_m=back(answer.depth_m), sigma_m=back(answer.sigma_m))


Network = Callable[[DepthModel], AtImageSize]
COLUMNS: Final[Mapping[str, tuple[str, Network]]] = {
    'canonical': ('canonical', AtImageSize),
    'metric': ('metric', AtImageSize),
    'metric_stretched': ('metric', Stretched),
}
"""Each column of the table: which network, and how it is run."""


def measure(checkpoints: Mapping[str, Path], images: int) -> dict[str, Any]:
    """Score both networks through every camera."""
    models = {name: load_model(path) for name, path in checkpoints.items()}
    protocol = find_protocol('none', min_depth_m=RANGE_M[0], max_depth_m=RANGE_M[1])
    cameras = []
    for shape, (height, width) in SHAPES.items():
        for view_deg in VIEWS_DEG:
            dataset = SyntheticDataset(
                seed=SEED, length=images, height=height, width=width, hfov_deg=view_deg
            )
            row: dict[str, Any] = {
                'hfov_deg': view_deg,
                'aspect': shape,
                'height': height,
                'width': width,
                'focal_px': round(float(dataset[0].intrinsics[0, 0]), 2),
                'trained_on': (view_deg, shape) == TRAINED,
            }
            for column, (name, kind) in COLUMNS.items():
                run = evaluate_dataset(kind(models[name]), dataset, protocol=protocol, panels=0)
                assert run.evaluation.mean is not None
                row[column] = round(run.evaluation.mean.abs_rel, 4)
            print(row, flush=True)
            cameras.append(row)
    return {
        'images': images,
        'seed': SEED,
        'range_m': RANGE_M,
        'training': {name: training_of(name) for name in checkpoints},
        'cameras': cameras,
        **summary(cameras),
    }


def training_of(name: str) -> dict[str, Any]:
    """What the two trainings have in common, and what not."""
    settings = parse(['--config', str(FOLDER / f'{name}.yaml')])
    return {
        'steps': settings.trainer.max_steps,
        'batch_size': settings.trainer.batch_size,
        'scenes': settings.data.train.options['length'],
        'hfov_deg': settings.data.train.options['hfov_deg'],
        'augmentation': settings.data.augmentation,
        'canonical_focal_px': settings.data.canonical_focal_px,
    }


def summary(cameras: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the cameras that no network was trained on, and how much less is wrong."""
    others = [camera for camera in cameras if not camera['trained_on']]
    means = {column: round(fmean(camera[column] for camera in others), 4) for column in COLUMNS}
    best = min(means['metric'], means['metric_stretched'])
    return {'mean_of_others': means, 'less_error': round(1.0 - means['canonical'] / best, 3)}


def table(result: Mapping[str, Any]) -> str:
    """The result as a table of Markdown, for docs/training.md."""
    lines = [
        '| aspect | view | focal length | canonical | metric | metric, stretched |',
        '|---|---|---|---|---|---|',
    ]
    for camera in result['cameras']:
        name = f'{camera["hfov_deg"]:g}°' + (' (trained on)' if camera['trained_on'] else '')
        scores = ' | '.join(f'{camera[column]:.3f}' for column in COLUMNS)
        lines.append(f'| {camera["aspect"]} | {name} | {camera["focal_px"]:.0f} px | {scores} |')
    means = ' | '.join(f'{result["mean_of_others"][column]:.3f}' for column in COLUMNS)
    lines.append(f'| mean of the others | | | {means} |')
    return '\n'.join(lines)


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ('canonical', 'metric'):
        default = Path(f'runs/focal_lengths_{name}/checkpoints/last.ckpt')
        parser.add_argument(f'--{name}', type=Path, default=default)
    parser.add_argument('--images', type=int, default=60, help='through each camera')
    parser.add_argument('--output', type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkpoints = {'canonical': options.canonical, 'metric': options.metric}
    result = measure(checkpoints, options.images)
    write_text_atomically(options.output, json.dumps(result, indent=1) + '\n')
    print(table(result))


if __name__ == '__main__':
    main()
