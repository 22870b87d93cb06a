# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from depth_core.errors import ConfigError, DataError
from depth_core.scale import KnownDistance


def test_a_pixel_stands_for_what_is_around_it() -> None:
    depth_m = np.full((10, 12), 9.0, np.float32)
    depth_m[2:7, 3:8] = np.arange(25, dtype=np.float32).reshape(5, 5) + 1.0
    known = KnownDistance.parse('5,4,26')
    assert known.found_in(depth_m) == 13.0
    # 2 * 26 / 13 = 4
    assert 'predicted 13 m with scale_correction 2: scale_correction 4 in' in known.compare(
        depth_m, scale_correction=2.0
    )


def test_a_rectangle_is_taken_as_it_is() -> None:
    depth_m = np.full((10, 12), 9.0, np.float32)
    depth_m[1:3, 2:4] = [[1.0, 2.0], [3.0, np.inf]]
    assert KnownDistance.parse('2,1,3,2,4.5').found_in(depth_m) == 2.0


@pytest.mark.parametrize(
    'text', ['5,4', '5,4,x', '5.5,4,1', '', '1,2,3,4', '5,4,0', '5,4,nan', '-1,4,1', '3,1,2,2,1']
)
def test_what_is_no_distance_in_an_image_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match='known distance'):
        KnownDistance.parse(text)


def test_places_without_depth_are_refused() -> None:
    depth_m = np.full((10, 12), np.inf, np.float32)
    with pytest.raises(DataError, match='only 0 of 25 pixels'):
        KnownDistance.parse('5,4,1').found_in(depth_m)
    with pytest.raises(DataError, match='outside the image of 12 columns and 10 rows'):
        KnownDistance.parse('12,4,1').found_in(depth_m)
