# SPDX-License-Identifier: Apache-2.0
"""Evaluation in metres found from the image itself, and class by class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_core.contracts import DepthKind, DepthMap, Float32Array, Intrinsics, Uint8Array
from depth_core.data.sample import Sample
from depth_core.data.synthetic import SyntheticDataset
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate import ReportContext, evaluate_dataset, write_report
from depth_core.evaluate.scaling import ScaleSource
from depth_core.metrics import PROTOCOLS

HEIGHT_M = 1.65


class Streets:
    """Synthetic streets, rendered once."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class Shrunk:
    """Gives the truth in a unit of its own, for images that come in order."""

    def __init__(self, streets: Streets, *, nothing_at: int | None = None) -> None:
        self.streets, self.nothing_at, self.asked = streets, nothing_at, 0

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        del image, intrinsics
        depth: Float32Array = (self.streets[self.asked].depth_m / 5.0).numpy()
        if self.asked == self.nothing_at:
            depth = np.full_like(depth, 7.0)  # a wall has no ground
        self.asked += 1
        return DepthMap(depth_m=depth, sigma_m=np.float32(0.1) * depth, kind=DepthKind.UP_TO_SCALE)


@pytest.fixture(scope='module')
def streets() -> Streets:
    dataset = SyntheticDataset(
        seed=5, length=2, height=64, width=128, scenes='outdoor', camera='kitti'
    )
    return Streets([dataset[0], dataset[1]])


def test_metres_from_the_ground(streets: Streets) -> None:
    heights_m = [
        -float(sample.pose[1, 3]) for sample in streets.samples if sample.pose is not None
    ]
    run = evaluate_dataset(
        Shrunk(streets),
        streets,
        protocol=PROTOCOLS['none'],
        align='ground_plane',
        camera_height_m=HEIGHT_M,
        panels=1,
    )
    assert run.scale_states == {'valid': 2}
    for score, height_m in zip(run.scores, heights_m, strict=True):
        assert score.scale == pytest.approx(5.0 * HEIGHT_M / height_m, rel=5e-3)


def test_an_image_without_ground_is_counted_and_in_no_mean(streets: Streets) -> None:
    run = evaluate_dataset(
        Shrunk(streets, nothing_at=1),
        streets,
        protocol=PROTOCOLS['none'],
        align='ground_plane',
        camera_height_m=HEIGHT_M,
    )
    assert run.scale_states == {'valid': 1, 'no_plane': 1}
    assert (run.evaluation.images_scored, run.evaluation.images_without_scale) == (1, 1)


def test_where_no_image_has_a_scale_the_reason_is_given(streets: Streets) -> None:
    one = Streets(streets.samples[:1])
    with pytest.raises(DataError, match=r'0 no usable prediction and 1 no scale \(1 no_plane\)'):
        evaluate_dataset(
            Shrunk(one, nothing_at=0),
            one,
            protocol=PROTOCOLS['none'],
            align='ground_plane',
            camera_height_m=HEIGHT_M,
        )


def test_metres_from_sparse_depth_which_is_not_scored(streets: Streets) -> None:
    run = evaluate_dataset(
        Shrunk(streets), streets, protocol=PROTOCOLS['none'], align='sparse', sparse_points=50
    )
    plain = evaluate_dataset(Shrunk(streets), streets, protocol=PROTOCOLS['none'], align='median')
    assert run.evaluation.mean is not None
    assert run.evaluation.mean.abs_rel == pytest.approx(0.0, abs=1e-6)
    assert run.evaluation.pixels == plain.evaluation.pixels - 2 * 50
    again = evaluate_dataset(
        Shrunk(streets), streets, protocol=PROTOCOLS['none'], align='sparse', sparse_points=50
    )
    assert [score.scale for score in again.scores] == [score.scale for score in run.scores]


class ShortSighted(Shrunk):
    """The same, with +inf for all but the nearest pixels."""

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        del intrinsics
        answer = super().predict(image)
        far = float(np.quantile(answer.depth_m, 0.3))
        depth = np.where(answer.depth_m < far, answer.depth_m, np.float32(np.inf))
        return replace(answer, depth_m=depth, depth_range=(0.01, far))


@pytest.mark.parametrize(
    'source', [{'align': 'ground_plane', 'camera_height_m': HEIGHT_M}, {'align': 'sparse'}]
)
def test_the_end_of_the_range_gives_no_scale(streets: Streets, source: dict[str, Any]) -> None:
    """Taken as depth, it moves the scale by up to 12 %."""
    protocol = PROTOCOLS['none']
    whole = evaluate_dataset(Shrunk(streets), streets, protocol=protocol, **source)
    short = evaluate_dataset(ShortSighted(streets), streets, protocol=protocol, **source)
    expected = [score.scale for score in whole.scores]
    assert [score.scale for score in short.scores] == pytest.approx(expected, rel=1e-3)


def test_the_report_gives_the_scale_and_the_classes(streets: Streets, tmp_path: Path) -> None:
    run = evaluate_dataset(
        Shrunk(streets),
        streets,
        protocol=PROTOCOLS['none'],
        align='ground_plane',
        camera_height_m=HEIGHT_M,
        panels=1,
    )
    context = ReportContext(
        command='', model='m.ckpt', model_sha256='0' * 64, manifest={}, dataset='synthetic',
        data='synthetic', split=None, limit=None,
    )  # fmt: skip
    page = write_report(tmp_path / 'report', run, context).read_text(encoding='utf-8')
    content = json.loads((tmp_path / 'report/report.json').read_text(encoding='utf-8'))
    assert content['align'] == 'ground_plane'
    assert content['scale'] == {
        'camera_height_m': 1.65, 'sparse_points': 200, 'states': {'valid': 2},
    }  # fmt: skip
    assert content['baseline']['aligned'] is False
    names = [item['name'] for item in content['per_class']['classes']]
    assert 'road' in names
    values = [item['metrics']['abs_rel'] for item in content['per_class']['classes']]
    assert content['per_class']['mean']['abs_rel'] == pytest.approx(np.mean(values))
    for text in ('By class', 'mean of the classes', 'height of the camera, 1.65 m', '2 valid'):
        assert text in page


def test_the_height_goes_with_the_ground() -> None:
    with pytest.raises(ConfigError, match="'ground_plane' was given a camera height of None m"):
        ScaleSource(align='ground_plane')
    with pytest.raises(ConfigError, match="'median' was given a camera height"):
        ScaleSource(align='median', camera_height_m=1.6)
    with pytest.raises(ConfigError, match=r'height of -1\.0 m gives no scale'):
        ScaleSource(align='ground_plane', camera_height_m=-1.0)
    with pytest.raises(ConfigError, match='0 sparse points'):
        ScaleSource(align='sparse', sparse_points=0)


def test_up_to_scale_is_never_scored_as_metres(streets: Streets) -> None:
    with pytest.raises(ConfigError, match='use --align median, or ground_plane'):
        evaluate_dataset(Shrunk(streets), streets, protocol=PROTOCOLS['none'])
