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
from depth_core.errors import DataError
from depth_core.presets import find, preset_files
from depth_core.runtime import Predictor
from test.foreign import OWN_FOCAL_PX, STANDINS, View
from test.foreign_rules import (
    CAMERAS,
    RELATIVE,
    RULES,
    Camera,
    Rule,
    Scene,
    beyond_sky,
    camera_image,
    cropped,
    letterboxed,
    mean,
    stretched,
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


UNPADDED = {'pad_rgb': [0, 0, 0]}

RESIZED: Mapping[str, tuple[str, Altered, Rule]] = {
    'depth_anything_3_metric letterbox': (
        'depth_anything_3_metric',
        {'input': {'resize': 'letterbox', 'pad_rgb': [128, 128, 128]}},
        lambda scene: beyond_sky(
            scene, scene.plain * mean(letterboxed(scene.camera, 504, 504)) / 300.0
        ),
    ),
    'metric3d_v2 stretch': (
        'metric3d_v2',
        {'input': {'resize': 'stretch', **UNPADDED}},
        lambda scene: scene.plain * stretched(scene.camera, 616, 1064)[0] / 1000.0,
    ),
    'metric3d_v2_onnx_community keep_aspect': (
        'metric3d_v2_onnx_community',
        {'input': {**UNPADDED, 'resize': 'keep_aspect', 'size': {'mode': 'long', 'target': 532,
                                                     'multiple': 28}}},
        lambda scene: scene.plain * scene.camera.fx * 532 / scene.camera.width / 1000.0,
    ),
    'depth_pro letterbox': (
        'depth_pro',
        {'input': {'resize': 'letterbox'}},
        lambda scene: scene.plain * letterboxed(scene.camera, 1536, 1536)[0] / OWN_FOCAL_PX,
    ),
    'unidepth_v2_camera stretch': (
        'unidepth_v2_camera',
        {'input': {'resize': 'stretch', **UNPADDED}},
        RULES['unidepth_v2_camera'],
    ),
    'moge_2 stretch': (
        'moge_2',
        {'input': {'resize': 'stretch', 'size': {'fixed': [388, 518]}, **UNPADDED}},
        RULES['moge_2'],
    ),
}  # fmt: skip
"""Presets brought to their networks in another way, and what follows for the focal length."""


@pytest.mark.parametrize('case', RESIZED)
@pytest.mark.parametrize('shape', CAMERAS)
def test_the_focal_length_follows_the_way_of_resizing(
    opened: Opened, scenes: Callable[[str], Scene], case: str, shape: str
) -> None:
    name, altered, rule = RESIZED[case]
    scene = scenes(shape)
    found = answer(opened(name, scene.camera, **altered), scene)
    assert within_rounding(found.depth_m, rule, scene)


@pytest.mark.parametrize('shape', ['4:3', '3.3:1'])
def test_what_a_crop_leaves_out_has_no_estimate(
    opened: Opened, scenes: Callable[[str], Scene], shape: str
) -> None:
    scene = scenes(shape)
    camera = scene.camera
    predictor = opened('metric3d_v2', camera, input={'resize': 'crop', **UNPADDED})
    depth_m = answer(predictor, scene).depth_m
    factor = max(616 / camera.height, 1064 / camera.width)
    rows, columns = 616 / factor, 1064 / factor  # of the camera, around its centre
    above, left = (camera.height - rows) / 2, (camera.width - columns) / 2
    v, u = np.indices(depth_m.shape) + 0.5
    beside = np.maximum(
        np.abs(v - camera.height / 2) - rows / 2, np.abs(u - camera.width / 2) - columns / 2
    )
    assert max(above, left) > 2
    assert np.isnan(depth_m[beside > 1]).all()
    expected = scene.plain * cropped(camera, 616, 1064)[0] / 1000.0
    inside = beside < -1
    np.testing.assert_allclose(depth_m[inside], expected[inside], rtol=0.01)


def twice_normalised(name: str) -> Altered:
    """((x - mean) / std - mean) / std as one mean and one std."""
    spec = json.loads(find(name).read_text())['input']
    pairs = list(zip(spec['mean'], spec['std'], strict=True))
    return {'mean': [m + m * s for m, s in pairs], 'std': [s * s for _, s in pairs]}


def of_camera(name: str, network: tuple[int, int]) -> Callable[[Camera], Altered]:
    """The canonical focal length with which the camera's own gives what the network's should."""
    canonical = json.loads(find(name).read_text())['depth']['canonical_focal_px']

    def altered(camera: Camera) -> Altered:
        own = (camera.fx + camera.fy) / 2.0
        seen = mean(stretched(camera, *network))
        return {'depth': {'canonical_focal_px': canonical * seen / own}}

    return altered


MASK = {'output': 'mask', 'polarity': 'high_is_sky', 'threshold': 0.5, 'fill': 'nan'}
SKY = {'output': 'sky', 'polarity': 'high_is_valid', 'threshold': 0.3, 'fill': 'max'}
FAULTS: Mapping[str, tuple[str, Altered | Callable[[Camera], Altered]]] = {
    'focal length of the camera': (
        'depth_anything_3_metric', of_camera('depth_anything_3_metric', (504, 504)),
    ),
    'fx for the mean': ('depth_anything_3_metric', {'depth': {'focal': 'fx'}}),
    'camera for the network in P': (
        'fsnet', {'extra_inputs': [{'name': 'P2', 'kind': 'P3x4', 'at': 'camera'}]},
    ),
    'image in the middle': ('fsnet', {'input': {'anchor': 'center'}}),
    'sky where it is not': ('depth_anything_3_metric', {'masks': [SKY]}),
    'valid where it is not': ('moge_2', {'masks': [MASK]}),
    'another threshold': (
        'depth_anything_3_metric',
        {'masks': [SKY | {'polarity': 'high_is_sky', 'threshold': 0.7}]},
    ),
    'no mask': ('moge_2', {'masks': []}),
    'normalised twice': (
        'depth_anything_3_metric', {'input': twice_normalised('depth_anything_3_metric')},
    ),
    'normalised inside and outside': (
        'metric3d_v2',
        {'input': {'scale': 1 / 255, 'mean': [0.485, 0.456, 0.406], 'std': [0.229, 0.224, 0.225]}},
    ),
    'not normalised': ('dpt_large', {'input': {'mean': [0, 0, 0], 'std': [1, 1, 1]}}),
    'codes for shares': ('midas_small', {'input': {'scale': 1.0}}),
    'blue for red': ('depth_anything_v2_small', {'input': {'colour': 'BGR'}}),
    'own focal length left out': ('depth_pro', {'depth': {'own_focal_output': None}}),
    'no inverse': ('depth_pro_raw', {'depth': {'kind': 'canonical'}}),
    'another plane': ('unidepth_v2', {'depth': {'channel': {'axis': 1, 'index': 0}}}),
    'no rays of the image': (
        'unidepth_v2_camera',
        {'extra_inputs': [{'name': 'rays', 'kind': 'const', 'value': 0.0}]},
    ),
    'no shift': ('moge_2', {'depth': {'shift': 'none'}}),
    'no scale of the image': ('moge_2', {'depth': {'scale_output': None}}),
    'more tokens': (
        'moge_2',
        {'extra_inputs': [{'name': 'num_tokens', 'kind': 'const', 'value': 3600}]},
    ),
    'no baseline': ('monodepth2_stereo', {'depth': {'unit_m': 1.0}}),
    'other ends of the sigmoid': ('lite_mono', {'depth': {'sig': {'min': 0.1, 'max': 10.0}}}),
    'a correction': ('zoedepth_nk', {'depth': {'scale_correction': 1.02}}),
}  # fmt: skip
"""What may be wrong in a preset, or in what reads it."""


@pytest.mark.parametrize('fault', FAULTS)
def test_a_wrong_preset_gives_another_answer(
    opened: Opened, scenes: Callable[[str], Scene], fault: str
) -> None:
    """Else the test above would pass whatever a preset says."""
    name, altered = FAULTS[fault]
    scene = scenes('16:9')
    if callable(altered):
        altered = altered(scene.camera)
    found = answer(opened(name, scene.camera, **altered), scene)
    assert not within_rounding(found.depth_m, RULES[name], scene)


@pytest.mark.parametrize('name', sorted(STANDINS))
def test_without_a_camera_metres_that_need_one_are_refused(
    opened: Opened, scenes: Callable[[str], Scene], name: str
) -> None:
    scene = scenes('4:3')
    predictor = opened(name, scene.camera)
    if predictor.manifest.needs_intrinsics:
        with pytest.raises(DataError, match='intrinsics'):
            predictor.predict(scene.image)
        return
    found = predictor.predict(scene.image)
    if name not in OWN_CAMERA:
        assert within_rounding(found.depth_m, RULES[name], scene)


OWN_CAMERA = {'depth_pro', 'depth_pro_raw'}
"""They estimate it, and answer other metres without ours."""


def test_the_confidence_that_only_ranks_gives_no_sigma(
    opened: Opened, scenes: Callable[[str], Scene]
) -> None:
    """And no probability either, which would claim to be measured."""
    scene = scenes('4:3')
    for name in ('depth_anything_3_base', 'unidepth_v2'):
        found = answer(opened(name, scene.camera), scene)
        assert np.isnan(found.sigma_m).all()
        assert not found.confidence.any()
