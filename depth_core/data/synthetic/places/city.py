# SPDX-License-Identifier: Apache-2.0
"""Streets with more in them: jams, trams, bicycles, people at any distance, fences, backlight."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from depth_core.data.synthetic.places.street import furnish_street
from depth_core.data.synthetic.scene import Body, Scene
from depth_core.data.synthetic.things import cycles, heavy
from depth_core.data.synthetic.things import street_things as standing
from depth_core.data.synthetic.things.people import add_figure
from depth_core.data.synthetic.things.stock import Stock
from depth_core.data.synthetic.things.vehicles import add_car


@dataclass(frozen=True, kw_only=True)
class CityKind:
    """What is added to which streets."""

    bases: tuple[str, ...]
    """Keys of `STREET_KINDS`, one of which is drawn."""
    jam: float
    """Probability that traffic stands close together in every lane."""
    trams: float
    """Probability of tracks in the road, most often with a tram."""
    people: tuple[int, int]
    cycles: tuple[int, int]
    walks: float
    """Probability that the camera is on the pavement and turned anywhere, not in a lane."""


CITY_KINDS: Final = {
    'city_jam': CityKind(
        bases=('street_boulevard', 'street_city', 'street_highway'), jam=1.0, trams=0.15,
        people=(0, 6), cycles=(0, 2), walks=0.05,
    ),
    'city_tram': CityKind(
        bases=('street_city', 'street_boulevard', 'street_residential'), jam=0.2, trams=1.0,
        people=(2, 10), cycles=(0, 5), walks=0.25,
    ),
    'city_drive': CityKind(
        bases=(
            'street_city', 'street_residential', 'street_boulevard', 'street_country',
            'street_highway',
        ),
        jam=0.12, trams=0.08, people=(0, 8), cycles=(0, 4), walks=0.0,
    ),
    'city_walk': CityKind(
        bases=('street_city', 'street_residential', 'street_boulevard'), jam=0.15, trams=0.15,
        people=(3, 12), cycles=(1, 5), walks=1.0,
    ),
}  # fmt: skip
"""Kinds of streets with more in them by the name of their scene class."""


def make_city(name: str, source: Random) -> Scene:
    """Return a street of the kind `name`, a key of `CITY_KINDS`."""
    kind = CITY_KINDS[name]
    jam = source.random() < kind.jam
    site = furnish_street(source.choice(kind.bases), source, empty=jam)
    scene, kit, layout = site.scene, site.kit, site.layout
    _backlight(scene, source)
    if source.random() < kind.trams:
        _trams(scene, source, kit, layout.lane_m * source.choice((-0.5, -0.5, 0.5)))
    if jam:
        for lane in range(-layout.lanes, layout.lanes):
            _queue(scene, source, kit, (lane + 0.5) * layout.lane_m, oncoming=lane < 0)
    kerb = layout.road_m + max(layout.parking_m)
    for _ in range(source.randint(*kind.people)):
        _person(scene, source, kerb)
    for _ in range(source.randint(*kind.cycles)):
        side = source.choice((-1.0, 1.0))
        body = Body(
            arc_m=4.0 + 40.0 * source.random() ** 1.7,
            lateral_m=side * (layout.road_m - 0.6) + source.gauss(0.0, 0.4),
            yaw_rad=(0.0 if side > 0.0 else math.pi) + source.gauss(0.0, 0.15),
        )
        maker = cycles.add_motorcycle if source.random() < 0.25 else cycles.add_bicycle
        maker(scene, source, kit, body, ridden=source.random() < 0.75)
    for _ in range(source.randint(1, 6)):
        _furniture(scene, source, kit, kerb)
    _camera(scene, source, kind, kerb)
    return scene


def _backlight(scene: Scene, source: Random) -> None:
    """A low sun ahead now and then: long shadows towards the camera and a burnt-out sky."""
    if source.random() > 0.3 or scene.lighting.direct[0] < 1.0:
        return
    azimuth, elevation = source.gauss(0.0, 0.5), source.uniform(0.12, 0.5)
    gain = source.uniform(1.0, 1.8)
    red, green, blue = (gain * value for value in scene.lighting.direct)
    scene.lighting = replace(
        scene.lighting,
        direction=(
            math.cos(elevation) * math.sin(azimuth), -math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        ),
        direct=(red, green, blue),
    )  # fmt: skip
    sky = scene.sky
    bright = source.uniform(1.5, 4.0)
    scene.sky = replace(
        sky,
        horizon=(bright * sky.horizon[0], bright * sky.horizon[1], bright * sky.horizon[2]),
        cloud=(bright, bright, bright),
    )


def _trams(scene: Scene, source: Random, kit: Stock, lateral: float) -> None:
    standing.add_tracks(scene, source, kit, lateral, 150.0)
    standing.add_tracks(scene, source, kit, lateral + 3.0, 150.0)
    if source.random() < 0.9:
        towards = source.random() < 0.5
        body = Body(
            arc_m=source.uniform(20.0, 26.0) + 30.0 * source.random() ** 2,
            lateral_m=lateral if source.random() < 0.6 else lateral + 3.0,
            yaw_rad=math.pi if towards else 0.0,
            speed_m_s=-5.0 if towards else 5.0,
        )
        heavy.add_tram(scene, source, kit, body)


_QUEUE: Final = ('car', 'car', 'car', 'car', 'van', 'lorry', 'lorry', 'bus')
_LENGTH_M: Final = {'car': 4.6, 'van': 6.0, 'lorry': 12.5, 'bus': 12.5}


def _queue(scene: Scene, source: Random, kit: Stock, lateral: float, *, oncoming: bool) -> None:
    """Vehicles close behind each other from beside the camera to 70 m ahead."""
    own = abs(lateral - scene.motion.lateral_m) < 1.0
    place = source.uniform(5.0, 9.0) if own else source.uniform(-6.0, 4.0)
    while place < 70.0:
        item = source.choice(_QUEUE)
        length = _LENGTH_M[item]
        body = Body(
            arc_m=place + 0.5 * length, lateral_m=lateral + source.gauss(0.0, 0.15),
            yaw_rad=(math.pi if oncoming else 0.0) + source.gauss(0.0, 0.02),
        )  # fmt: skip
        maker = {
            'car': add_car,
            'van': heavy.add_van,
            'lorry': heavy.add_lorry,
            'bus': heavy.add_bus,
        }
        maker[item](scene, source, kit, body)
        place += length + source.uniform(1.5, 9.0)


def _person(scene: Scene, source: Random, kerb: float) -> None:
    crossing = source.random() < 0.2
    side = source.choice((-1.0, 1.0))
    lateral = source.uniform(-kerb, kerb) if crossing else side * (kerb + source.uniform(0.3, 3.0))
    body = Body(
        arc_m=2.5 + 35.0 * source.random() ** 1.7, lateral_m=lateral,
        yaw_rad=source.choice((0.0, math.pi, 1.57, -1.57)) + source.gauss(0.0, 0.3),
    )  # fmt: skip
    add_figure(scene, source, body, source.choice(('walk', 'walk', 'stand')))


def _furniture(scene: Scene, source: Random, kit: Stock, kerb: float) -> None:
    side = source.choice((-1.0, 1.0))
    body = Body(
        arc_m=3.0 + 50.0 * source.random() ** 1.5,
        lateral_m=side * (kerb + source.uniform(0.4, 1.2)),
        yaw_rad=source.choice((0.0, math.pi)) + source.gauss(0.0, 0.05),
    )
    pick = source.random()
    if pick < 0.3:
        standing.add_fence(
            scene, source, kit, replace(body, yaw_rad=0.0), source.uniform(5.0, 20.0)
        )
    elif pick < 0.5:
        standing.add_board(scene, source, kit, body)
    elif pick < 0.6:
        standing.add_shelter(scene, source, kit, replace(body, yaw_rad=-side * 1.57))
    elif pick < 0.8:
        standing.add_street_tree(scene, source, kit, body)
    else:
        standing.add_bin(scene, source, kit, body)


def _camera(scene: Scene, source: Random, kind: CityKind, kerb: float) -> None:
    """Turn and lift the camera: a car's, a lorry's, or a robot's on the pavement."""
    motion = scene.motion
    if source.random() < kind.walks:
        side = source.choice((-1.0, 1.0))
        low = source.random() < 0.4
        scene.motion = replace(
            motion,
            speed_m_s=source.uniform(0.0, 2.0),
            lateral_m=side * (kerb + source.uniform(0.2, 1.5)),
            height_m=source.uniform(0.1, 0.8) if low else source.uniform(0.9, 2.2),
            yaw_rad=source.gauss(-0.25 * side, 0.35),
            pitch_rad=source.gauss(0.0, 0.09),
            roll_rad=source.gauss(0.0, 0.04),
        )
        return
    scene.motion = replace(
        motion,
        height_m=source.choice(
            (motion.height_m, source.uniform(0.9, 1.8), source.uniform(1.8, 3.0))
        ),
        yaw_rad=source.choice((motion.yaw_rad, source.gauss(0.0, 0.12))),
        pitch_rad=source.choice((motion.pitch_rad, source.gauss(0.0, 0.05))),
        roll_rad=source.choice((motion.roll_rad, source.gauss(0.0, 0.03))),
    )
