# SPDX-License-Identifier: Apache-2.0
"""Every preset turns the graph it is written for into metres, at every pixel.

The weights are not here, so stand-ins with the interface of the real graphs are (`test.foreign`);
what they have to give is computed apart, from the rules of their authors (`test.foreign_rules`).
A stand-in sees an image that was resampled and rounded to whole codes. Its answer may therefore be
what a change of the tone by `CODES` codes makes of it, and no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, DepthMap, Intrinsics
from depth_core.presets import find, preset_files
from depth_core.runtime import Predictor
from test.foreign import STANDINS, View
from test.foreign_rules import (
    CAMERAS,
    RELATIVE,
    RULES,
    Camera,
    Rule,
    Scene,
    camera_image,
)

CODES = 1.5
MASK_EDGE = 0.03
"""Where blue is this near to where a mask begins, resampling decides."""

Altered = Mapping[str, Any]


def intrinsics(camera: Camera) -> Intrinsics:
    return Intrinsics(
        fx_px=camera.fx,
        fy_px=camera.fy,
        cx_px=camera.cx,
        cy_px=camera.cy,
        height=camera.height,
        width=camera.width,
    )


def view_of(camera: Camera) -> View:
    """The rays of a camera at relative positions: what a graph learns by itself."""
    return View(
        x=(camera.width / camera.fx, -(camera.cx + 0.5) / camera.fx),
        y=(camera.height / camera.fy, -(camera.cy + 0.5) / camera.fy),
    )


class Opened:
    """Predictors of stand-ins; each graph is written once, each manifest opened once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._predictors: dict[tuple[str, str, str], Predictor] = {}

    def __call__(self, name: str, camera: Camera, **altered: Altered) -> Predictor:
        """Open a stand-in with its preset, keys of whose sections are replaced.

        Only the stand-in of MoGe-2 is made for a camera: it answers with points.
        """
        view = view_of(camera) if name == 'moge_2' else View()
        key = name, str(view), json.dumps(altered)
        if key not in self._predictors:
            manifest = json.loads(find(name).read_text())
            for section, values in altered.items():
                if isinstance(values, Mapping):
                    manifest[section] = manifest.get(section, {}) | values
                else:
                    manifest[section] = values
            folder = self._folder / str(len(self._predictors))
            folder.mkdir()
            path = folder / 'manifest.json'
            path.write_text(json.dumps(manifest))
            self._predictors[key] = Predictor.open(
                STANDINS[name].write(folder / f'{name}.onnx', view),
                manifest=path if altered else name,
                backend='onnxruntime',
                threads=1,
            )
        return self._predictors[key]


@pytest.fixture(scope='module')
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp('foreign'))


@pytest.fixture(scope='module')
def scenes() -> Callable[[str], Scene]:
    return {
        name: Scene(camera=camera, image=camera_image(camera)) for name, camera in CAMERAS.items()
    }.__getitem__


def answer(predictor: Predictor, scene: Scene) -> DepthMap:
    return predictor.predict(scene.image, intrinsics=intrinsics(scene.camera))


def within_rounding(found: NDArray[np.floating], rule: Rule, scene: Scene) -> bool:
    """Whether every pixel is what the rule gives, but for the edge of masks."""
    change = CODES / 255.0
    ends = [
        rule(Scene(camera=scene.camera, image=scene.image, change=sign * change))
        for sign in (-1.0, 1.0)
    ]
    expected = rule(scene)
    edge = np.zeros(expected.shape, bool)
    if not np.isfinite(expected).all():
        last_masked = scene.blue[~np.isfinite(expected)].min()
        edge = np.abs(scene.blue - last_masked) < MASK_EDGE
        assert 0.1 < np.isfinite(expected).mean() < 0.9, 'the mask covers a part'
    finite = np.isfinite(expected)
    inside = (np.minimum(*ends) <= found) & (found <= np.maximum(*ends))
    same = (np.isposinf(expected) & np.isposinf(found)) | (np.isnan(expected) & np.isnan(found))
    return bool((edge | np.where(finite, inside, same)).all())


def test_every_preset_has_a_standin_and_a_rule() -> None:
    assert set(preset_files()) == set(STANDINS) == set(RULES)


@pytest.mark.parametrize('name', sorted(STANDINS))
@pytest.mark.parametrize('shape', CAMERAS)
def test_a_preset_gives_metres_at_every_pixel(
    opened: Opened, scenes: Callable[[str], Scene], name: str, shape: str
) -> None:
    scene = scenes(shape)
    found = answer(opened(name, scene.camera), scene)
    assert found.kind == RELATIVE.get(name, DepthKind.METRIC)
    assert found.depth_m.shape == scene.image.shape[:2]
    assert within_rounding(found.depth_m, RULES[name], scene)
    assert np.isnan(found.sigma_m).all(), 'none of these graphs states a standard deviation'
    assert not found.confidence.any()
