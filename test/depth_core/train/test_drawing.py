# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from depth_core.contracts import Uint8Array
from depth_core.preview import ColourScale
from depth_core.train.drawing import Tile, depth_tile, draw_tiles, stack

SCALE = ColourScale(near=1.0, far=10.0)


def grey(width: int, code: int) -> Uint8Array:
    return np.full((20, width, 3), code, np.uint8)


def test_neighbours_that_share_a_scale_share_its_bar() -> None:
    plane = np.full((20, 30), 2.0, np.float32)
    other = ColourScale(near=2.0, far=200.0)
    tiles = (
        Tile(title='image', pixels=grey(30, 7)),
        depth_tile('truth', plane, SCALE, ' m'),
        depth_tile('depth', plane, SCALE, ' m'),
        depth_tile('depth / sigma', plane, other),
    )
    drawn = draw_tiles(tiles)
    assert drawn.shape == (20 + 16, 4 * 30 + 2 * 64, 3)
    assert (drawn[16:, :30] == 7).all()
    assert (drawn[16:, 30:60] == drawn[16:, 60:90]).all()
    assert drawn[:16, :30].any(), 'the title'
    bar = drawn[16:, 90 : 90 + 14]
    # Far is at the top and blue, near below and red.
    assert bar[2, 0, 2] > bar[2, 0, 0]
    assert bar[-3, 0, 0] > bar[-3, 0, 2]


def test_rows_of_several_widths_are_filled_up() -> None:
    whole = stack([grey(10, 5), grey(30, 6)])
    assert whole is not None
    assert whole.shape == (40, 30, 3)
    assert not whole[:20, 10:].any()
    assert stack([]) is None
