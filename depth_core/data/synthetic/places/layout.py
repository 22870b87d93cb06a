# SPDX-License-Identifier: Apache-2.0
"""The cross-section of one street, and how long it is furnished."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic.places.street_kinds import StreetKind

STREET_LENGTH_M = 170.0
"""How far ahead the street is furnished."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The cross-section of one street."""

    kind: StreetKind
    lane_m: float
    lanes: int
    road_m: float
    """From the middle to the edge of the driving lanes."""
    parking_m: tuple[float, float]
    verge_m: tuple[float, float]
    sidewalk_m: tuple[float, float]
    setback_m: tuple[float, float]


def draw_layout(kind: StreetKind, source: Random) -> Layout:
    """Draw the widths of lanes, parking, verges and sidewalks."""
    lanes = source.randint(*kind.lanes)
    lane = source.uniform(2.8, 3.7)
    pairs = [
        (source.uniform(*bounds), source.uniform(*bounds))
        for bounds in (kind.verge_m, kind.sidewalk_m, kind.setback_m)
    ]
    width = 2.3 if kind.parked > 0.0 else 0.0
    parking = (
        width * source.choice((0.0, 1.0, 2.0)),
        width * source.choice((0.0, 1.0, 1.0)),
    )
    return Layout(
        kind=kind,
        lane_m=lane,
        lanes=lanes,
        road_m=lanes * lane,
        parking_m=parking,
        verge_m=pairs[0],
        sidewalk_m=pairs[1],
        setback_m=pairs[2],
    )
