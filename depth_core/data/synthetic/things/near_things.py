# SPDX-License-Identifier: Apache-2.0
"""Desks, tables, shelves, cupboards and chairs with what stands on them, seen from nearby."""

from __future__ import annotations

import math
from random import Random

from depth_core.data.synthetic.scene import Body, Label, Material, Pane, Scene, Shape
from depth_core.data.synthetic.things import desk_things, palette
from depth_core.data.synthetic.things.builder import Builder


def board(thing: Builder) -> int:
    """A material of furniture."""
    source = thing.source
    pick = source.random()
    if pick < 0.5:
        return thing.skin(palette.wood(source))
    if pick < 0.65:
        return thing.skin(palette.plain(source, palette.vivid(source), gloss=0.3))
    white = source.random() < 0.5
    colour = (0.7, 0.69, 0.66) if white else palette.any_colour(source)
    return thing.skin(palette.plain(source, colour, gloss=source.choice((0.0, 0.3))))


def _on(body: Body, x: float, z: float, turn: float = 0.0) -> Body:
    """A body at (x, z) in the frame of another one."""
    cos, sin = math.cos(body.yaw_rad), math.sin(body.yaw_rad)
    return Body(
        arc_m=body.arc_m - sin * x + cos * z,
        lateral_m=body.lateral_m + cos * x + sin * z,
        yaw_rad=body.yaw_rad + turn,
    )


def add_desk(
    scene: Scene, source: Random, body: Body, *, half_width: float, depth: float, screens: bool
) -> float:
    """A desk or table whose front edge lies at z = 0 of the body and whose back at `depth`.

    Returns:
        Height of its top, metres.
    """
    desk = Builder.at(scene, source, body, Label.FURNITURE)
    top, level = board(desk), source.uniform(0.68, 0.78)
    w = half_width
    desk.box((-w, w), (level - source.uniform(0.02, 0.05), level), (0.0, depth), top)
    legs = board(desk)
    if source.random() < 0.4:
        for x in (-w, w - 0.03):
            desk.box((x, x + 0.03), (0.0, level - 0.02), (0.03, depth), legs)
        if source.random() < 0.6:
            desk.box((w - 0.45, w - 0.03), (0.1, level - 0.03), (0.05, depth - 0.05), top)
            for drawer in range(3):
                high = level - 0.12 - 0.18 * drawer
                desk.box((w - 0.32, w - 0.16), (high, high + 0.015), (0.02, 0.06), legs)
    else:
        for x in (-w + 0.06, w - 0.06):
            for z in (0.06, depth - 0.06):
                desk.rod((x, 0.0, z), (x, level - 0.02, z), 0.025, legs)
    _cover(scene, source, body, half_width=w, depth=depth, level=level, screens=screens)
    return level


def _cover(
    scene: Scene,
    source: Random,
    body: Body,
    *,
    half_width: float,
    depth: float,
    level: float,
    screens: bool,
) -> None:
    """Things on a desk: screens at the back, the rest scattered over places of a grid."""
    columns = max(int(half_width / 0.17), 1)
    rows = max(int(depth / 0.28), 1)
    for column in range(columns):
        x = (2.0 * (column + source.uniform(0.3, 0.7)) / columns - 1.0) * (half_width - 0.08)
        for row in range(rows):
            z = (row + source.uniform(0.3, 0.7)) / rows * depth
            last = row == rows - 1
            if screens and last and source.random() < 0.4:
                maker = source.choice(desk_things.SCREENS)
                desk_things.put(
                    scene, source, _on(body, x, z - 0.08, source.gauss(0.0, 0.2)), maker, level
                )
            elif source.random() < 0.55:
                maker = source.choice(desk_things.SMALL)
                turn = source.gauss(0.0, 0.5)
                desk_things.put(scene, source, _on(body, x, z, turn), maker, level)


def add_shelf(scene: Scene, source: Random, body: Body, *, half_width: float, high: float) -> None:
    """An open shelf against a wall at z = 0.3 of the body, full of books and things."""
    shelf = Builder.at(scene, source, body, Label.FURNITURE)
    things = shelf.of(Label.OBJECT)
    skin, w, depth = board(shelf), half_width, source.uniform(0.24, 0.34)
    back = 0.3
    front = back - depth
    for x in (-w, w - 0.025):
        shelf.box((x, x + 0.025), (0.0, high), (front, back), skin)
    shelf.box((-w, w), (0.0, high), (back - 0.01, back), board(shelf))
    levels = max(round(high / source.uniform(0.3, 0.42)), 2)
    step = (high - 0.03) / levels
    for number in range(levels + 1):
        low = number * step
        shelf.box((-w, w), (low, low + 0.025), (front, back), skin)
        if number == levels or source.random() < 0.1:
            continue
        pick = source.random()
        if pick < 0.6:
            start = -w + 0.03 + source.choice((0.0, 0.2 * w))
            end = source.uniform(0.1, 0.97) * w
            desk_things.row_of_books(
                things, (start, end), low + 0.025, (front + 0.02, back - 0.02), step - 0.05
            )
        elif pick < 0.8:
            for _ in range(3):
                body_there = _on(body, source.uniform(-0.8, 0.8) * w, front + 0.14)
                desk_things.put(
                    scene, source, body_there, source.choice(desk_things.SMALL), low + 0.025
                )
        else:
            basket = things.skin(palette.cloth(source))
            things.box(
                (-0.6 * w, 0.3 * w),
                (low + 0.025, low + 0.75 * step),
                (front + 0.03, back - 0.03),
                basket,
            )


def add_cupboards(scene: Scene, source: Random, body: Body, *, half_width: float) -> None:
    """A kitchen row against a wall at z = 0.6 of the body: doors, worktop, wall cupboards."""
    row = Builder.at(scene, source, body, Label.FURNITURE)
    front, w = board(row), half_width
    metal = row.skin(palette.plain(source, (0.45, 0.45, 0.46), gloss=0.4))
    top = row.skin(palette.plain(source, palette.any_colour(source), gloss=0.3, noise=0.15))
    row.box((-w, w), (0.08, 0.86), (0.02, 0.6), front)
    row.box((-w, w), (0.86, 0.9), (0.0, 0.6), top)
    count = max(round(w / 0.27), 1)
    step = 2.0 * w / count
    gap = row.skin(palette.plain(source, (0.02, 0.02, 0.02)))
    for door in range(count):
        x = -w + door * step
        row.box((x - 0.003, x + 0.003), (0.1, 0.86), (0.015, 0.1), gap)
        row.box((x + 0.05, x + 0.2), (0.74, 0.755), (-0.02, 0.02), metal)
    tiles = row.of(Label.ROOM)
    tiles.box((-w, w), (0.9, 1.45), (0.585, 0.6), tiles.skin(palette.tiles(source)))
    upper = source.random()
    if upper < 0.5:
        row.box((-w, w), (1.45, 2.1), (0.27, 0.6), front)
        for door in range(count):
            x = -w + door * step
            row.box((x - 0.003, x + 0.003), (1.46, 2.09), (0.265, 0.3), gap)
    elif upper < 0.8:
        row.box((-w, w), (1.45, 1.48), (0.35, 0.6), front)
    _cover(scene, source, body, half_width=w, depth=0.55, level=0.9, screens=False)
    if upper >= 0.5 and upper < 0.8:
        shelf = _on(body, 0.0, 0.36)
        _cover(scene, source, shelf, half_width=w, depth=0.2, level=1.48, screens=False)


def add_chair(scene: Scene, source: Random, body: Body) -> None:
    """A chair that faces z: with slats, a solid back, or on castors."""
    chair = Builder.at(scene, source, body, Label.FURNITURE)
    skin, frame = board(chair), board(chair)
    w, d, seat = source.uniform(0.2, 0.25), source.uniform(0.2, 0.25), source.uniform(0.43, 0.49)
    high = source.uniform(0.8, 1.0)
    if source.random() < 0.35:
        soft = chair.skin(palette.cloth(source))
        dark = chair.skin(palette.plain(source, (0.02, 0.02, 0.02)))
        chair.box((-w, w), (seat - 0.03, seat + 0.05), (-d, d), soft)
        chair.box((-0.9 * w, 0.9 * w), (seat + 0.15, high + 0.1), (-d - 0.05, -d + 0.03), soft)
        chair.rod((0.0, 0.08, 0.0), (0.0, seat, 0.0), 0.03, dark)
        for spoke in range(5):
            angle = 1.2566 * spoke
            end = 0.3 * math.cos(angle), 0.06, 0.3 * math.sin(angle)
            chair.rod((0.0, 0.1, 0.0), end, 0.02, dark)
            chair.ball((end[0], 0.03, end[2]), (0.03, 0.03, 0.03), dark)
        for x in (-w - 0.04, w + 0.04):
            chair.box(
                (x - 0.025, x + 0.025), (seat + 0.18, seat + 0.21), (-d + 0.05, d - 0.1), dark
            )
        return
    chair.box((-w, w), (seat - 0.03, seat), (-d, d), skin)
    slats = Shape.BARS if source.random() < 0.5 else Shape.BOX
    chair.box((-w, w), (seat + 0.1, high), (-d, -d + 0.03), skin, shape=slats)
    for x in (-w + 0.02, w - 0.02):
        chair.rod((x, 0.0, d - 0.02), (x, seat, d - 0.02), 0.018, frame)
        chair.rod((x, 0.0, -d + 0.02), (x, high, -d + 0.01), 0.018, frame)


def hang(scene: Scene, source: Random, body: Body, ceiling_m: float) -> None:
    """Something on a wall at z = 0 of the body: print, pin board, mirror, window, shelf, clock."""
    wall = Builder.at(scene, source, body, Label.ROOM)
    kind = source.choice(
        ('print', 'print', 'pins', 'mirror', 'window', 'window', 'shelf', 'clock', 'door')
    )
    w, middle = source.uniform(0.2, 0.6), source.uniform(1.25, 1.65)
    h = min(source.uniform(0.2, 0.5), ceiling_m - middle - 0.1)
    frame = board(wall)
    if kind in ('print', 'pins'):
        wall.box(
            (-w - 0.03, w + 0.03), (middle - h - 0.03, middle + h + 0.03), (-0.02, 0.0), frame
        )
        wall.box(
            (-w, w),
            (middle - h, middle + h),
            (-0.024, 0.0),
            wall.skin(palette.poster(source, 2.0 * w, 2.0 * h)),
        )
        for _ in range(source.randint(4, 12) if kind == 'pins' else 0):
            x, y = source.uniform(-1.0, 1.0), middle + source.uniform(-0.5, 0.5)
            sheet = wall.skin(palette.poster(source, 0.2, 0.28))
            wall.box((x - 0.1, x + 0.1), (y - 0.14, y + 0.14), (-0.03, 0.0), sheet)
    elif kind in ('mirror', 'window'):
        _opening(wall, body, w, h, middle, mirror=kind == 'mirror')
    elif kind == 'shelf':
        things = wall.of(Label.FURNITURE)
        things.box((-w, w), (middle - 0.03, middle), (-0.22, 0.0), board(things))
        desk_things.row_of_books(wall.of(Label.OBJECT), (-w, 0.6 * w), middle, (-0.2, -0.02), 0.3)
    elif kind == 'clock':
        wall.rod((0.0, middle, -0.03), (0.0, middle, 0.0), 0.16, frame)
        wall.rod(
            (0.0, middle, -0.034),
            (0.0, middle, 0.0),
            0.14,
            wall.skin(palette.plain(source, (0.8, 0.8, 0.78))),
        )
    else:
        wall.box((-0.45, 0.45), (0.0, 2.03), (-0.03, 0.0), board(wall))
        wall.box((-0.5, 0.5), (0.0, 2.08), (-0.02, 0.0), frame)
        wall.ball((0.36, 1.02, -0.06), (0.05, 0.02, 0.03), frame)


def _opening(
    wall: Builder, body: Body, w: float, h: float, middle: float, *, mirror: bool
) -> None:
    """A window with what is outside on it, or a mirror; of both no depth is known."""
    source, frame = wall.source, board(wall)
    wall.box((-w - 0.05, w + 0.05), (middle - h - 0.05, middle + h + 0.05), (-0.02, 0.0), frame)
    bright = source.choice((0.5, 2.0, 5.0, 9.0))
    outside = Material(
        colour=(1.0, 1.0, 1.0), cell=(1.0, 1.0, 1.0), cell_m=(2.0 * w, 2.0 * h), joint=(0.0, 0.0),
        emission=0.0 if mirror else bright, picture=6 * source.randrange(50) + 2,
    )  # fmt: skip
    wall.box((-w, w), (middle - h, middle + h), (-0.024, 0.0), wall.skin(outside))
    if not mirror and source.random() < 0.6:
        wall.box((-0.02, 0.02), (middle - h, middle + h), (-0.05, 0.0), frame)
    place = _on(body, 0.0, -0.03)
    wall.scene.panes.append(
        Pane(
            centre=(place.lateral_m, -middle, place.arc_m),
            half=(w, h),
            yaw_rad=body.yaw_rad,
            mirror=mirror,
        )
    )
