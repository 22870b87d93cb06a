# SPDX-License-Identifier: Apache-2.0
"""A network of our own whose depth is canonical: from its checkpoint to metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_core.contracts import DepthKind, Intrinsics
from depth_core.errors import DataError
from depth_core.manifest import Manifest
from depth_core.models import create_model
from depth_core.models.base import make_canonical
from depth_core.models.serving import manifest_of
from depth_core.runtime import Framing, Predictor
from depth_core.weights.checkpoint import load_model, save_model

pytestmark = pytest.mark.numeric

FOCAL_PX = 80.0
CAMERA = Intrinsics(fx_px=240.0, fy_px=120.0, cx_px=60.0, cy_px=70.0, height=128, width=128)
"""At 64x64, the size of the network: 120 and 60, of which the mean is 90."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network as it is, in metric.ckpt, and declared canonical, in canonical.ckpt."""
    made = tmp_path_factory.mktemp('networks')
    torch.manual_seed(0)
    model = create_model(
        'densedepth_small', encoder='mobilenetv3_small_050', decoder_channels=(16, 8, 8, 8, 8)
    )
    size = {'height': 64, 'width': 64}
    save_model(made / 'metric.ckpt', model, provenance=size)
    make_canonical(model, FOCAL_PX)
    save_model(made / 'canonical.ckpt', model, provenance=size)
    return made


def test_the_manifest_of_a_checkpoint_states_the_focal_length(folder: Path) -> None:
    model = load_model(folder / 'canonical.ckpt')
    manifest = manifest_of(model, height=64, width=64)
    assert manifest.output.kind is DepthKind.CANONICAL
    assert manifest.output.canonical_focal_px == FOCAL_PX
    assert manifest.output.saturates
    assert manifest.needs_intrinsics
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert load_model(folder / 'metric.ckpt').spec.canonical_focal_px is None


def test_metres_are_the_answer_times_the_ratio_of_focal_lengths(folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    metric = Predictor.open(folder / 'metric.ckpt', backend='torch', threads=1).predict(image)
    canonical = Predictor.open(folder / 'canonical.ckpt', backend='torch', threads=1)
    with pytest.raises(DataError, match=r'canonical depth\) needs the camera'):
        canonical.predict(image)
    answer = canonical.predict(image, CAMERA)
    assert answer.kind is DepthKind.METRIC
    inside = np.isfinite(metric.depth_m)
    assert inside.any()
    ratio = 90.0 / FOCAL_PX
    np.testing.assert_allclose(answer.depth_m[inside], ratio * metric.depth_m[inside], rtol=1e-5)
    np.testing.assert_allclose(answer.sigma_m, ratio * metric.sigma_m, rtol=1e-5)
    np.testing.assert_allclose(answer.confidence[inside], metric.confidence[inside], atol=1e-5)
    np.testing.assert_allclose(answer.depth_range, ratio * np.array(metric.depth_range))


def test_a_mirrored_pass_has_a_mirrored_camera(folder: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    framing = Framing(flip_average='mean')
    paths = {name: folder / f'{name}.ckpt' for name in ('metric', 'canonical')}
    metric, canonical = (
        Predictor.open(path, backend='torch', threads=1, framing=framing)
        for path in paths.values()
    )
    expected, answer = metric.predict(image), canonical.predict(image, CAMERA)
    inside = np.isfinite(expected.depth_m) & np.isfinite(answer.depth_m)
    np.testing.assert_allclose(
        answer.depth_m[inside], 90.0 / FOCAL_PX * expected.depth_m[inside], rtol=1e-5
    )
