# SPDX-License-Identifier: Apache-2.0
"""Inverse depth of unknown scale and shift, fitted to each image before it is scored."""

from __future__ import annotations

import numpy as np
import pytest

from depth_core.contracts import DepthKind, DepthMap, Float32Array, Intrinsics, Uint8Array
from depth_core.data.synthetic import SyntheticDataset
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate.run import evaluate_dataset
from depth_core.metrics import Align, MetricAccumulator, find_protocol
from depth_core.metrics.alignment import depth_of_inverse, fit_inverse

pytestmark = pytest.mark.numeric

PROTOCOL = find_protocol('none', min_depth_m=0.1, max_depth_m=100.0)


def row(*values: float) -> Float32Array:
    return np.array([values], np.float32)


def test_a_fit_by_hand() -> None:
    """Inverse depths 1, 0.5, 0.25 at predictions 0, 1, 2.

    Means 1 and 7/12; slope = ((-1)(5/12) + (1)(-1/3)) / 2 = -3/8; shift = 7/12 + 3/8 = 23/24.
    """
    scale, shift = fit_inverse(row(0.0, 1.0, 2.0), row(1.0, 2.0, 4.0), row(1, 1, 1) > 0)
    assert scale == pytest.approx(-3 / 8)
    assert shift == pytest.approx(23 / 24)


def test_depth_and_sigma_by_hand() -> None:
    """2 p + 0.5 is 2.5, 0.5 and -1.5: 0.4 m, 2 m, infinitely far; sigma is 2 d^2 times its own."""
    depth_m, sigma_m = depth_of_inverse(row(1.0, 0.0, -1.0), row(0.1, 0.1, 0.1), 2.0, 0.5)
    np.testing.assert_allclose(depth_m, [[0.4, 2.0, np.inf]], rtol=1e-6)
    np.testing.assert_allclose(sigma_m, [[0.032, 0.8, np.inf]], rtol=1e-6)


def test_an_affine_image_of_inverse_depth_is_scored_as_perfect() -> None:
    target_m = row(1.0, 2.0, 5.0, 50.0)
    scores = MetricAccumulator(PROTOCOL, align='affine_inverse')
    for scale, shift in ((3.0, 0.2), (1e-3, -7.0)):
        score = scores.update((1.0 / target_m) * scale + shift, target_m)
        assert score.scale == pytest.approx(1.0 / scale, rel=1e-3)
        assert score.shift == pytest.approx(-shift / scale, rel=1e-3)
    evaluation = scores.result()
    assert evaluation.mean is not None
    assert evaluation.mean.abs_rel < 0.02  # float32 keeps 3 digits of 1e-3 / 50 - 7
    assert evaluation.constant_mean is not None
    # Each image's median, 3.5 m: (2.5 / 1 + 1.5 / 2 + 1.5 / 5 + 46.5 / 50) / 4.
    assert evaluation.constant_mean.abs_rel == pytest.approx(1.12)


def test_what_is_not_finite_takes_no_part_in_the_fit() -> None:
    valid = row(1, 1, 1, 0) > 0
    fitted = fit_inverse(row(1.0, 0.5, np.inf, 9.0), row(1.0, 2.0, 3.0, np.nan), valid)
    assert fitted == pytest.approx((1.0, 0.0))


def test_a_constant_prediction_cannot_be_fitted_and_is_counted() -> None:
    with pytest.raises(DataError, match='not unique'):
        fit_inverse(row(2.0, 2.0), row(1.0, 2.0), row(1, 1) > 0)
    scores = MetricAccumulator(PROTOCOL, align='affine_inverse')
    scores.update(row(2.0, 2.0), row(1.0, 2.0))
    evaluation = scores.result()
    assert evaluation.mean is None
    assert evaluation.images_without_prediction == 1


class Relative:
    """Answers 4 / depth - 1 of the scene that it is asked about."""

    def __init__(self, dataset: SyntheticDataset, kind: DepthKind) -> None:
        self.truths = iter([dataset[index].depth_m.numpy() for index in range(len(dataset))])
        self.kind = kind

    def predict(self, image_hwc_u8: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        del intrinsics
        depth = (4.0 / next(self.truths) - 1.0).astype(np.float32)
        assert depth.shape == image_hwc_u8.shape[:2]
        return DepthMap(depth_m=depth, sigma_m=np.full_like(depth, 0.01), kind=self.kind)


def test_an_evaluation_shows_metres() -> None:
    dataset = SyntheticDataset(seed=3, length=2, height=32, width=48, scenes='indoor')
    run = evaluate_dataset(
        Relative(dataset, DepthKind.INVERSE), dataset, protocol=PROTOCOL, align='affine_inverse'
    )
    assert run.evaluation.mean is not None
    assert run.evaluation.mean.abs_rel < 1e-3
    for panel in run.panels:
        shown = np.isfinite(panel.target_m)
        np.testing.assert_allclose(panel.depth_m[shown], panel.target_m[shown], rtol=1e-3)
        expected = panel.target_m[shown] ** 2 / 4.0 * 0.01  # 1 / depth = (prediction + 1) / 4
        assert panel.sigma_m is not None
        np.testing.assert_allclose(panel.sigma_m[shown], expected, rtol=1e-2)


@pytest.mark.parametrize(
    ('kind', 'align'),
    [
        (DepthKind.INVERSE, 'none'),
        (DepthKind.INVERSE, 'median'),
        (DepthKind.METRIC, 'affine_inverse'),
        (DepthKind.UP_TO_SCALE, 'affine_inverse'),
    ],
)
def test_only_inverse_depth_is_fitted_so(kind: DepthKind, align: Align) -> None:
    dataset = SyntheticDataset(seed=3, length=1, height=32, width=48, scenes='indoor')
    with pytest.raises(ConfigError, match='--align affine_inverse'):
        evaluate_dataset(Relative(dataset, kind), dataset, protocol=PROTOCOL, align=align)
