# SPDX-License-Identifier: Apache-2.0
"""Per-class metrics, and scales that are the authors' medians or are given."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.errors import ConfigError, DataError
from depth_core.geometry import median_scale
from depth_core.metrics import (
    CLASS_NAMES,
    PROTOCOLS,
    Align,
    MetricAccumulator,
    Protocol,
    depth_metrics,
    find_protocol,
)

pytestmark = pytest.mark.numeric

TO_TEN_METRES = find_protocol('none', min_depth_m=1e-3, max_depth_m=10.0)
NAMES = ('abs_rel', 'sq_rel', 'rmse', 'rmse_log', 'a1', 'a2', 'a3')


def plane(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


@pytest.fixture(scope='module')
def packnet(repository: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(repository / 'test/data/packnet_losses.npz') as arrays:
        return dict(arrays)


@pytest.mark.parametrize('align', ['none', 'lower_median'])
@pytest.mark.parametrize('crop', ['garg', 'none'])
def test_the_metrics_of_packnet_sfm(
    packnet: dict[str, NDArray[np.float32]],
    crop: Literal['garg', 'none'],
    align: Align,
) -> None:
    box = PROTOCOLS['kitti_eigen_garg_80m'].crop if crop == 'garg' else None
    protocol = Protocol(
        name='theirs', description='', min_depth_m=1e-6, max_depth_m=80.0, crop=box
    )
    target_m = packnet['metrics_gt'][:, 0]
    # They resize depth, not inverse depth, with aligned corners.
    resized = F.interpolate(
        torch.from_numpy(packnet['metrics_pred']),
        size=target_m.shape[1:],
        mode='bilinear',
        align_corners=True,
    )
    scores = MetricAccumulator(protocol, align=align)
    for prediction, target in zip(resized[:, 0].numpy(), target_m, strict=True):
        scores.update(prediction, target)
    mean = scores.result().mean
    assert mean is not None
    expected = packnet[f'metrics/crop={crop}/gt_scale={align == "lower_median"}']
    found = [getattr(mean, name) for name in NAMES]
    np.testing.assert_allclose(found, expected, rtol=2e-5)  # theirs are float32 sums


def test_the_errors_of_monodepth2(repository: Path) -> None:
    with np.load(repository / 'test/data/monodepth2_layers.npz') as arrays:
        target, prediction = arrays['err_gt'], arrays['err_pred'].astype(np.float32)
        (key,) = [name for name in arrays if name.startswith('errors(')]
        expected = arrays[key]
    metrics = depth_metrics(prediction, target)
    np.testing.assert_allclose([getattr(metrics, name) for name in NAMES], expected, rtol=1e-5)


def test_the_two_medians_differ_for_even_counts() -> None:
    prediction = plane((1.0, 2.0, 4.0, 8.0))
    target = plane((3.0, 3.0, 9.0, 9.0))
    everywhere = np.ones((1, 4), np.bool_)
    assert median_scale(prediction, target, everywhere) == pytest.approx(6.0 / 3.0)
    assert median_scale(prediction, target, everywhere, lower=True) == pytest.approx(3.0 / 2.0)
    odd = np.array([[True, True, True, False]])
    assert median_scale(prediction, target, odd) == median_scale(
        prediction, target, odd, lower=True
    )
    with pytest.raises(DataError, match='at least one valid pixel'):
        median_scale(prediction, target, ~everywhere, lower=True)


def test_each_class_counts_alike() -> None:
    assert len(CLASS_NAMES) == 19
    assert (CLASS_NAMES[0], CLASS_NAMES[5], CLASS_NAMES[13]) == ('road', 'pole', 'car')
    scores = MetricAccumulator(TO_TEN_METRES)
    road, pole, car, none = 0, 5, 13, 255
    first = scores.update(
        plane((1.0, 1.0, 1.0, 2.0)), plane((1.0, 1.0, 1.0, 1.0)),
        semantic=np.array([[road, road, road, pole]]),
    )  # fmt: skip
    assert first.by_class is not None
    assert sorted(first.by_class) == [road, pole]
    scores.update(
        plane((3.0, 1.5, 9.0, 9.0)), plane((2.0, 1.0, 1.0, np.nan)),
        semantic=np.array([[pole, car, none, road]]),
    )  # fmt: skip
    result = scores.result()
    assert [(item.name, item.images, item.pixels) for item in result.by_class] == [
        ('road', 1, 3), ('pole', 2, 2), ('car', 1, 1),
    ]  # fmt: skip
    # Poles are off by 100 % and 50 %, over both images together.
    assert [item.metrics.abs_rel for item in result.by_class] == pytest.approx([0.0, 0.75, 0.5])
    assert result.class_mean is not None
    assert result.class_mean.abs_rel == pytest.approx((0.0 + 0.75 + 0.5) / 3)
    assert result.pooled is not None
    assert result.pooled.abs_rel == pytest.approx((0 + 0 + 0 + 1 + 0.5 + 0.5 + 8) / 7)


def test_without_labels_there_are_no_classes() -> None:
    scores = MetricAccumulator(TO_TEN_METRES)
    assert scores.update(plane((1.0, 2.0)), plane((1.0, 1.0))).by_class is None
    result = scores.result()
    assert result.by_class == ()
    assert result.class_mean is None
    with pytest.raises(DataError, match='cannot be scored against'):
        scores.update(plane((1.0,)), plane((1.0,)), semantic=np.zeros((1, 2), np.int64))


def test_labels_of_unpredicted_pixels_do_not_count() -> None:
    scores = MetricAccumulator(TO_TEN_METRES)
    scores.update(
        plane((np.nan, 2.0)), plane((1.0, 1.0)), np.array([[True, True]]),
        semantic=np.array([[0, 5]]),
    )  # fmt: skip
    assert [item.name for item in scores.result().by_class] == ['pole']


def test_a_given_scale_is_used_and_its_absence_counted() -> None:
    scores = MetricAccumulator(TO_TEN_METRES, align='ground_plane')
    target = plane((2.0, 4.0))
    scored = scores.update(plane((1.0, 2.0)), target, sigma_m=plane((0.1, 0.1)), scale=2.0)
    assert scored.scale == 2.0
    scores.update(plane((1.0, 2.0)), target, scale=float('nan'))
    scores.update(plane((np.nan, np.nan)), target, scale=2.0)
    result = scores.result()
    assert result.mean is not None
    assert result.mean.abs_rel == pytest.approx(0.0)
    counts = (result.images_scored, result.images_without_scale, result.images_without_prediction)
    assert counts == (1, 1, 1)
    # The scale does not come from this truth, so that the constant has no help from it either.
    assert result.constant_mean is not None
    assert result.constant_mean.abs_rel == pytest.approx(0.25)


@pytest.mark.parametrize(
    ('align', 'scale', 'remedy'),
    [('none', 1.0, 'leave the scale out'), ('median', 1.0, 'leave the scale out'),
     ('sparse', None, 'give the one found')],
)  # fmt: skip
def test_a_scale_goes_with_its_alignment(align: Align, scale: float | None, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        MetricAccumulator(align=align).update(plane((1.0,)), plane((1.0,)), scale=scale)
