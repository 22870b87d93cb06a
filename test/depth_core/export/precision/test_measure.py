# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_core.contracts import DepthKind
from depth_core.errors import DataError, ExportError
from depth_core.export.precision.image_sets import ImageSet, image_sets
from depth_core.export.precision.measure import (
    DEFAULT_LIMITS,
    Answers,
    Limits,
    check_limits,
    compare,
    noisy,
)
from depth_core.manifest import ErrorSpread, PrecisionError
from test.depth_core.export.precision.graphs import HEIGHT, MANIFEST, WIDTH

BYTES = replace(MANIFEST, input=replace(MANIFEST.input, layout='NHWC', dtype='uint8'))


def plane(value: float) -> np.ndarray:
    return np.full((10, 100), value, np.float32)


def test_differences_are_fractions_of_the_reference_at_each_pixel() -> None:
    depth, sigma = plane(4.0), plane(0.5)
    found, found_sigma = depth.copy(), sigma.copy()
    found[0, 0] = 5.0  # a quarter more
    found[0, 1] = 3.6  # a tenth less
    found_sigma[0, 0] = 1.0
    spread, spread_sigma = compare(
        Answers(depths=(depth,), sigmas=(sigma,)),
        Answers(depths=(found,), sigmas=(found_sigma,)),
        MANIFEST.output,
    )
    assert spread.mean == pytest.approx(0.35 / 1000)
    assert spread.max == pytest.approx(0.25)
    assert spread.p999 == pytest.approx(0.1, rel=0.01)  # all but one pixel of a thousand
    assert spread_sigma is not None
    assert spread_sigma.max == pytest.approx(1.0)


def test_near_zero_the_smallest_depth_is_what_counts() -> None:
    one = Answers(depths=(plane(0.01),), sigmas=())
    two = Answers(depths=(plane(0.02),), sigmas=())
    spread, sigma = compare(one, two, MANIFEST.output)
    assert spread.max == pytest.approx(0.01 / 0.5)
    assert sigma is None
    far = plane(0.0)
    far[0, 0] = 2.0
    inverse = replace(MANIFEST.output, kind=DepthKind.INVERSE)
    spread, _ = compare(
        Answers(depths=(far,), sigmas=()), Answers(depths=(far + np.float32(0.01),), sigmas=()),
        inverse,
    )  # fmt: skip
    assert spread.max == pytest.approx(0.01 / 0.02, rel=1e-4)


def test_an_answer_that_is_not_finite_is_refused() -> None:
    one, two = plane(1.0), plane(1.0)
    two[3, 3] = np.nan
    with pytest.raises(ExportError, match='converted graph gives depth that is not finite'):
        compare(
            Answers(depths=(one,), sigmas=()), Answers(depths=(two,), sigmas=()), MANIFEST.output
        )


def error(depth: ErrorSpread, sigma: ErrorSpread | None, limits: Limits) -> PrecisionError:
    return PrecisionError(
        reference='a.onnx',
        reference_sha256='',
        method='rounded emulation',
        images='5 images',
        image_count=5,
        depth=depth,
        sigma=sigma,
        max_p999=limits.p999,
        max_max=limits.max,
    )


def test_limits_hold_for_depth_and_for_sigma_and_name_what_was_measured() -> None:
    good = ErrorSpread(mean=1e-3, p999=0.02, max=0.09)
    check_limits('a', error(good, good, DEFAULT_LIMITS['fp16']))
    worse = replace(good, p999=0.031)
    with pytest.raises(ExportError, match=r'sigma: 99\.9 % of the pixels within 0\.031, allowed'):
        check_limits('a', error(good, worse, DEFAULT_LIMITS['fp16']))
    worst = replace(good, max=0.5)
    with pytest.raises(ExportError, match=r'depth: largest 0\.5, allowed 0\.1.*--max_error'):
        check_limits('a', error(worst, good, DEFAULT_LIMITS['fp16']))
    with pytest.raises(ExportError, match='nan'):
        check_limits('a', error(replace(good, max=float('nan')), good, DEFAULT_LIMITS['int8']))


def test_what_noise_changes_is_allowed_up_to_what_an_engine_may() -> None:
    most = ErrorSpread(mean=0.02, p999=0.1, max=0.3)
    noise = ErrorSpread(mean=0.1, p999=0.05, max=0.09)
    assert DEFAULT_LIMITS['fp16'].or_noise(noise, most=most) == Limits(p999=0.05, max=0.1)
    found = Limits(p999=0.01, max=0.2).or_noise(noise, replace(noise, p999=3.0), most=most)
    assert found == Limits(p999=0.1, max=0.2)
    assert Limits(p999=0.2, max=0.4).or_noise(noise, most=most) == Limits(p999=0.2, max=0.4)


@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
def test_noise_is_one_code_at_most(dtype: str) -> None:
    code = 1.0 if dtype == 'uint8' else 1.0 / 255.0 / 0.5
    spec = BYTES.input if dtype == 'uint8' else replace(MANIFEST.input, std=(0.5, 0.5, 0.5))
    shape = (1, 32, 32, 3) if dtype == 'uint8' else (1, 3, 32, 32)
    value = np.full(shape, 100, dtype)
    (shaken,) = noisy(ImageSet(description='', inputs=(value,)), spec)
    assert shaken.dtype == value.dtype
    steps = (shaken.astype(np.float64) - value) / code
    assert set(np.unique(steps.round(3))) == {-1.0, 0.0, 1.0}


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        picture = np.full((20, 30, 3), 10 * index, np.uint8)
        assert cv2.imwrite(str(folder / f'{index}.png'), picture)
    return folder


@pytest.mark.parametrize('inside', ['', 'images'])
def test_one_half_calibrates_and_the_other_is_compared_on(tmp_path: Path, inside: str) -> None:
    write_images(tmp_path / 'camera' / inside, 5)
    calibration, comparison = image_sets(str(tmp_path / 'camera'), BYTES)
    assert calibration.description == '3 images of folder camera'
    assert [int(value.max()) for value in calibration.inputs] == [0, 20, 40]
    assert comparison.description.startswith('2 others of folder camera and 5 images drawn')
    assert [int(value.max()) for value in comparison.inputs[:2]] == [10, 30]
    assert calibration.inputs[0].shape == (1, HEIGHT, WIDTH, 3)


def test_images_are_drawn_where_none_are_given() -> None:
    calibration, comparison = image_sets(None, MANIFEST)
    assert calibration.description == '5 images drawn with seed 20240229'
    assert comparison.description == '5 images drawn with seed 20240230'
    assert calibration.inputs[0].shape == (1, 3, HEIGHT, WIDTH)
    assert (calibration.inputs[0] != comparison.inputs[0]).any()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('none', encoding='utf-8')
    with pytest.raises(DataError, match=r'holds no image'):
        image_sets(str(tmp_path), MANIFEST)
    with pytest.raises(DataError, match=r'does not exist'):
        image_sets(str(tmp_path / 'absent'), MANIFEST)
    write_images(tmp_path / 'a', 1)
    (tmp_path / 'a' / '0.png').write_bytes(b'no image')
    with pytest.raises(DataError, match=r'0\.png'):
        image_sets(str(tmp_path / 'a'), MANIFEST)
