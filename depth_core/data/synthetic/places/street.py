# SPDX-License-Identifier: Apache-2.0
"""Streets: a road on a path, with what stands and drives along it."""

from __future__ import annotations

import math
from random import Random

from depth_core.data.synthetic.places.layout import Layout, draw_layout
from depth_core.data.synthetic.places.roadside import Site, bridge, roadside, traffic
from depth_core.data.synthetic.places.street_kinds import STREET_KINDS
from depth_core.data.synthetic.scene import (
    Body,
    GroundZone,
    Label,
    Lighting,
    Marking,
    Material,
    Motion,
    Scene,
    Shape,
    Sky,
)
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.stock import stock

FAR_M = 300.0
"""The ground ends here; beyond it there is only sky."""


def make_street(name: str, source: Random) -> Scene:
    """Return a street of the kind `name`, a key of `STREET_KINDS`."""
    return furnish_street(name, source).scene


def furnish_street(name: str, source: Random, *, empty: bool = False) -> Site:
    """Build a street of the kind `name`; without traffic where it is to be `empty`."""
    kind = STREET_KINDS[name]
    scene = Scene()
    bend = source.choice((0.0, source.uniform(-kind.bend_1_m, kind.bend_1_m)))
    scene.curvature_1_m = bend if abs(bend) > 1e-4 else 0.0
    layout = draw_layout(kind, source)
    site = Site(scene=scene, source=source, kit=stock(scene, source), layout=layout)
    light_street(scene, source)
    ego_lane = source.randrange(layout.lanes)
    ego = (ego_lane + 0.5) * layout.lane_m + source.gauss(0.0, 0.2)
    speed = source.uniform(*kind.speed_m_s)
    scene.motion = Motion(
        speed_m_s=speed,
        lateral_m=ego,
        height_m=source.gauss(1.65, 0.12),
        yaw_rad=source.gauss(0.0, 0.025),
        pitch_rad=source.gauss(0.0, 0.012),
        roll_rad=source.gauss(0.0, 0.01),
        sway_rad=source.choice((0.0, 0.004)),
    )
    _ground(scene, source, layout)
    for side in (-1.0, 1.0):
        roadside(site, side)
    if not empty:
        traffic(site, ego_lane, speed)
    if source.random() < kind.bridges:
        bridge(site, source.uniform(20.0, 90.0))
    return site


def light_street(scene: Scene, source: Random) -> None:
    """Draw sun, sky and haze: sunny or overcast."""
    azimuth = source.uniform(-math.pi, math.pi)
    sunny = source.random() < 0.7
    # An overcast sky lights from above and leaves it dark under the cars.
    elevation = source.uniform(0.35, 1.15) if sunny else source.uniform(1.3, 1.5)
    strength = source.uniform(2.0, 3.6) if sunny else source.uniform(0.3, 0.9)
    shade = source.uniform(0.12, 0.4) if sunny else source.uniform(0.4, 0.9)
    warm = source.uniform(0.0, 0.25)
    scene.lighting = Lighting(
        direction=(
            math.cos(elevation) * math.sin(azimuth),
            -math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        ),
        direct=(strength, strength * (1.0 - 0.4 * warm), strength * (1.0 - warm)),
        ambient=(shade * 0.85, shade * 0.95, shade * source.uniform(1.0, 1.25)),
    )
    bright = source.uniform(0.8, 4.0)
    grey = source.uniform(0.5, 1.0)
    blue = palette.mix((0.18, 0.38, 0.8), (0.75, 0.8, 0.85), 0.2 if sunny else 0.9)
    scene.sky = Sky(
        zenith=(blue[0] * bright, blue[1] * bright, blue[2] * bright),
        horizon=(grey * bright, grey * 1.02 * bright, grey * 1.05 * bright),
        cloud=(bright, bright, bright),
        cover=source.uniform(0.1, 0.7) if sunny else source.uniform(0.5, 1.0),
        haze_m=source.choice((500.0, 1500.0, 5000.0)),
    )


def _ground(scene: Scene, source: Random, layout: Layout) -> None:
    road = palette.asphalt(source)
    walk = palette.paving(source) if source.random() < 0.7 else palette.asphalt(source)
    lawn = palette.grass(source)
    bay = palette.paving(source) if source.random() < 0.5 else palette.asphalt(source)
    front = lawn if source.random() < 0.6 else walk
    kerb = Material(colour=palette.vary(source, (0.4, 0.39, 0.37)), noise=0.15)
    strips: list[list[tuple[float, Material, int]]] = [
        [
            (layout.parking_m[side], bay, Label.ROAD),
            (0.15, kerb, Label.SIDEWALK),
            (layout.verge_m[side], lawn, Label.TERRAIN),
            (layout.sidewalk_m[side], walk, Label.SIDEWALK),
            (FAR_M, front, Label.TERRAIN if front is lawn else Label.SIDEWALK),
        ]
        for side in (0, 1)
    ]
    zones = [GroundZone(right_m=layout.road_m, material=road, label=Label.ROAD)]
    edge = -layout.road_m
    for width, material, label in strips[0]:
        zones.insert(0, GroundZone(right_m=edge, material=material, label=label))
        edge -= width
    edge = layout.road_m
    for width, material, label in strips[1]:
        edge += width
        zones.append(GroundZone(right_m=edge, material=material, label=label))
    scene.zones = zones
    base = scene.add_material(road)
    carpet = scene.add_body(Body(follows_ego=True))
    scene.add(
        Shape.BOX,
        (0.0, 1.0, FAR_M - 40.0),
        (FAR_M, 1.0, FAR_M),
        base,
        body=carpet,
        label=Label.ROAD,
        casts=False,
        ground=True,
    )
    scene.markings = _markings(source, layout)


def _markings(source: Random, layout: Layout) -> list[Marking]:
    if source.random() < 0.12:
        return []
    period, dash = source.choice(((12.0, 6.0), (9.0, 3.0), (6.0, 3.0), (18.0, 6.0)))
    phase = source.uniform(0.0, period)
    half = source.uniform(0.05, 0.09)
    lines = []
    for lane in range(1 - layout.lanes, layout.lanes):
        unbroken = lane == 0 and source.random() < 0.4
        lines.append(
            Marking(
                lateral_m=lane * layout.lane_m,
                half_width_m=half,
                period_m=0.0 if unbroken else period,
                dash_m=dash,
                phase_m=phase,
            )
        )
    if source.random() < 0.5:
        lines += [
            Marking(lateral_m=side * (layout.road_m - 0.2), half_width_m=half)
            for side in (-1.0, 1.0)
        ]
    return lines
