# SPDX-License-Identifier: Apache-2.0
"""What rectification in the node and guided enlargement are worth, on the synthetic world.

    python -m test.benchmarks.node_view

Each image is drawn through a lens from a larger pinhole image of the scene. The shipped model sees
it raw, where true depth is that of the raw pixels, and rectified, where it is that of the view.
Guided enlargement is scored on true depth that was averaged to the size of the network.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import fmean, median
from typing import Final

import cv2
import numpy as np

from depth_core.camera import Calibration, rays, rectification
from depth_core.contracts import Float32Array, Uint8Array
from depth_core.data.synthetic import SyntheticDataset
from depth_core.runtime import Predictor
from depth_core.runtime.upsampling import sharpen_edges

SCENES: Final = 4
SEED: Final = 2_000_000
HEIGHT, WIDTH, FOCAL_PX = 240, 320, 230.0
LENSES: Final[Mapping[str, tuple[str, tuple[float, ...]]]] = {
    'plumb_bob': ('plumb_bob', (-0.28, 0.07, 0.0005, -0.0005, 0.0)),
    'rational': ('rational_polynomial', (0.4, -0.05, 0.0, 0.0, 0.002, 0.75, 0.02, 0.003)),
    'equidistant': ('equidistant', (-0.01, 0.002, 0.0, 0.0)),
}
"""What a driver states: the model of the distortion and its coefficients."""
EDGE: Final = 1.1
NETWORK: Final = (120, 160)


def lens(name: str) -> Calibration:
    """The camera of a lens."""
    model, coefficients = LENSES[name]
    matrix = np.array([[FOCAL_PX, 0, 159.5], [0, FOCAL_PX, 119.5], [0, 0, 1.0]])
    return Calibration(
        height=HEIGHT,
        width=WIDTH,
        k=matrix,
        d=np.array(coefficients),
        r=np.eye(3),
        p=np.hstack([matrix, np.zeros((3, 1))]),
        distortion_model=model,
    )


def abs_rel(depth_m: Float32Array, true_m: Float32Array) -> tuple[float, float]:
    """AbsRel as it is and with the median aligned, over 0.5 to 40 m."""
    valid = np.isfinite(depth_m) & np.isfinite(true_m) & (true_m > 0.5) & (true_m < 40.0)
    found, true = depth_m[valid], true_m[valid]
    aligned = found * np.median(true / found)
    return float(np.mean(np.abs(found / true - 1))), float(np.mean(np.abs(aligned / true - 1)))


def measure_lenses() -> None:
    """Print AbsRel raw and rectified, through each lens."""
    predictor = Predictor.open('densedepth_small', threads=1)
    scenes = SyntheticDataset(seed=SEED, length=SCENES, height=480, width=640, hfov_deg=100.0)
    for name in LENSES:
        calibration = lens(name)
        directions = rays(calibration, rectified=False)
        found = rectification(calibration, rectified=False)
        assert found.maps is not None
        scores: dict[str, list[tuple[float, float]]] = {'off': [], 'auto': []}
        spent_s = []
        for index in range(SCENES):
            sample = scenes[index]
            wide = np.ascontiguousarray(
                (sample.image.permute(1, 2, 0).numpy() * 255).round(), np.uint8
            )
            depth = sample.depth_m.squeeze().numpy()
            matrix = sample.intrinsics.numpy()
            u = (matrix[0, 0] * directions[0] + matrix[0, 2]).astype(np.float32)
            v = (matrix[1, 1] * directions[1] + matrix[1, 2]).astype(np.float32)
            raw: Uint8Array = np.asarray(cv2.remap(wide, u, v, cv2.INTER_AREA), np.uint8)
            seen_m = cv2.remap(depth, u, v, cv2.INTER_NEAREST, borderValue=float('nan'))
            true_m: Float32Array = np.asarray(seen_m, np.float32)
            scores['off'].append(abs_rel(predictor.predict(raw).depth_m, true_m))
            begun_s = time.thread_time()
            view = found.apply(raw)
            spent_s.append(time.thread_time() - begun_s)
            true_view_m = cv2.remap(
                true_m, *found.maps, cv2.INTER_NEAREST, borderValue=float('nan')
            )
            scores['auto'].append(
                abs_rel(predictor.predict(view).depth_m, np.asarray(true_view_m, np.float32))
            )
        for way, values in scores.items():
            plain, aligned = (fmean(column) for column in zip(*values, strict=True))
            print(f'| {name} | {way} | {plain:.3f} | {aligned:.3f} |')
        print(f'{name}: remapping {median(spent_s) * 1e3:.2f} ms')


def measure_edges() -> None:
    """Print errors at depth edges, bilinear and guided, on true depth of the network's size."""
    scenes = SyntheticDataset(seed=SEED, length=SCENES, height=480, width=640, hfov_deg=70.0)
    rows: dict[str, list[tuple[float, float, float]]] = {'bilinear': [], 'guided': []}
    for index in range(SCENES):
        sample = scenes[index]
        image = np.ascontiguousarray(
            (sample.image.permute(1, 2, 0).numpy() * 255).round(), np.uint8
        )
        true_m = np.nan_to_num(sample.depth_m.squeeze().numpy(), nan=80.0, posinf=80.0)
        coarse = cv2.resize(true_m, NETWORK[::-1], interpolation=cv2.INTER_AREA)
        plain = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_LINEAR)
        guided = plain.copy()
        begun_s = time.thread_time()
        sharpen_edges(guided, coarse, image)
        spent_ms = (time.thread_time() - begun_s) * 1e3
        window = np.ones((9, 9), np.uint8)
        near, far = cv2.erode(true_m, window), cv2.dilate(true_m, window)
        edge = far > EDGE * near
        for name, depth_m, cost in (('bilinear', plain, 0.0), ('guided', guided, spent_ms)):
            between = edge & (depth_m > EDGE * near) & (depth_m * EDGE < far)
            flying = between & (np.abs(depth_m / true_m - 1) > 0.1)
            error = float(np.mean(np.abs(depth_m / true_m - 1)[edge]))
            rows[name].append((error, float(flying.sum() / edge.sum()), cost))
    for name, values in rows.items():
        error, flying, _ = (fmean(column) for column in zip(*values, strict=True))
        cost = median(row[2] for row in values)
        print(f'| {name} | {error:.4f} | {flying:.2%} | {cost:.1f} |')


def main() -> None:
    """Print both tables."""
    measure_edges()
    measure_lenses()


if __name__ == '__main__':
    main()
