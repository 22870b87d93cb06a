# SPDX-License-Identifier: Apache-2.0
"""Open places: squares, car parks, parks and back yards, with things all round the camera."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from depth_core.data.synthetic.places.street import light_street
from depth_core.data.synthetic.scene import Body, GroundZone, Label, Material, Motion, Scene, Shape
from depth_core.data.synthetic.things import cycles, heavy, palette
from depth_core.data.synthetic.things import outdoor_things as things
from depth_core.data.synthetic.things import street_things as standing
from depth_core.data.synthetic.things.builder import Builder
from depth_core.data.synthetic.things.people import add_figure
from depth_core.data.synthetic.things.stock import Stock, stock
from depth_core.data.synthetic.things.vehicles import add_car

_FAR_M: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class PlaceKind:
    """The ranges an open place is drawn from."""

    ground: tuple[str, ...]
    radius_m: tuple[float, float]
    """From the camera to what closes the view."""
    houses: float
    """Share of what closes the view that is houses; the rest is trees and bushes."""
    things: Mapping[str, float]
    """How many of each, on the mean."""


PLACE_KINDS: Final = {
    'square': PlaceKind(
        ground=('paving', 'paving', 'asphalt'), radius_m=(12.0, 45.0), houses=0.85,
        things={
            'person': 9, 'bicycle': 2, 'tree': 2, 'bench': 2, 'bin': 4, 'pole': 3, 'board': 2,
            'car': 1, 'van': 0.6, 'fence': 0.6, 'shelter': 0.4, 'rider': 1,
        },
    ),
    'car_park': PlaceKind(
        ground=('asphalt', 'asphalt', 'paving'), radius_m=(15.0, 50.0), houses=0.6,
        things={
            'rows': 4, 'person': 3, 'pole': 4, 'tree': 3, 'bush': 2, 'van': 1, 'lorry': 0.5,
            'bin': 1, 'fence': 1, 'board': 0.7,
        },
    ),
    'park': PlaceKind(
        ground=('grass', 'grass', 'grass', 'paving'), radius_m=(12.0, 60.0), houses=0.12,
        things={
            'person': 3, 'rider': 1, 'tree': 8, 'bush': 6, 'tuft': 8, 'bench': 2, 'bin': 1,
            'pole': 1.5, 'fence': 2, 'path': 1,
        },
    ),
    'yard': PlaceKind(
        ground=('paving', 'asphalt', 'grass'), radius_m=(5.0, 16.0), houses=0.75,
        things={
            'person': 2.5, 'bicycle': 3, 'tree': 0.8, 'bush': 2, 'tuft': 2, 'bin': 4,
            'car': 1.2, 'motor': 0.5, 'fence': 2, 'van': 0.4, 'bench': 0.7,
        },
    ),
}  # fmt: skip
"""Kinds of places by the name of their scene class."""


def make_place(name: str, source: Random) -> Scene:
    """Return a place of the kind `name`; the camera stands in its middle and looks anywhere."""
    kind = PLACE_KINDS[name]
    scene = Scene()
    kit = stock(scene, source)
    light_street(scene, source)
    _ground(scene, source, kind)
    radius = source.uniform(*kind.radius_m)
    low = source.random() < 0.35
    scene.motion = Motion(
        height_m=source.uniform(0.1, 0.7) if low else source.uniform(0.8, 3.0),
        pitch_rad=source.gauss(0.02 if low else -0.08, 0.1),
        roll_rad=source.gauss(0.0, 0.05),
    )
    _surround(scene, source, kit, kind, radius)
    taken: list[tuple[float, float, float]] = [(0.0, 0.0, 0.9)]
    for item, mean in kind.things.items():
        count = int(mean * source.uniform(0.3, 1.7) + source.random())
        for _ in range(count):
            reach = _ITEMS[item].reach_m
            found = _find_room(source, reach, radius, taken)
            if found is not None:
                x, z = found
                taken.append((x, z, reach))
                turn = source.uniform(-math.pi, math.pi)
                body = Body(arc_m=z, lateral_m=x, yaw_rad=turn)
                _ITEMS[item].build(scene, source, kit, body)
    return scene


def _ground(scene: Scene, source: Random, kind: PlaceKind) -> None:
    makers = {'paving': palette.paving, 'asphalt': palette.asphalt, 'grass': palette.grass}
    main = source.choice(kind.ground)
    labels = {'paving': Label.SIDEWALK, 'asphalt': Label.ROAD, 'grass': Label.TERRAIN}
    edge = source.uniform(2.0, 12.0)
    other = source.choice(('paving', 'asphalt', 'grass'))
    names = (other, main, main if source.random() < 0.5 else other)
    scene.zones = [
        GroundZone(right_m=right, material=makers[name](source), label=labels[name])
        for right, name in zip((-edge, edge, _FAR_M), names, strict=True)
    ]
    scene.add(
        Shape.BOX, (0.0, 1.0, 0.0), (_FAR_M, 1.0, _FAR_M),
        scene.add_material(scene.zones[1].material),
        label=labels[main], casts=False, ground=True,
    )  # fmt: skip


def _ring(source: Random, radius: float, angle: float, turn: float = 0.0) -> Body:
    """A body at a distance and an angle from straight ahead, that faces the camera."""
    del source
    return Body(
        arc_m=radius * math.cos(angle), lateral_m=radius * math.sin(angle),
        yaw_rad=angle + math.pi + turn,
    )  # fmt: skip


def _surround(scene: Scene, source: Random, kit: Stock, kind: PlaceKind, radius: float) -> None:
    """Close the view ahead with houses, trees and woods; gaps show the far."""
    angle = -1.5
    while angle < 1.5:
        away = radius * source.uniform(0.9, 1.5)
        if source.random() < kind.houses:
            length = source.uniform(8.0, 24.0)
            depth = source.uniform(8.0, 14.0)
            body = _ring(
                source, away + 0.5 * depth, angle, 0.5 * math.pi + source.gauss(0.0, 0.15)
            )
            things.add_house(
                scene,
                source,
                body,
                length_m=length,
                depth_m=depth,
                height_m=source.uniform(3.5, 16.0),
            )
            angle += 0.9 * length / away
        else:
            size = source.uniform(1.5, 6.0)
            body = _ring(source, away + size, angle)
            if source.random() < 0.4:
                standing.add_street_tree(scene, source, kit, body)
            else:
                things.add_bush(scene, source, kit, body, size)
            angle += source.uniform(0.6, 1.6) * size / away
        if source.random() < 0.15:
            angle += source.uniform(0.05, 0.3)
    for _ in range(4):
        body = _ring(source, source.uniform(80.0, 250.0), source.uniform(-1.2, 1.2))
        things.add_bush(scene, source, kit, body, source.uniform(5.0, 14.0))


@dataclass(frozen=True, kw_only=True)
class _Item:
    """A thing that stands about."""

    reach_m: float
    """Room that it takes round its middle."""
    build: Callable[[Scene, Random, Stock, Body], None]


def _row_of_cars(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """Cars side by side, away from the camera to the right or left of it."""
    turn = source.choice((0.0, math.pi))
    side = 1.0 if body.lateral_m > 0.0 else -1.0
    for number in range(source.randint(2, 6)):
        if source.random() < 0.2:
            continue
        place = Body(
            arc_m=body.arc_m + 2.75 * number, lateral_m=body.lateral_m + side * 2.0,
            yaw_rad=0.5 * math.pi + turn + source.gauss(0.0, 0.05),
        )  # fmt: skip
        if source.random() < 0.12:
            heavy.add_van(scene, source, kit, place)
        else:
            add_car(scene, source, kit, place)


def _person(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    del kit
    add_figure(scene, source, body, source.choice(('stand', 'walk', 'walk')))


def _bush(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    things.add_bush(scene, source, kit, body, source.uniform(0.3, 1.3))


def _pole(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    things.add_pole(scene, source, kit, body, source.choice((-1.0, 1.0)))


def _fence(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    standing.add_fence(scene, source, kit, body, source.uniform(4.0, 14.0))


def _motor(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    cycles.add_motorcycle(scene, source, kit, body, ridden=source.random() < 0.2)


def _path(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    del kit
    path = Builder.at(scene, source, body, Label.SIDEWALK)
    gravel = path.skin(Material(colour=palette.vary(source, (0.4, 0.35, 0.27)), noise=0.25))
    path.box((-source.uniform(0.7, 1.6), 1.0), (-0.1, 0.01), (-60.0, 60.0), gravel)


_ITEMS: Final = {
    'person': _Item(reach_m=0.4, build=_person),
    'rider': _Item(reach_m=0.9, build=partial(cycles.add_bicycle, ridden=True)),
    'bicycle': _Item(reach_m=0.9, build=partial(cycles.add_bicycle, ridden=False)),
    'motor': _Item(reach_m=1.0, build=_motor),
    'car': _Item(reach_m=2.3, build=add_car),
    'van': _Item(reach_m=3.0, build=heavy.add_van),
    'lorry': _Item(reach_m=5.0, build=heavy.add_lorry),
    'rows': _Item(reach_m=2.5, build=_row_of_cars),
    'tree': _Item(reach_m=0.5, build=standing.add_street_tree),
    'bush': _Item(reach_m=1.0, build=_bush),
    'tuft': _Item(reach_m=0.3, build=standing.add_grass_tufts),
    'bench': _Item(reach_m=0.8, build=standing.add_bench),
    'bin': _Item(reach_m=0.5, build=standing.add_bin),
    'pole': _Item(reach_m=0.2, build=_pole),
    'board': _Item(reach_m=0.9, build=standing.add_board),
    'shelter': _Item(reach_m=2.0, build=standing.add_shelter),
    'fence': _Item(reach_m=0.5, build=_fence),
    'path': _Item(reach_m=0.0, build=_path),
}
"""What may stand in a place, by the names that `PlaceKind.things` takes."""


def _find_room(
    source: Random, reach_m: float, radius_m: float, taken: Sequence[tuple[float, float, float]]
) -> tuple[float, float] | None:
    """Where a thing has room, x and z: more often nearby than far; None after a few tries."""
    for _ in range(5):
        nearest = max(1.0, reach_m + 0.9)
        away = nearest + (radius_m - nearest) * source.random() ** 1.6
        angle = source.uniform(-1.0, 1.0)
        x, z = away * math.sin(angle), away * math.cos(angle)
        if all(math.hypot(x - a, z - b) > reach_m + c for a, b, c in taken):
            return x, z
    return None
