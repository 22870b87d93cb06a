# SPDX-License-Identifier: Apache-2.0
"""The kinds of streets there are, as ranges to draw from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StreetKind:
    """The ranges a kind of street is drawn from."""

    lanes: tuple[int, int]
    """Fewest and most lanes a direction."""
    verge_m: tuple[float, float]
    """Width of the strip between road and sidewalk."""
    sidewalk_m: tuple[float, float]
    setback_m: tuple[float, float]
    """From the sidewalk to the houses."""
    houses: float
    """Probability that a plot holds a house."""
    height_m: tuple[float, float]
    trees: float
    """Trees for 100 m of one side."""
    bushes: float
    parked: float
    """Probability of a parked car on each place."""
    traffic: float
    """Cars for 100 m of lane."""
    trucks: float
    """Share of trucks in the traffic."""
    people: float
    poles: float
    woods: float
    """Probability of a dense row of trees behind each side."""
    hedges: float
    """Probability that a plot has a hedge, wall or fence in front."""
    bridges: float
    """Probability of a bridge over the road."""
    rails: float
    """Probability of guard rails."""
    speed_m_s: tuple[float, float]
    bend_1_m: float
    """Largest curvature."""


STREET_KINDS = {
    'street_city': StreetKind(
        lanes=(1, 2),
        verge_m=(0.0, 0.0),
        sidewalk_m=(1.5, 4.0),
        setback_m=(0.0, 1.0),
        houses=0.97,
        height_m=(7.0, 20.0),
        trees=2.0,
        bushes=0.5,
        parked=0.6,
        traffic=1.2,
        trucks=0.15,
        people=4.0,
        poles=4.0,
        woods=0.15,
        hedges=0.05,
        bridges=0.04,
        rails=0.0,
        speed_m_s=(2.0, 12.0),
        bend_1_m=0.002,
    ),
    'street_residential': StreetKind(
        lanes=(1, 1),
        verge_m=(0.0, 1.5),
        sidewalk_m=(1.2, 2.5),
        setback_m=(2.0, 9.0),
        houses=0.65,
        height_m=(4.0, 9.0),
        trees=12.0,
        bushes=8.0,
        parked=0.55,
        traffic=0.6,
        trucks=0.1,
        people=2.0,
        poles=3.5,
        woods=0.6,
        hedges=0.6,
        bridges=0.0,
        rails=0.0,
        speed_m_s=(2.0, 10.0),
        bend_1_m=0.004,
    ),
    'street_boulevard': StreetKind(
        lanes=(1, 3),
        verge_m=(2.0, 7.0),
        sidewalk_m=(1.5, 4.0),
        setback_m=(3.0, 15.0),
        houses=0.5,
        height_m=(5.0, 16.0),
        trees=14.0,
        bushes=6.0,
        parked=0.25,
        traffic=1.6,
        trucks=0.25,
        people=1.5,
        poles=4.0,
        woods=0.75,
        hedges=0.2,
        bridges=0.25,
        rails=0.1,
        speed_m_s=(4.0, 16.0),
        bend_1_m=0.003,
    ),
    'street_highway': StreetKind(
        lanes=(2, 3),
        verge_m=(1.5, 5.0),
        sidewalk_m=(0.0, 0.0),
        setback_m=(8.0, 25.0),
        houses=0.2,
        height_m=(4.0, 14.0),
        trees=6.0,
        bushes=6.0,
        parked=0.0,
        traffic=1.7,
        trucks=0.4,
        people=0.0,
        poles=2.5,
        woods=0.7,
        hedges=0.05,
        bridges=0.4,
        rails=0.8,
        speed_m_s=(12.0, 30.0),
        bend_1_m=0.0015,
    ),
    'street_country': StreetKind(
        lanes=(1, 1),
        verge_m=(1.0, 4.0),
        sidewalk_m=(0.0, 0.0),
        setback_m=(6.0, 30.0),
        houses=0.12,
        height_m=(3.5, 7.0),
        trees=9.0,
        bushes=9.0,
        parked=0.02,
        traffic=0.5,
        trucks=0.2,
        people=0.2,
        poles=2.0,
        woods=0.7,
        hedges=0.1,
        bridges=0.02,
        rails=0.2,
        speed_m_s=(8.0, 25.0),
        bend_1_m=0.005,
    ),
}
"""Kinds of streets by the name of their scene class."""
