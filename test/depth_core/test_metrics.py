# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.errors import ConfigError, DataError
from depth_core.metrics import (
    METRIC_NAMES,
    PROTOCOLS,
    Align,
    ErrorSums,
    MetricAccumulator,
    depth_metrics,
    find_protocol,
    mean_metrics,
)
from depth_core.metrics.sums import sums_of_first, total

pytestmark = pytest.mark.numeric

TO_TEN_METRES = find_protocol('none', min_depth_m=1e-3, max_depth_m=10.0)


@pytest.fixture(scope='module')
def reference(repository: Path) -> dict[str, NDArray[np.float64]]:
    """Numbers that the authors' own evaluation code gave on random arrays."""
    with np.load(repository / 'test/data/metrics_reference.npz') as arrays:
        return dict(arrays)


def plane(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_hand_worked_numbers() -> None:
    metrics = depth_metrics(plane((1.0, 4.0)), plane((2.0, 2.0)))
    assert metrics.abs_rel == pytest.approx((0.5 + 1.0) / 2)
    assert metrics.sq_rel == pytest.approx((0.5 + 2.0) / 2)
    assert metrics.rmse == pytest.approx(math.sqrt((1.0 + 4.0) / 2))
    assert metrics.rmse_log == pytest.approx(math.log(2.0))
    assert metrics.log10 == pytest.approx(math.log10(2.0))
    assert metrics.silog == pytest.approx(100.0 * math.log(2.0))
    assert (metrics.a1, metrics.a2, metrics.a3) == (0.0, 0.0, 0.0)


def test_thresholds_are_strict_and_nested() -> None:
    target = plane((1.0, 1.0, 1.0, 1.0))
    metrics = depth_metrics(plane((1.25, 1.2, 1.5, 1.9)), target)
    assert (metrics.a1, metrics.a2, metrics.a3) == (0.25, 0.75, 1.0)


def test_silog_does_not_see_scale_and_the_others_do() -> None:
    rng = np.random.default_rng(3)
    prediction = rng.uniform(1.0, 9.0, 200).astype(np.float32)
    target = rng.uniform(1.0, 9.0, 200).astype(np.float32)
    once, twice = depth_metrics(prediction, target), depth_metrics(2 * prediction, target)
    assert twice.silog == pytest.approx(once.silog, rel=1e-5)
    assert twice.abs_rel != pytest.approx(once.abs_rel, rel=1e-2)


def test_agrees_with_urcdc(reference: dict[str, NDArray[np.float64]]) -> None:
    m = depth_metrics(reference['urcdc_pred'], reference['urcdc_gt'])  # type: ignore[arg-type]  # float64 on purpose
    ours = (m.silog, m.abs_rel, m.log10, m.rmse, m.sq_rel, m.rmse_log, m.a1, m.a2, m.a3)
    np.testing.assert_allclose(ours, reference['urcdc_metrics'], rtol=1e-12)


@pytest.mark.parametrize(
    ('box', 'protocol', 'size'),
    [
        ('garg_352x1216', 'kitti_eigen_garg_80m', (352, 1216)),
        ('garg_375x1242', 'kitti_eigen_garg_50m', (375, 1242)),
        ('eigen_352x1216', 'kitti_eigen_crop_80m', (352, 1216)),
        ('nyu_eigen', 'nyu_eigen', (480, 640)),
    ],
)
def test_crops_are_those_of_the_literature(
    reference: dict[str, NDArray[np.float64]], box: str, protocol: str, size: tuple[int, int]
) -> None:
    crop = PROTOCOLS[protocol].crop
    assert crop is not None
    assert crop.box(*size) == tuple(reference[f'urcdc_{box}'])


def test_densedepth_crop_ends_are_inclusive(reference: dict[str, NDArray[np.float64]]) -> None:
    crop = PROTOCOLS['nyu_densedepth'].crop
    assert crop is not None
    first_row, last_row, first_column, last_column = reference['densedepth_crop']
    assert crop.box(480, 640) == (first_row, last_row + 1, first_column, last_column + 1)


def test_window_is_bottom_centre(reference: dict[str, NDArray[np.float64]]) -> None:
    protocol = PROTOCOLS['kitti_window_garg_80m']
    assert protocol.window_origin(375, 1242) == tuple(reference['urcdc_kb_crop_375x1242'])
    with pytest.raises(DataError, match='192x640 is smaller than the 352x1216 window'):
        protocol.window_origin(192, 640)


def test_only_pixels_inside_the_crop_are_scored() -> None:
    target = np.full((480, 640), 2.0, np.float32)
    accumulator = MetricAccumulator(PROTOCOLS['nyu_eigen'])
    accumulator.update(target, target)
    assert accumulator.result().pixels == (471 - 45) * (601 - 41)


def test_pixel_crop_refuses_another_size() -> None:
    target = np.full((224, 224), 2.0, np.float32)
    with pytest.raises(DataError, match=r"224x224 .*480x640.*protocol 'none'"):
        MetricAccumulator(PROTOCOLS['nyu_eigen']).update(target, target)


def test_both_densedepth_conventions(reference: dict[str, NDArray[np.float64]]) -> None:
    for swapped, expected in (
        (False, reference['densedepth_metrics_correct_order']),
        (True, reference['densedepth_metrics_official_swapped']),
    ):
        pair = reference['densedepth_pred'], reference['densedepth_gt']
        metrics = ErrorSums.of(*(pair[::-1] if swapped else pair)).metrics()
        ours = (metrics.a1, metrics.a2, metrics.a3, metrics.abs_rel, metrics.rmse, metrics.log10)
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_densedepth_protocols_score_set_and_images(
    reference: dict[str, NDArray[np.float64]],
) -> None:
    results = {}
    for name in ('nyu_densedepth', 'nyu_densedepth_official'):
        accumulator = MetricAccumulator(PROTOCOLS[name])
        for prediction, target in zip(
            reference['densedepth_pred'], reference['densedepth_gt'], strict=True
        ):
            full = np.full((2, 480, 640), np.nan, np.float32)
            full[0, 100:106, 100:108], full[1, 100:106, 100:108] = prediction, target
            accumulator.update(full[0], full[1])
        results[name] = accumulator.result()
    plain, official = results['nyu_densedepth'], results['nyu_densedepth_official']
    assert plain.mean is not None
    assert plain.pooled is not None
    assert official.headline is not None
    assert plain.headline is plain.mean
    assert plain.mean.rmse == pytest.approx(
        reference['densedepth_metrics_mean_of_images'][4], rel=1e-6
    )
    assert plain.pooled.rmse == pytest.approx(
        reference['densedepth_metrics_correct_order'][4], rel=1e-6
    )
    assert official.headline.abs_rel == pytest.approx(
        reference['densedepth_metrics_official_swapped'][3], rel=1e-6
    )
    assert official.headline.rmse == pytest.approx(plain.pooled.rmse)


def test_agrees_with_cliffnet_on_clamped_predictions(
    reference: dict[str, NDArray[np.float64]],
) -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES)
    for prediction, target in zip(
        reference['cliffnet_pred'], reference['cliffnet_gt'], strict=True
    ):
        accumulator.update(prediction[0].astype(np.float32), target[0].astype(np.float32))
    pooled = accumulator.result().pooled  # they were called with both images at once
    assert pooled is not None
    ours = (pooled.rmse, pooled.abs_rel, pooled.sq_rel, pooled.rmse_log)
    theirs = [float(reference[f'cliffnet_{name}']) for name in ('rms', 'rel', 'sq_rel')]
    theirs.append(float(reference['cliffnet_rms_natural_log']))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    deltas = (pooled.a1, pooled.a2, pooled.a3)
    np.testing.assert_allclose(deltas, reference['cliffnet_deltas'], rtol=1e-6)


@pytest.mark.parametrize(
    ('crop', 'protocol'), [('garg', 'kitti_eigen_garg_80m'), ('none', 'none')]
)
@pytest.mark.parametrize('align', ['none', 'median'])
def test_agrees_with_packnet_with_and_without_median_scale(
    reference: dict[str, NDArray[np.float64]], crop: str, protocol: str, align: Align
) -> None:
    accumulator = MetricAccumulator(PROTOCOLS[protocol], align=align)
    for prediction, target in zip(reference['packnet_pred'], reference['packnet_gt'], strict=True):
        enlarged = enlarge_aligned(prediction, target.shape)
        accumulator.update(enlarged, target.astype(np.float32))
    m = accumulator.result().mean
    assert m is not None
    ours = (m.abs_rel, m.sq_rel, m.rmse, m.rmse_log, m.a1, m.a2, m.a3)
    # Their median of an even count is the lower of the two middle values, ours their mean.
    tolerance = 1e-5 if align == 'none' else 1e-2
    np.testing.assert_allclose(ours, reference[f'packnet_{crop}_{align}'], rtol=tolerance)


def enlarge_aligned(values: NDArray[np.floating], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Bilinear with corners aligned, as their evaluation resizes predictions."""
    for axis in (0, 1):
        places = np.linspace(0.0, values.shape[axis] - 1.0, size[axis])
        low = np.minimum(places.astype(int), values.shape[axis] - 2)
        weight = (places - low).reshape((-1, 1) if axis == 0 else (1, -1))
        values = (
            np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis) * weight
        )
    return values.astype(np.float32)


def test_nan_and_zero_ground_truth_is_no_ground_truth() -> None:
    target = plane((2.0, np.nan, 0.0, -1.0, np.inf, 30.0))
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(plane((3.0, 3.0, 3.0, 3.0, 3.0, 3.0)), target)
    result = accumulator.result()
    assert result.pixels == 1
    assert result.mean is not None
    assert result.mean.abs_rel == pytest.approx(0.5)


def test_predictions_beyond_the_range_count_as_its_ends() -> None:
    target = plane((8.0, 8.0, 0.002))
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(plane((np.inf, 200.0, -np.inf)), target)
    result = accumulator.result()
    assert result.coverage == 1.0
    assert result.mean is not None
    assert result.mean.abs_rel == pytest.approx((0.25 + 0.25 + 0.5) / 3, rel=1e-6)


def test_nan_predictions_are_left_out_and_reported() -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(plane((np.nan, 3.0, np.nan, np.nan)), plane((2.0, 2.0, 2.0, np.nan)))
    result = accumulator.result()
    assert result.mean is not None
    assert result.mean.abs_rel == pytest.approx(0.5)
    assert result.coverage == pytest.approx(1 / 3)


def test_images_that_cannot_be_scored_are_counted_and_in_no_mean() -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES)
    good = plane((2.0, 2.0))
    accumulator.update(plane((3.0, 3.0)), good)
    accumulator.update(plane((1.0, 1.0)), plane((np.nan, 0.0)))
    accumulator.update(plane((np.nan, np.nan)), good)
    result = accumulator.result()
    assert result.mean is not None
    assert result.mean.abs_rel == pytest.approx(0.5)
    counts = (
        result.images,
        result.images_scored,
        result.images_without_ground_truth,
        result.images_without_prediction,
    )
    assert counts == (3, 1, 1, 1)


def test_nothing_scored_gives_no_number() -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(plane((1.0, 1.0)), plane((np.nan, 0.0)))
    result = accumulator.result()
    assert result.mean is None
    assert result.pooled is None
    assert result.uncertainty is None
    assert result.constant_mean is None
    assert math.isnan(result.coverage)
    with pytest.raises(DataError, match='none of 2 pixels'):
        depth_metrics(plane((1.0, 1.0)), plane((np.nan, 0.0)))


def test_mean_weighs_images_and_pooled_weighs_pixels() -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(plane((2.0, 2.0, 2.0)), plane((2.0, 2.0, 2.0)))
    accumulator.update(plane((3.0, 3.0, 3.0)), plane((2.0, np.nan, np.nan)))
    result = accumulator.result()
    assert result.mean is not None
    assert result.pooled is not None
    assert result.mean.abs_rel == pytest.approx((0.0 + 0.5) / 2)
    assert result.pooled.abs_rel == pytest.approx(0.5 / 4)
    assert result.mean.rmse == pytest.approx(0.5)
    assert result.pooled.rmse == pytest.approx(math.sqrt(1 / 4))


def test_processes_can_be_put_together() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.uniform(1, 9, (4, 5)), rng.uniform(1, 9, (4, 5))) for _ in range(4)]
    whole = MetricAccumulator(TO_TEN_METRES)
    halves = [MetricAccumulator(TO_TEN_METRES) for _ in range(2)]
    for index, (prediction, target) in enumerate(pairs):
        for accumulator in (whole, halves[index // 2]):
            accumulator.update(
                prediction.astype(np.float32), target.astype(np.float32), key=str(index)
            )
    halves[0].extend(halves[1].scores)
    assert halves[0].result() == whole.result()


def test_median_alignment_undoes_any_scale() -> None:
    target = plane((1.0, 2.0, 4.0, 8.0))
    accumulator = MetricAccumulator(TO_TEN_METRES, align='median')
    score = accumulator.update(0.1 * target, target)
    result = accumulator.result()
    assert score.scale == pytest.approx(10.0)
    assert result.mean is not None
    assert result.mean.abs_rel == pytest.approx(0.0, abs=1e-6)
    assert result.align == 'median'


def test_median_alignment_scales_sigma_too() -> None:
    target, sigma = plane((1.0, 2.0, 4.0)), plane((0.2, 0.2, 0.2))
    scaled = MetricAccumulator(TO_TEN_METRES, align='median')
    scaled.update(0.5 * target, target, sigma_m=0.5 * sigma)
    plain = MetricAccumulator(TO_TEN_METRES)
    plain.update(target, target, sigma_m=sigma)
    ours, theirs = scaled.result().uncertainty, plain.result().uncertainty
    assert ours is not None
    assert theirs is not None
    assert ours.nll == pytest.approx(theirs.nll)


def test_image_whose_median_cannot_be_aligned_is_counted() -> None:
    accumulator = MetricAccumulator(TO_TEN_METRES, align='median')
    accumulator.update(plane((np.inf, np.inf, 1.0)), plane((1.0, 2.0, 3.0)))
    assert accumulator.result().images_without_prediction == 1


def test_valid_mask_is_honoured() -> None:
    target = plane((2.0, 2.0))
    accumulator = MetricAccumulator(TO_TEN_METRES)
    accumulator.update(plane((3.0, 2.0)), target, np.array([[True, False]]))
    assert accumulator.result().pixels == 1


def test_shapes_must_agree() -> None:
    with pytest.raises(DataError, match=r'\(1, 3\) cannot be scored against .* \(1, 2\)'):
        MetricAccumulator().update(plane((1.0, 2.0, 3.0)), plane((1.0, 2.0)))


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'kitti_eigen_garg_80m'"):
        find_protocol('kitti_garg_80m')
    with pytest.raises(ConfigError, match='lower_median, median, none, sparse'):
        MetricAccumulator(align='mean')  # type: ignore[arg-type]  # the error is the point


def test_a_named_protocol_keeps_its_range() -> None:
    with pytest.raises(ConfigError, match="protocol 'nyu_eigen' fixes its depth range"):
        find_protocol('nyu_eigen', max_depth_m=20.0)
    with pytest.raises(ConfigError, match='has no range'):
        find_protocol('none', min_depth_m=5.0, max_depth_m=5.0)


def test_mean_metrics_averages_each_field() -> None:
    one = depth_metrics(plane((1.0,)), plane((2.0,)))
    two = depth_metrics(plane((2.0,)), plane((2.0,)))
    expected = 0.5 * (np.array(astuple(one)) + np.array(astuple(two)))
    np.testing.assert_allclose(astuple(mean_metrics([one, two])), expected)
    assert METRIC_NAMES[:3] == ('abs_rel', 'sq_rel', 'rmse')


def test_metrics_need_no_torch() -> None:
    script = 'import sys, depth_core.metrics; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', script], check=False).returncode == 0


def test_sums_do_not_depend_on_where_values_lie_in_memory() -> None:
    """Nor on what the process did before, so that any worker gives the same numbers."""
    values = (np.random.default_rng(6).exponential(2.0, 100_003) ** 3).astype(np.float32)
    counts = np.array([7, 50_000, 100_003])
    found = set()
    for shift in range(16):
        memory = np.empty(values.size + shift, np.float32)
        memory[shift:] = values
        found.add((total(memory[shift:]), *sums_of_first(memory[shift:], counts).tolist()))
    assert len(found) == 1
