# SPDX-License-Identifier: Apache-2.0
"""What canonical depth, a sky mask and a shift cost after the network, against metric depth.

python -m test.benchmarks.canonical_cost [--network 480 640] prints a table: median and, where
other work shares the processor, the CPU time of a frame. The backend answers at once, so that
only the way from its planes to the image remains. Kinds are measured in turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Channel, DepthKind, Float32Array, InputSpec, OutputSpec
from depth_core.geometry import intrinsics_from_hfov, pixel_rays
from depth_core.manifest import Manifest, Mask
from depth_core.runtime import Predictor
from depth_core.runtime.extra_inputs import ExtraInputs

IMAGE: Final = (480, 640)
FRAMES: Final = 300


class AtOnce:
    """A backend whose answer is there already."""

    def __init__(self, manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> None:
        self.manifest = manifest
        self.extra_inputs = ExtraInputs(manifest, ())
        self._outputs = outputs

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        """Give depth and sigma."""
        del images
        return self._outputs['depth'], self._outputs['sigma']

    def run_named(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Give all outputs."""
        del inputs
        return self._outputs


def subjects(height: int, width: int) -> dict[str, Predictor]:
    """A predictor of each kind for a network of this size."""
    generator = np.random.default_rng(0)
    depth = generator.uniform(2.0, 30.0, (1, height, width)).astype(np.float32)
    sky = np.zeros_like(depth)
    sky[:, : height // 3] = 1.0
    camera = intrinsics_from_hfov(70.0, height=height, width=width)
    rays = pixel_rays(camera)
    points = np.concatenate((rays * depth[0, ..., None], depth[0, ..., None] - 1.0), axis=-1)
    outputs = {'depth': depth, 'sigma': 0.1 * depth, 'sky': sky, 'points': points[None]}
    canonical = {'kind': DepthKind.CANONICAL, 'canonical_focal_px': 300.0}
    masks = (Mask(output='sky', polarity='high_is_sky', threshold=0.5, fill='max'),)
    shift = {'depth': 'points', 'channel': Channel(axis=3, index=2), 'shift': 'median_from_K'}
    kinds: dict[str, tuple[dict[str, Any], tuple[Mask, ...]]] = {
        'metric': ({}, ()),
        'canonical': (canonical, ()),
        'canonical with sky': (canonical, masks),
        'points with shift': (shift, ()),
    }
    made = {}
    for name, (stated, hidden) in kinds.items():
        spec: dict[str, Any] = {
            'kind': DepthKind.METRIC, 'min_depth': 0.1, 'max_depth': 200.0, **stated
        }  # fmt: skip
        manifest = Manifest(
            name=name,
            input=InputSpec(height=height, width=width),
            output=OutputSpec(**spec),
            masks=hidden,
        )
        made[name] = Predictor(AtOnce(manifest, outputs), name='at once', path=Path(name))
    return made


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--network', type=int, nargs=2, default=IMAGE, help='height and width')
    height, width = parser.parse_args().network
    image = np.random.default_rng(1).integers(0, 256, (*IMAGE, 3), dtype=np.uint8)
    camera = intrinsics_from_hfov(70.0, height=IMAGE[0], width=IMAGE[1])
    predictors = subjects(height, width)
    times_s: dict[str, list[tuple[float, float]]] = {name: [] for name in predictors}
    for _ in range(FRAMES):
        for name, predictor in predictors.items():
            cpu_s = time.thread_time()
            answer = predictor.predict(image, camera)
            assert answer.sigma_m.shape == IMAGE  # it is made when asked for
            cpu_s = time.thread_time() - cpu_s
            times_s[name].append((predictor.stage_times.postprocess_s, cpu_s))
    sys.stdout.write(f'network {height}x{width}, image {IMAGE[0]}x{IMAGE[1]}, {FRAMES} frames\n')
    base_s = statistics.median(wall_s for wall_s, _ in times_s['metric'])
    for name, measured in times_s.items():
        wall_s, cpu_s = (statistics.median(column) for column in zip(*measured, strict=True))
        sys.stdout.write(
            f'{name:20} after the network {wall_s * 1e3:6.3f} ms '
            f'({(wall_s - base_s) * 1e3:+.3f}), whole frame with sigma {cpu_s * 1e3:6.3f} ms CPU\n'
        )


if __name__ == '__main__':
    main()
