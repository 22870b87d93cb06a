# SPDX-License-Identifier: Apache-2.0
"""The fast averages over areas: by hand, against exact fractions, and against OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.runtime.area_average import AreaAverage
from depth_core.runtime.ipp_average import average_with_ipp, has_ipp

pytestmark = pytest.mark.numeric

Size = tuple[int, int]
Shrinks = Callable[[NDArray[np.uint8], Size], NDArray[np.uint8]]


def shrunk(image: NDArray[np.uint8], target: Size) -> NDArray[np.uint8]:
    source = image.shape[0], image.shape[1]
    assert AreaAverage.suits(source, target)
    average = AreaAverage(source, target)
    answer = np.empty((*target, 3), np.uint8)
    for _ in range(2):  # its memory is used over again
        average(image, answer)
    return answer


def shrunk_with_ipp(image: NDArray[np.uint8], target: Size) -> NDArray[np.uint8]:
    answer = np.empty((*target, 3), np.uint8)
    average_with_ipp(image, answer)
    return answer


with_ipp = pytest.param(
    shrunk_with_ipp,
    marks=pytest.mark.skipif(not has_ipp(), reason='OpenCV comes without IPP here'),
    id='ipp',
)
each_way = pytest.mark.parametrize('shrink', [pytest.param(shrunk, id='numpy'), with_ipp])


@each_way
def test_five_rows_give_two_by_hand(shrink: Shrinks) -> None:
    column = np.array([10, 20, 30, 40, 250], np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(column[:, None, None], (5, 4, 3)))
    # The sums are 20 + 40 + 30 and 30 + 80 + 500, fifths both.
    assert shrink(image, (2, 4))[:, :, 1].tolist() == [[18] * 4, [122] * 4]
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    assert shrink(turned, (4, 2))[:, :, 2].tolist() == [[18, 122]] * 4


def exact_rows(values: list[list[Fraction]], target: int) -> list[list[Fraction]]:
    """Average rows over areas, in fractions."""
    ratio = Fraction(len(values), target)
    averages = []
    for place in range(target):
        begin, end = place * ratio, (place + 1) * ratio
        shares = [max(Fraction(0), min(end, Fraction(row + 1)) - max(begin, Fraction(row)))
                  for row in range(len(values))]  # fmt: skip
        averages.append(
            [
                sum(
                    (share * value for share, value in zip(shares, column, strict=True)),
                    Fraction(0),
                )
                / ratio
                for column in zip(*values, strict=True)
            ]
        )
    return averages


@each_way
@pytest.mark.parametrize(
    ('source', 'target'), [((15, 16), (8, 8)), ((10, 9), (6, 4)), ((26, 34), (22, 17))]
)
def test_it_is_the_nearest_code_to_the_exact_average(
    source: Size, target: Size, shrink: Shrinks
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*source, 3), dtype=np.uint8)
    red = [[Fraction(int(code)) for code in row] for row in image[:, :, 0]]
    by_rows = exact_rows(red, target[0])
    exact = exact_rows([list(row) for row in zip(*by_rows, strict=True)], target[1])
    found = shrink(image, target)[:, :, 0]
    furthest = max(
        abs(exact[column][row] - int(found[row, column]))
        for row in range(target[0])
        for column in range(target[1])
    )
    assert furthest <= Fraction(1, 2) + Fraction(1, 1000)  # IPP adds in floats


@each_way
@pytest.mark.parametrize(
    ('source', 'target'),
    [
        ((480, 640), (192, 256)),
        ((480, 640), (256, 320)),
        ((480, 640), (160, 512)),
        ((480, 640), (480, 512)),
        ((720, 1280), (256, 320)),
        ((376, 672), (192, 256)),  # sums of both axes need more than 16 bits
        ((1080, 1920), (256, 320)),
        ((600, 800), (225, 320)),
    ],
)
def test_it_is_within_a_code_of_opencv(source: Size, target: Size, shrink: Shrinks) -> None:
    generator = np.random.default_rng(0)
    for image in (
        generator.integers(0, 256, (*source, 3), dtype=np.uint8),
        np.full((*source, 3), 255, np.uint8),
    ):
        expected = cv2.resize(image, target[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(shrink(image, target).astype(int) - expected).max() <= 1


@pytest.mark.skipif(not has_ipp(), reason='OpenCV comes without IPP here')
@pytest.mark.parametrize(
    ('source', 'target'),
    [
        ((375, 1242), (192, 640)),  # hardly a common divisor
        ((479, 641), (191, 257)),
        ((480, 640), (240, 320)),  # whole ratios
        ((480, 640), (160, 128)),
        ((37, 53), (37, 20)),  # along one axis alone
    ],
)
def test_ipp_is_within_a_code_of_opencv_at_every_ratio(source: Size, target: Size) -> None:
    edges = np.random.default_rng(2).integers(0, 2, (*source, 3), dtype=np.uint8) * np.uint8(255)
    expected = cv2.resize(edges, target[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk_with_ipp(edges, target).astype(int) - expected).max() <= 1


def test_other_resizing_stays_exact() -> None:
    assert not cv2.ipp.useIPP_NotExact()
    shrunk_with_ipp(np.zeros((4, 4, 3), np.uint8), (2, 2))
    assert not cv2.ipp.useIPP_NotExact()


@pytest.mark.parametrize(
    ('source', 'target'),
    [
        ((480, 640), (240, 320)),  # whole ratios are fast in OpenCV
        ((480, 640), (480, 640)),
        ((100, 100), (120, 80)),  # larger in one direction
        ((375, 1242), (192, 640)),  # hardly a common divisor
        ((479, 641), (191, 257)),
    ],
)
def test_other_ratios_are_left_to_opencv(source: Size, target: Size) -> None:
    assert not AreaAverage.suits(source, target)
