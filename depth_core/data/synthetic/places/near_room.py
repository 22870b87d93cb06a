# SPDX-License-Identifier: Apache-2.0
"""Rooms seen from a desk, a shelf, a table or the floor: most of an image is 0.3 to 3 m away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from depth_core.data.synthetic.places.placing import RoomBounds
from depth_core.data.synthetic.places.room import light_room
from depth_core.data.synthetic.scene import Body, Label, Motion, Pane, Scene, Shape
from depth_core.data.synthetic.things import near_things as near
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.builder import Builder
from depth_core.data.synthetic.things.people import add_figure

_WALLS: Final = ('front', 'left', 'right')


@dataclass(frozen=True, kw_only=True)
class NearKind:
    """The ranges a view into a room is drawn from."""

    height_m: tuple[float, float]
    """Of the camera."""
    pitch_rad: tuple[float, float]
    ahead_m: tuple[float, float]
    """From the camera to the thing in front of it."""
    subject: str
    """What is in front: desk, table, shelf, kitchen, or none."""
    width_m: tuple[float, float]
    length_m: tuple[float, float]
    people: float
    """Probability of each of three people."""
    chairs: tuple[int, int]


NEAR_KINDS: Final = {
    'near_desk': NearKind(
        height_m=(0.95, 1.6), pitch_rad=(-0.75, -0.05), ahead_m=(0.1, 0.6), subject='desk',
        width_m=(2.4, 6.0), length_m=(1.8, 6.0), people=0.12, chairs=(0, 2),
    ),
    'near_table': NearKind(
        height_m=(1.0, 1.7), pitch_rad=(-0.65, -0.1), ahead_m=(0.2, 1.2), subject='table',
        width_m=(2.6, 6.0), length_m=(2.5, 6.5), people=0.2, chairs=(2, 6),
    ),
    'near_shelf': NearKind(
        height_m=(0.5, 1.7), pitch_rad=(-0.4, 0.2), ahead_m=(0.4, 1.8), subject='shelf',
        width_m=(2.0, 5.0), length_m=(1.5, 3.5), people=0.1, chairs=(0, 1),
    ),
    'near_kitchen': NearKind(
        height_m=(1.1, 1.7), pitch_rad=(-0.6, 0.0), ahead_m=(0.3, 1.6), subject='kitchen',
        width_m=(2.0, 4.5), length_m=(1.6, 4.5), people=0.15, chairs=(0, 3),
    ),
    'near_floor': NearKind(
        height_m=(0.1, 0.7), pitch_rad=(-0.15, 0.2), ahead_m=(0.7, 2.5), subject='table',
        width_m=(3.0, 8.0), length_m=(3.0, 9.0), people=0.3, chairs=(1, 6),
    ),
    'hall': NearKind(
        height_m=(0.25, 1.7), pitch_rad=(-0.2, 0.1), ahead_m=(2.0, 5.0), subject='none',
        width_m=(1.6, 5.0), length_m=(8.0, 30.0), people=0.45, chairs=(0, 3),
    ),
}  # fmt: skip
"""Views into rooms by the name of their scene class."""


def make_near_room(name: str, source: Random) -> Scene:
    """Return a room seen from nearby; the camera stands at x = z = 0 and looks along z."""
    kind = NEAR_KINDS[name]
    scene = Scene()
    ahead = source.uniform(*kind.ahead_m)
    width = source.uniform(*kind.width_m)
    left = source.uniform(0.3, 0.7) * width
    front = max(source.uniform(*kind.length_m), ahead + 0.8)
    if kind.subject in ('shelf', 'kitchen') or (kind.subject == 'desk' and source.random() < 0.6):
        front = ahead + {'shelf': 0.3, 'kitchen': 0.6}.get(kind.subject, source.uniform(0.6, 0.9))
    high = source.uniform(2.3, 3.4)
    room = RoomBounds(
        left_m=-left, right_m=width - left, back_m=-source.uniform(0.8, 3.0), front_m=front,
        height_m=high,
    )  # fmt: skip
    _shell(scene, source, room)
    scene.motion = Motion(
        height_m=min(source.uniform(*kind.height_m), high - 0.3),
        yaw_rad=source.gauss(0.0, 0.3 if front > 2.0 else 0.2),
        pitch_rad=source.uniform(*kind.pitch_rad),
        roll_rad=source.gauss(0.0, 0.07),
    )
    _subject(scene, source, kind, room, ahead)
    for wall in _WALLS:
        _along_wall(scene, source, kind, room, wall)
    for _ in range(source.randint(*kind.chairs)):
        reach = min(front, 5.0)
        x = source.uniform(room.left_m + 0.3, room.right_m - 0.3)
        z = source.uniform(min(0.6, 0.5 * reach), max(reach - 0.4, 0.7))
        near.add_chair(
            scene, source, Body(arc_m=z, lateral_m=x, yaw_rad=source.uniform(-3.1, 3.1))
        )
    _people(scene, source, kind, room)
    light_room(scene, source, room)
    _daylight(scene, source)
    return scene


def _daylight(scene: Scene, source: Random) -> None:
    """Bright ceilings and shadowless light are as common as one lamp."""
    if source.random() < 0.5:
        gain = source.uniform(1.5, 3.5)
        red, green, blue = scene.lighting.ambient
        scene.lighting = replace(scene.lighting, ambient=(red * gain, green * gain, blue * gain))


def _shell(scene: Scene, source: Random, room: RoomBounds) -> None:
    shell = Builder(scene=scene, source=source, body=0, label=Label.ROOM)
    floor = source.choice((palette.wood, palette.cloth, palette.tiles, palette.paving))
    pick = source.random()
    if pick < 0.12:
        wall = palette.bricks(source)
    elif pick < 0.22:
        wall = palette.tiles(source)
    elif pick < 0.26:
        wall = palette.poster(source, source.uniform(0.3, 1.0), source.uniform(0.3, 1.0))
    else:
        tint = (
            palette.vivid(source)
            if source.random() < 0.2
            else palette.any_colour(source, 0.3, 0.8)
        )
        wall = palette.plain(
            source, palette.mix((0.7, 0.68, 0.62), tint, source.uniform(0.0, 0.9))
        )
    across, along = (room.left_m, room.right_m), (room.back_m, room.front_m)
    half = [0.5 * (end - start) for start, end in (across, along)]
    middle = [0.5 * (end + start) for start, end in (across, along)]
    scene.add(
        Shape.BOX, (middle[0], -0.5 * room.height_m, middle[1]),
        (half[0], 0.5 * room.height_m, half[1]), shell.skin(wall),
        top=shell.skin(palette.plain(source, (0.72, 0.71, 0.69))),
        bottom=shell.skin(palette.plain(source, (0.3, 0.3, 0.3))), label=Label.ROOM, casts=False,
    )  # fmt: skip
    ground = shell.of(Label.FLOOR)
    scene.add(
        Shape.BOX, (middle[0], 0.05, middle[1]), (half[0], 0.051, half[1]),
        ground.skin(floor(source)), label=Label.FLOOR, casts=False,
    )  # fmt: skip
    skirting = shell.skin(palette.wood(source))
    for x in across:
        shell.box((x - 0.015, x + 0.015), (0.0, 0.09), along, skirting)
    shell.box(across, (0.0, 0.09), (room.front_m - 0.015, room.front_m), skirting)
    if source.random() < 0.35:
        rug = ground.skin(
            palette.poster(source, source.uniform(0.8, 2.0), source.uniform(0.8, 2.0))
        )
        x, z = source.uniform(*across) * 0.5, source.uniform(0.3, 0.8) * room.front_m
        ground.box(
            (x - 0.9, x + 0.9),
            (0.0, 0.012),
            (z - 0.6, z + 0.6),
            rug,
            yaw_rad=source.uniform(-0.4, 0.4),
        )


def _subject(scene: Scene, source: Random, kind: NearKind, room: RoomBounds, ahead: float) -> None:
    body = Body(arc_m=ahead, lateral_m=source.gauss(0.0, 0.2), yaw_rad=source.gauss(0.0, 0.1))
    wide = 0.5 * (room.right_m - room.left_m)
    if kind.subject == 'desk':
        depth = min(source.uniform(0.6, 0.9), room.front_m - ahead)
        half = min(source.uniform(0.6, 1.2), wide)
        near.add_desk(scene, source, body, half_width=half, depth=depth, screens=True)
    elif kind.subject == 'table':
        body = replace(body, yaw_rad=source.gauss(0.0, 0.5))
        half, depth = source.uniform(0.4, 0.9), source.uniform(0.7, 1.1)
        near.add_desk(scene, source, body, half_width=half, depth=depth, screens=False)
    elif kind.subject == 'shelf':
        body = Body(arc_m=room.front_m - 0.3, lateral_m=source.uniform(-0.4, 0.4))
        near.add_shelf(
            scene,
            source,
            body,
            half_width=min(source.uniform(0.5, 1.4), wide),
            high=source.uniform(1.2, 2.2),
        )
    elif kind.subject == 'kitchen':
        body = Body(arc_m=room.front_m - 0.6, lateral_m=0.5 * (room.left_m + room.right_m))
        near.add_cupboards(scene, source, body, half_width=wide)


def _along_wall(scene: Scene, source: Random, kind: NearKind, room: RoomBounds, wall: str) -> None:
    """Furniture and hangings every metre and a half along one wall."""
    if wall == 'front':
        start, end = room.left_m, room.right_m
    else:
        start, end = 0.3, room.front_m
    place = start + source.uniform(0.3, 0.9)
    while place < end - 0.3:
        x, z, yaw = {
            'front': (place, room.front_m, 0.0),
            'left': (room.left_m, place, -0.5 * math.pi),
            'right': (room.right_m, place, 0.5 * math.pi),
        }[wall]

        def back(depth: float, x: float = x, z: float = z, yaw: float = yaw) -> Body:
            return Body(
                arc_m=z - math.cos(yaw) * depth, lateral_m=x - math.sin(yaw) * depth, yaw_rad=yaw
            )

        behind_subject = wall == 'front' and kind.subject in ('shelf', 'kitchen')
        pick = source.random()
        if behind_subject or pick < 0.45:
            near.hang(scene, source, back(0.0), room.height_m)
        elif pick < 0.6:
            near.add_shelf(
                scene,
                source,
                back(0.3),
                half_width=source.uniform(0.3, 0.5),
                high=source.uniform(0.7, 2.1),
            )
        elif pick < 0.72:
            near.add_cupboards(scene, source, back(0.6), half_width=source.uniform(0.4, 0.7))
        elif pick < 0.85:
            near.add_desk(
                scene,
                source,
                back(0.7),
                half_width=source.uniform(0.4, 0.7),
                depth=0.68,
                screens=source.random() < 0.6,
            )
        elif pick < 0.92 and kind.subject == 'none':
            centre = back(0.15)
            scene.panes.append(
                Pane(
                    centre=(centre.lateral_m, -1.1, centre.arc_m),
                    half=(0.6, 1.1),
                    yaw_rad=yaw,
                    mirror=False,
                )
            )
        else:
            near.add_chair(scene, source, replace(back(0.3), yaw_rad=yaw + math.pi))
        place += source.uniform(0.9, 1.9)


def _people(scene: Scene, source: Random, kind: NearKind, room: RoomBounds) -> None:
    for _ in range(3):
        if source.random() >= kind.people:
            continue
        x = source.uniform(room.left_m + 0.4, room.right_m - 0.4)
        z = source.uniform(min(1.1, room.front_m - 0.3), max(room.front_m - 0.4, 1.2))
        body = Body(arc_m=z, lateral_m=x, yaw_rad=source.uniform(-3.1, 3.1))
        sits = source.random() < 0.35
        if sits:
            near.add_chair(scene, source, body)
        add_figure(scene, source, body, 'sit' if sits else source.choice(('stand', 'walk')))
