# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np

from depth_core.contracts import Float32Array
from depth_core.runtime.plane_pool import PlanePool


def address(plane: Float32Array) -> int:
    return int(plane.ctypes.data)


def test_a_plane_is_given_out_again_when_nobody_holds_it() -> None:
    pool = PlanePool()
    plane = pool.take(3, 4)
    assert plane.shape == (3, 4)
    assert plane.dtype == np.float32
    first = address(plane)
    del plane
    assert address(pool.take(3, 4)) == first


def test_whatever_is_held_stays() -> None:
    pool = PlanePool()
    plane = pool.take(3, 4)
    plane.fill(1.0)
    holders: list[Any] = [plane[1:, ::2], plane.data, np.asarray(plane), (plane,)]
    del plane
    while holders:
        other = pool.take(3, 4)
        other.fill(2.0)
        kept = holders.pop()
        assert float(np.asarray(kept).max()) == 1.0
        del other


def test_planes_have_the_size_that_was_asked_for() -> None:
    pool = PlanePool()
    assert pool.take(3, 4).shape == (3, 4)
    assert pool.take(4, 3).shape == (4, 3)
    assert pool.take(3, 4).shape == (3, 4)


def test_not_all_of_a_large_image_is_kept() -> None:
    pool = PlanePool()
    planes = [pool.take(2048, 4096) for _ in range(3)]  # 32 MiB each
    addresses = [address(plane) for plane in planes]
    del planes
    assert {address(pool.take(2048, 4096)) for _ in range(2)} <= set(addresses[1:])
