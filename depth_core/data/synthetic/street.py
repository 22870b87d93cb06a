# SPDX-License-Identifier: Apache-2.0
"""Streets: a road on a path, with what stands and drives along it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic import outdoor_things as things
from depth_core.data.synthetic import palette
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

FAR_M = 300.0
"""The ground ends here; beyond it there is only sky."""
STREET_LENGTH_M = 170.0
"""How far ahead the street is furnished."""


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
        lanes=(1, 2), verge_m=(0.0, 0.0), sidewalk_m=(1.5, 4.0), setback_m=(0.0, 1.0),
        houses=0.97, height_m=(7.0, 20.0), trees=2.0, bushes=0.5, parked=0.6, traffic=1.2,
        trucks=0.15, people=4.0, poles=4.0, woods=0.15, hedges=0.05, bridges=0.04, rails=0.0, speed_m_s=(2.0, 12.0),
        bend_1_m=0.002,
    ),
    'street_residential': StreetKind(
        lanes=(1, 1), verge_m=(0.0, 1.5), sidewalk_m=(1.2, 2.5), setback_m=(2.0, 9.0),
        houses=0.65, height_m=(4.0, 9.0), trees=12.0, bushes=8.0, parked=0.55, traffic=0.6,
        trucks=0.1, people=2.0, poles=3.5, woods=0.6, hedges=0.6, bridges=0.0, rails=0.0, speed_m_s=(2.0, 10.0),
        bend_1_m=0.004,
    ),
    'street_boulevard': StreetKind(
        lanes=(1, 3), verge_m=(2.0, 7.0), sidewalk_m=(1.5, 4.0), setback_m=(3.0, 15.0),
        houses=0.5, height_m=(5.0, 16.0), trees=14.0, bushes=6.0, parked=0.25, traffic=1.6,
        trucks=0.25, people=1.5, poles=4.0, woods=0.75, hedges=0.2, bridges=0.25, rails=0.1, speed_m_s=(4.0, 16.0),
        bend_1_m=0.003,
    ),
    'street_highway': StreetKind(
        lanes=(2, 3), verge_m=(1.5, 5.0), sidewalk_m=(0.0, 0.0), setback_m=(8.0, 25.0),
        houses=0.2, height_m=(4.0, 14.0), trees=6.0, bushes=6.0, parked=0.0, traffic=1.7,
        trucks=0.4, people=0.0, poles=2.5, woods=0.7, hedges=0.05, bridges=0.4, rails=0.8, speed_m_s=(12.0, 30.0),
        bend_1_m=0.0015,
    ),
    'street_country': StreetKind(
        lanes=(1, 1), verge_m=(1.0, 4.0), sidewalk_m=(0.0, 0.0), setback_m=(6.0, 30.0),
        houses=0.12, height_m=(3.5, 7.0), trees=9.0, bushes=9.0, parked=0.02, traffic=0.5,
        trucks=0.2, people=0.2, poles=2.0, woods=0.7, hedges=0.1, bridges=0.02, rails=0.2, speed_m_s=(8.0, 25.0),
        bend_1_m=0.005,
    ),
}  # fmt: skip
"""Kinds of streets by the name of their scene class."""


@dataclass(frozen=True, kw_only=True)
class _Layout:
    kind: StreetKind
    lane_m: float
    lanes: int
    road_m: float
    """From the middle to the edge of the driving lanes."""
    parking_m: tuple[float, float]
    verge_m: tuple[float, float]
    sidewalk_m: tuple[float, float]
    setback_m: tuple[float, float]


def make_street(name: str, source: Random) -> Scene:
    """Return a street of the kind `name`, a key of `STREET_KINDS`."""
    kind = STREET_KINDS[name]
    scene = Scene()
    bend = source.choice((0.0, source.uniform(-kind.bend_1_m, kind.bend_1_m)))
    scene.curvature_1_m = bend if abs(bend) > 1e-4 else 0.0
    layout = _draw_layout(kind, source)
    kit = things.stock(scene, source)
    _light(scene, source)
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
        _roadside(scene, source, layout, kit, side)
    _traffic(scene, source, layout, kit, ego_lane, speed)
    if source.random() < kind.bridges:
        _bridge(scene, source, layout, source.uniform(20.0, 90.0))
    return scene


def _draw_layout(kind: StreetKind, source: Random) -> _Layout:
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
    return _Layout(
        kind=kind, lane_m=lane, lanes=lanes, road_m=lanes * lane, parking_m=parking,
        verge_m=pairs[0], sidewalk_m=pairs[1], setback_m=pairs[2],
    )  # fmt: skip


def _light(scene: Scene, source: Random) -> None:
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


def _ground(scene: Scene, source: Random, layout: _Layout) -> None:
    road = palette.asphalt(source)
    walk = palette.paving(source) if source.random() < 0.7 else palette.asphalt(source)
    lawn = palette.grass(source)
    bay = palette.paving(source) if source.random() < 0.5 else palette.asphalt(source)
    front = lawn if source.random() < 0.6 else walk
    kerb = Material(colour=palette.vary(source, (0.4, 0.39, 0.37)), noise=0.15)
    strips: list[list[tuple[float, Material, int]]] = []
    for side in (0, 1):
        strips.append([
            (layout.parking_m[side], bay, Label.ROAD),
            (0.15, kerb, Label.SIDEWALK),
            (layout.verge_m[side], lawn, Label.TERRAIN),
            (layout.sidewalk_m[side], walk, Label.SIDEWALK),
            (FAR_M, front, Label.TERRAIN if front is lawn else Label.SIDEWALK),
        ])  # fmt: skip
    edge = -layout.road_m
    left: list[GroundZone] = []
    for width, material, label in strips[0]:
        left.append(GroundZone(right_m=edge, material=material, label=label))
        edge -= width
    zones = left[::-1] + [GroundZone(right_m=layout.road_m, material=road, label=Label.ROAD)]
    edge = layout.road_m
    for width, material, label in strips[1]:
        edge += width
        zones.append(GroundZone(right_m=edge, material=material, label=label))
    scene.zones = zones
    base = scene.add_material(road)
    carpet = scene.add_body(Body(follows_ego=True))
    scene.add(
        Shape.BOX, (0.0, 1.0, FAR_M - 40.0), (FAR_M, 1.0, FAR_M), base, body=carpet,
        label=Label.ROAD, casts=False, ground=True,
    )  # fmt: skip
    scene.markings = _markings(source, layout)


def _markings(source: Random, layout: _Layout) -> list[Marking]:
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
                lateral_m=lane * layout.lane_m, half_width_m=half,
                period_m=0.0 if unbroken else period, dash_m=dash, phase_m=phase,
            )
        )  # fmt: skip
    if source.random() < 0.5:
        lines += [
            Marking(lateral_m=side * (layout.road_m - 0.2), half_width_m=half)
            for side in (-1.0, 1.0)
        ]
    return lines


def _along(source: Random, per_100_m: float, start_m: float = -12.0) -> list[float]:
    """Positions along the street, denser nearby, where they fill the image."""
    count = per_100_m * STREET_LENGTH_M / 100.0
    whole = int(count) + (source.random() < count - int(count))
    spacing = (STREET_LENGTH_M - start_m) / max(whole, 1)
    offset = source.uniform(0.0, spacing)
    return [
        start_m + offset + (step + source.uniform(-0.35, 0.35)) * spacing for step in range(whole)
    ]


def _roadside(
    scene: Scene, source: Random, layout: _Layout, kit: things.Stock, side: float
) -> None:
    kind = layout.kind
    which = 0 if side < 0.0 else 1
    kerb = layout.road_m + layout.parking_m[which] + 0.15
    walk = kerb + layout.verge_m[which]
    front = walk + layout.sidewalk_m[which]
    wall = front + layout.setback_m[which]
    _parked(scene, source, layout, kit, side)
    for arc in _along(source, kind.poles):
        lateral = side * (kerb + source.uniform(0.25, 0.6))
        things.add_pole(scene, source, kit, Body(arc_m=arc, lateral_m=lateral), -side)
    verge = layout.verge_m[which] > 1.2 or front == walk
    scale = source.uniform(0.8, 1.7)
    for arc in _along(source, kind.trees):
        if verge and source.random() < 0.5:
            lateral = kerb + 0.5 * layout.verge_m[which] + 0.4
        else:
            lateral = front + source.uniform(0.3, max(wall - front, 0.5))
        body = Body(arc_m=arc, lateral_m=side * lateral, yaw_rad=source.uniform(0.0, 6.0))
        things.add_tree(scene, source, kit, body, scale * source.uniform(0.7, 1.2))
    for arc in _along(source, kind.bushes):
        lateral = front + source.uniform(0.8, max(wall - front, 1.5))
        size = source.uniform(0.5, 1.5)
        things.add_bush(
            scene, source, kit, Body(arc_m=arc, lateral_m=side * (lateral + size)), size
        )
    for arc in _along(source, kind.people, 3.0):
        lateral = source.uniform(kerb, max(front, kerb + 0.5))
        speed = source.choice((-1.2, 1.2, 0.0))
        things.add_person(
            scene, source,
            Body(arc_m=arc, lateral_m=side * lateral, speed_m_s=speed,
                 yaw_rad=source.choice((0.0, math.pi))),
        )  # fmt: skip
    _houses(scene, source, kind, side, wall)
    _hedges(scene, source, kit, kind, side * (front + 0.4))
    _backdrop(scene, source, kit, kind, side, wall)
    if source.random() < kind.rails:
        _rail(scene, source, kit, side * (kerb + 0.4))


def _parked(scene: Scene, source: Random, layout: _Layout, kit: things.Stock, side: float) -> None:
    width = layout.parking_m[0 if side < 0.0 else 1]
    if width == 0.0:
        return
    across = width > 3.0
    arc = source.uniform(-6.0, 0.0)
    while arc < 75.0:
        if source.random() < layout.kind.parked:
            turn = source.choice((0.0, math.pi))
            yaw = side * source.uniform(1.1, 1.57) + turn if across else turn
            body = Body(
                arc_m=arc,
                lateral_m=side * (layout.road_m + 0.5 * width + source.gauss(0.0, 0.1)),
                yaw_rad=yaw + source.gauss(0.0, 0.03),
            )
            if source.random() < 0.08 and not across:
                things.add_truck(scene, source, kit, body)
                arc += 5.0
            else:
                things.add_car(scene, source, kit, body)
        arc += 2.9 if across else source.uniform(5.3, 6.5)


def _houses(scene: Scene, source: Random, kind: StreetKind, side: float, wall_m: float) -> None:
    arc = source.uniform(-20.0, -8.0)
    gap = 0.0 if kind.houses > 0.9 else source.uniform(1.0, 6.0)
    while arc < STREET_LENGTH_M:
        length = source.uniform(8.0, 26.0)
        if source.random() < kind.houses:
            depth = source.uniform(8.0, 14.0)
            height = source.uniform(*kind.height_m)
            lateral = side * (wall_m + 0.5 * depth + source.uniform(0.0, 0.8))
            things.add_house(
                scene, source, Body(arc_m=arc + 0.5 * length, lateral_m=lateral),
                length_m=length, depth_m=depth, height_m=height,
            )  # fmt: skip
        arc += length + gap


def _hedges(
    scene: Scene, source: Random, kit: things.Stock, kind: StreetKind, lateral_m: float
) -> None:
    arc = source.uniform(-10.0, 0.0)
    while arc < 0.6 * STREET_LENGTH_M:
        length = source.uniform(4.0, 18.0)
        if source.random() < kind.hedges:
            half = 0.5 * length
            index = scene.add_body(Body(arc_m=arc + half, lateral_m=lateral_m))
            green = source.random() < 0.6
            rise = source.uniform(0.35, 0.9)
            skin = (
                source.choice(kit.leaves)
                if green
                else scene.add_material(
                    source.choice((palette.bricks, palette.wood, palette.paving))(source)
                )
            )
            scene.add(
                Shape.BOX, (0.0, -rise, 0.0), (0.4 if green else 0.12, rise, half), skin,
                label=Label.VEGETATION if green else Label.WALL, body=index,
            )  # fmt: skip
        arc += length + source.uniform(0.5, 4.0)


def _backdrop(
    scene: Scene, source: Random, kit: things.Stock, kind: StreetKind, side: float, wall_m: float
) -> None:
    """Woods and buildings that close the view behind the street."""
    if source.random() < kind.woods:
        arc = source.uniform(0.0, 15.0)
        while arc < 230.0:
            size = source.uniform(3.0, 7.0)
            lateral = wall_m + 3.0 + size + source.uniform(0.0, 8.0)
            body = Body(arc_m=arc, lateral_m=side * lateral)
            things.add_bush(scene, source, kit, body, size)
            arc += size * source.uniform(1.6, 3.0)
    for _ in range(source.randint(1, 5)):
        size = source.uniform(3.0, 8.0)
        body = Body(
            arc_m=source.uniform(20.0, 240.0),
            lateral_m=side * (wall_m + 14.0 + source.uniform(0.0, 50.0)),
        )
        if source.random() < 0.75:
            things.add_bush(scene, source, kit, body, size)
        else:
            things.add_house(
                scene, source, body, length_m=3.0 * size, depth_m=2.0 * size, height_m=2.0 * size
            )
    for _ in range(3):
        body = Body(arc_m=source.uniform(180.0, 280.0), lateral_m=side * source.uniform(4.0, 60.0))
        things.add_bush(scene, source, kit, body, source.uniform(5.0, 12.0))


def _rail(scene: Scene, source: Random, kit: things.Stock, lateral_m: float) -> None:
    step = source.uniform(3.0, 4.5)
    for place in range(24):
        index = scene.add_body(Body(arc_m=place * step - 6.0, lateral_m=lateral_m))
        scene.add(
            Shape.BOX, (0.0, -0.35, 0.0), (0.04, 0.35, 0.05), kit.dark, label=Label.FENCE,
            body=index,
        )  # fmt: skip
        scene.add(
            Shape.BOX, (0.0, -0.62, 0.5 * step), (0.035, 0.14, 0.5 * step + 0.05), kit.metal,
            label=Label.FENCE, body=index,
        )  # fmt: skip


def _traffic(
    scene: Scene, source: Random, layout: _Layout, kit: things.Stock, ego_lane: int, ego: float
) -> None:
    for lane in range(-layout.lanes, layout.lanes):
        oncoming = lane < 0
        for arc in _along(source, layout.kind.traffic, -8.0):
            own = lane == ego_lane
            place = arc
            if own and place < 9.0:
                continue
            if not own and abs(place) < 2.0:
                place += 5.0
            speed = ego if own and source.random() < 0.6 else ego * source.uniform(0.6, 1.25)
            body = Body(
                arc_m=place,
                lateral_m=(lane + 0.5) * layout.lane_m + source.gauss(0.0, 0.15),
                yaw_rad=math.pi if oncoming else 0.0,
                speed_m_s=-speed if oncoming else speed,
            )
            if source.random() < layout.kind.trucks:
                things.add_truck(scene, source, kit, body)
            else:
                things.add_car(scene, source, kit, body)


def _bridge(scene: Scene, source: Random, layout: _Layout, arc_m: float) -> None:
    concrete = scene.add_material(palette.plain(source, (0.35, 0.34, 0.32), noise=0.2))
    index = scene.add_body(Body(arc_m=arc_m, yaw_rad=source.uniform(-0.3, 0.3)))
    clear, deck = source.uniform(4.8, 6.5), source.uniform(0.8, 1.6)
    half = source.uniform(3.0, 8.0)
    span = layout.road_m + 30.0
    scene.add(
        Shape.BOX, (0.0, -clear - 0.5 * deck, 0.0), (span, 0.5 * deck, half), concrete,
        label=Label.BUILDING, body=index,
    )  # fmt: skip
    for end in (-1.0, 1.0):
        scene.add(
            Shape.BOX, (0.0, -clear - deck - 0.9, end * half), (span, 0.04, 0.04), concrete,
            label=Label.FENCE, body=index,
        )  # fmt: skip
    for side in (-1.0, 1.0):
        which = 0 if side < 0.0 else 1
        lateral = side * (layout.road_m + layout.parking_m[which] + source.uniform(0.8, 3.0))
        scene.add(
            Shape.CYLINDER, (lateral, -0.5 * clear, 0.0), (0.5, 0.5 * clear, 0.5), concrete,
            label=Label.BUILDING, body=index,
        )  # fmt: skip
