# SPDX-License-Identifier: Apache-2.0
"""What stands along a street and what drives on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic.places.layout import STREET_LENGTH_M, Layout
from depth_core.data.synthetic.scene import Body, Label, Scene, Shape
from depth_core.data.synthetic.things import outdoor_things as things
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.stock import Stock
from depth_core.data.synthetic.things.vehicles import add_car, add_truck


@dataclass(frozen=True, kw_only=True)
class Site:
    """A street being furnished."""

    scene: Scene
    source: Random
    kit: Stock
    layout: Layout


def _along(source: Random, per_100_m: float, start_m: float = -12.0) -> list[float]:
    """Positions along the street, denser nearby, where they fill the image."""
    count = per_100_m * STREET_LENGTH_M / 100.0
    whole = int(count) + (source.random() < count - int(count))
    spacing = (STREET_LENGTH_M - start_m) / max(whole, 1)
    offset = source.uniform(0.0, spacing)
    return [
        start_m + offset + (step + source.uniform(-0.35, 0.35)) * spacing for step in range(whole)
    ]


def roadside(site: Site, side: float) -> None:
    """Furnish the side -1 (left) or 1 (right) of a street."""
    scene, source, layout, kit = site.scene, site.source, site.layout, site.kit
    kind = layout.kind
    which = 0 if side < 0.0 else 1
    kerb = layout.road_m + layout.parking_m[which] + 0.15
    walk = kerb + layout.verge_m[which]
    front = walk + layout.sidewalk_m[which]
    wall = front + layout.setback_m[which]
    _parked(site, side)
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
            scene,
            source,
            Body(
                arc_m=arc,
                lateral_m=side * lateral,
                speed_m_s=speed,
                yaw_rad=source.choice((0.0, math.pi)),
            ),
        )
    _houses(site, side, wall)
    _hedges(site, side * (front + 0.4))
    _backdrop(site, side, wall)
    if source.random() < kind.rails:
        _rail(site, side * (kerb + 0.4))


def _parked(site: Site, side: float) -> None:
    scene, source, layout, kit = site.scene, site.source, site.layout, site.kit
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
                add_truck(scene, source, kit, body)
                arc += 5.0
            else:
                add_car(scene, source, kit, body)
        arc += 2.9 if across else source.uniform(5.3, 6.5)


def _houses(site: Site, side: float, wall_m: float) -> None:
    scene, source, kind = site.scene, site.source, site.layout.kind
    arc = source.uniform(-20.0, -8.0)
    gap = 0.0 if kind.houses > 0.9 else source.uniform(1.0, 6.0)
    while arc < STREET_LENGTH_M:
        length = source.uniform(8.0, 26.0)
        if source.random() < kind.houses:
            depth = source.uniform(8.0, 14.0)
            height = source.uniform(*kind.height_m)
            lateral = side * (wall_m + 0.5 * depth + source.uniform(0.0, 0.8))
            things.add_house(
                scene,
                source,
                Body(arc_m=arc + 0.5 * length, lateral_m=lateral),
                length_m=length,
                depth_m=depth,
                height_m=height,
            )
        arc += length + gap


def _hedges(site: Site, lateral_m: float) -> None:
    scene, source, kit = site.scene, site.source, site.kit
    arc = source.uniform(-10.0, 0.0)
    while arc < 0.6 * STREET_LENGTH_M:
        length = source.uniform(4.0, 18.0)
        if source.random() < site.layout.kind.hedges:
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
                Shape.BOX,
                (0.0, -rise, 0.0),
                (0.4 if green else 0.12, rise, half),
                skin,
                label=Label.VEGETATION if green else Label.WALL,
                body=index,
            )
        arc += length + source.uniform(0.5, 4.0)


def _backdrop(site: Site, side: float, wall_m: float) -> None:
    """Woods and buildings that close the view behind the street."""
    scene, source, kit = site.scene, site.source, site.kit
    if source.random() < site.layout.kind.woods:
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


def _rail(site: Site, lateral_m: float) -> None:
    scene, source, kit = site.scene, site.source, site.kit
    step = source.uniform(3.0, 4.5)
    for place in range(24):
        index = scene.add_body(Body(arc_m=place * step - 6.0, lateral_m=lateral_m))
        scene.add(
            Shape.BOX,
            (0.0, -0.35, 0.0),
            (0.04, 0.35, 0.05),
            kit.dark,
            label=Label.FENCE,
            body=index,
        )
        scene.add(
            Shape.BOX,
            (0.0, -0.62, 0.5 * step),
            (0.035, 0.14, 0.5 * step + 0.05),
            kit.metal,
            label=Label.FENCE,
            body=index,
        )


def traffic(site: Site, ego_lane: int, ego_m_s: float) -> None:
    """Let cars and trucks drive in every lane, some as fast as the camera."""
    scene, source, layout, kit = site.scene, site.source, site.layout, site.kit
    for lane in range(-layout.lanes, layout.lanes):
        oncoming = lane < 0
        for arc in _along(source, layout.kind.traffic, -8.0):
            own = lane == ego_lane
            place = arc
            if own and place < 9.0:
                continue
            if not own and abs(place) < 2.0:
                place += 5.0
            speed = (
                ego_m_s if own and source.random() < 0.6 else ego_m_s * source.uniform(0.6, 1.25)
            )
            body = Body(
                arc_m=place,
                lateral_m=(lane + 0.5) * layout.lane_m + source.gauss(0.0, 0.15),
                yaw_rad=math.pi if oncoming else 0.0,
                speed_m_s=-speed if oncoming else speed,
            )
            if source.random() < layout.kind.trucks:
                add_truck(scene, source, kit, body)
            else:
                add_car(scene, source, kit, body)


def bridge(site: Site, arc_m: float) -> None:
    """Span the road at `arc_m`."""
    scene, source, layout = site.scene, site.source, site.layout
    concrete = scene.add_material(palette.plain(source, (0.35, 0.34, 0.32), noise=0.2))
    index = scene.add_body(Body(arc_m=arc_m, yaw_rad=source.uniform(-0.3, 0.3)))
    clear, deck = source.uniform(4.8, 6.5), source.uniform(0.8, 1.6)
    half = source.uniform(3.0, 8.0)
    span = layout.road_m + 30.0
    scene.add(
        Shape.BOX,
        (0.0, -clear - 0.5 * deck, 0.0),
        (span, 0.5 * deck, half),
        concrete,
        label=Label.BUILDING,
        body=index,
    )
    for end in (-1.0, 1.0):
        scene.add(
            Shape.BOX,
            (0.0, -clear - deck - 0.9, end * half),
            (span, 0.04, 0.04),
            concrete,
            label=Label.FENCE,
            body=index,
        )
    for side in (-1.0, 1.0):
        which = 0 if side < 0.0 else 1
        lateral = side * (layout.road_m + layout.parking_m[which] + source.uniform(0.8, 3.0))
        scene.add(
            Shape.CYLINDER,
            (lateral, -0.5 * clear, 0.0),
            (0.5, 0.5 * clear, 0.5),
            concrete,
            label=Label.BUILDING,
            body=index,
        )
