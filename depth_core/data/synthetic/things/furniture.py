# SPDX-License-Identifier: Apache-2.0
"""Furniture and what hangs or lies about, built of primitives.

A maker builds its piece in the frame of a body that looks along z, with the back at z < 0, and
states its footprint first so that pieces do not stand in each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic.scene import Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.outdoor_things import add_person

Half = tuple[float, float]
"""Half width and half depth of a footprint, metres."""


@dataclass(frozen=True, kw_only=True)
class Furniture:
    """One kind of furniture."""

    footprint: Callable[[Random], Half]
    build: Callable[[Scene, Random, int, Half], None]


def _box(
    scene: Scene,
    body: int,
    span: tuple[float, float, float, float, float, float],
    material: int,
    top: int | None = None,
) -> None:
    """A box from (x0, x1), heights (low, high) and (z0, z1)."""
    x0, x1, low, high, z0, z1 = span
    scene.add(
        Shape.BOX,
        (0.5 * (x0 + x1), -0.5 * (low + high), 0.5 * (z0 + z1)),
        (0.5 * abs(x1 - x0), 0.5 * (high - low), 0.5 * abs(z1 - z0)),
        material,
        top=top,
        body=body,
    )


def _legs(scene: Scene, body: int, half: Half, *, height: float, radius: float, kind: int) -> None:
    for x in (-1.0, 1.0):
        for z in (-1.0, 1.0):
            scene.add(
                Shape.CYLINDER,
                (x * (half[0] - 1.5 * radius), -0.5 * height, z * (half[1] - 1.5 * radius)),
                (radius, 0.5 * height, radius),
                kind,
                body=body,
            )


def solid(scene: Scene, source: Random) -> int:
    """Add a material that furniture is made of and return its index."""
    maker = source.choice((palette.wood, palette.wood, palette.cloth))
    if source.random() < 0.4:
        gloss = source.choice((0.0, 0.3))
        return scene.add_material(palette.plain(source, palette.any_colour(source), gloss=gloss))
    return scene.add_material(maker(source))


def _bed(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    frame, sheet = solid(scene, source), scene.add_material(palette.cloth(source))
    high = source.uniform(0.4, 0.6)
    _box(scene, body, (-w, w, 0.08, 0.3, -d, d), frame)
    _box(scene, body, (-w + 0.03, w - 0.03, 0.28, high, -d + 0.05, d - 0.02), sheet)
    _box(scene, body, (-w, w, 0.0, source.uniform(0.7, 1.2), -d, -d + 0.07), frame)
    pillow = scene.add_material(palette.cloth(source))
    for x in (-0.5, 0.5):
        scene.add(
            Shape.ELLIPSOID,
            (x * w, -high - 0.04, -d + 0.4),
            (0.42 * w, 0.1, 0.22),
            pillow,
            body=body,
        )


def _wardrobe(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    high = source.uniform(1.1, 2.15)
    skin = solid(scene, source)
    _box(scene, body, (-w, w, 0.0, high, -d, d), skin)
    door = solid(scene, source) if source.random() < 0.5 else skin
    for x0, x1 in ((-w + 0.02, -0.01), (0.01, w - 0.02)):
        _box(scene, body, (x0, x1, 0.08, high - 0.04, d - 0.01, d + 0.02), door)


def _shelf(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    high = source.uniform(0.9, 2.1)
    board, rows = solid(scene, source), scene.add_material(palette.books(source))
    for x in (-w, w - 0.03):
        _box(scene, body, (x, x + 0.03, 0.0, high, -d, d), board)
    _box(scene, body, (-w, w, 0.0, high, -d, -d + 0.02), board)
    levels = max(int(high / 0.38), 2)
    for level in range(levels + 1):
        low = level * (high - 0.03) / levels
        _box(scene, body, (-w, w, low, low + 0.03, -d, d), board)
        if level < levels and source.random() < 0.75:
            end = source.uniform(-0.2, 0.95) * w
            _box(scene, body, (-w + 0.04, end, low + 0.03, low + 0.27, -d, d - 0.08), rows)


def _table(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    high = source.uniform(0.4, 0.78)
    top = solid(scene, source)
    if source.random() < 0.25:
        scene.add(Shape.CYLINDER, (0.0, -high, 0.0), (w, 0.02, d), top, body=body)
        scene.add(
            Shape.CYLINDER, (0.0, -0.5 * high, 0.0), (0.05, 0.5 * high, 0.05), top, body=body
        )
    else:
        _box(scene, body, (-w, w, high - 0.04, high, -d, d), top)
        _legs(
            scene,
            body,
            half,
            height=high,
            radius=source.uniform(0.015, 0.04),
            kind=solid(scene, source),
        )
    for _ in range(source.randint(0, 3)):
        _clutter_piece(
            scene,
            source,
            body,
            (source.uniform(-0.7, 0.7) * w, source.uniform(-0.7, 0.7) * d),
            high,
        )


def _desk(scene: Scene, source: Random, body: int, half: Half) -> None:
    _table(scene, source, body, half)
    screen = scene.add_material(palette.plain(source, (0.02, 0.02, 0.025), gloss=0.4))
    _box(scene, body, (-0.28, 0.28, 0.9, 1.25, -0.1, -0.07), screen)
    _box(scene, body, (-0.03, 0.03, 0.7, 0.95, -0.13, -0.1), screen)


def _chair(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    seat, frame = solid(scene, source), solid(scene, source)
    _box(scene, body, (-w, w, 0.43, 0.48, -d, d), seat)
    _box(scene, body, (-w, w, 0.55, source.uniform(0.8, 1.05), -d, -d + 0.04), seat)
    _legs(scene, body, half, height=0.44, radius=0.018, kind=frame)
    for x in (-w + 0.02, w - 0.02):
        scene.add(Shape.CYLINDER, (x, -0.6, -d + 0.02), (0.015, 0.2, 0.015), frame, body=body)


def _sofa(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    skin = scene.add_material(palette.cloth(source))
    high = source.uniform(0.7, 0.95)
    _box(scene, body, (-w, w, 0.06, 0.42, -d, d), skin)
    _box(scene, body, (-w, w, 0.06, high, -d, -d + 0.22), skin)
    for x in (-w, w - 0.18):
        _box(scene, body, (x, x + 0.18, 0.06, 0.6, -d, d), skin)
    cushion = scene.add_material(palette.cloth(source))
    for _ in range(source.randint(0, 3)):
        scene.add(
            Shape.ELLIPSOID,
            (source.uniform(-0.6, 0.6) * w, -0.6, -d + 0.32),
            (0.22, 0.2, 0.1),
            cushion,
            body=body,
            pitch_rad=0.3,
        )


def _counter(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    front = solid(scene, source)
    top = scene.add_material(palette.plain(source, palette.any_colour(source), gloss=0.3))
    _box(scene, body, (-w, w, 0.08, 0.86, -d, d - 0.03), front)
    _box(scene, body, (-w, w, 0.86, 0.9, -d, d), top)
    if source.random() < 0.7:
        _box(scene, body, (-w, w, 1.45, 2.1, -d, -0.3 * d), front)
    for _ in range(source.randint(0, 4)):
        _clutter_piece(scene, source, body, (source.uniform(-0.8, 0.8) * w, 0.0), 0.9)


def _screen(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    stand = solid(scene, source)
    _box(scene, body, (-w, w, 0.0, 0.5, -d, d), stand)
    black = scene.add_material(palette.plain(source, (0.01, 0.01, 0.012), gloss=0.5))
    _box(scene, body, (-0.85 * w, 0.85 * w, 0.58, 0.58 + w, -0.03, 0.02), black)


def _lamp(scene: Scene, source: Random, body: int, half: Half) -> None:
    metal = scene.add_material(palette.plain(source, (0.2, 0.2, 0.2)))
    high = source.uniform(1.2, 1.7)
    scene.add(
        Shape.CYLINDER, (0.0, -0.5 * high, 0.0), (0.014, 0.5 * high, 0.014), metal, body=body
    )
    scene.add(Shape.CYLINDER, (0.0, -0.015, 0.0), (half[0], 0.015, half[0]), metal, body=body)
    shade = scene.add_material(palette.plain(source, (0.7, 0.6, 0.45)))
    scene.add(Shape.CYLINDER, (0.0, -high, 0.0), (half[0], 0.13, half[0]), shade, body=body)


def _plant(scene: Scene, source: Random, body: int, half: Half) -> None:
    pot = solid(scene, source)
    scene.add(
        Shape.CYLINDER, (0.0, -0.18, 0.0), (0.7 * half[0], 0.18, 0.7 * half[0]), pot, body=body
    )
    leaves = scene.add_material(palette.leaves(source))
    high = source.uniform(0.25, 0.6)
    scene.add(
        Shape.FOLIAGE,
        (0.0, -0.4 - high, 0.0),
        (1.3 * half[0], high, 1.3 * half[0]),
        leaves,
        body=body,
    )


def _crates(scene: Scene, source: Random, body: int, half: Half) -> None:
    w, d = half
    low = 0.0
    for _ in range(source.randint(1, 4)):
        high = low + source.uniform(0.2, 0.5)
        shift = source.uniform(-0.15, 0.15) * w
        kind = source.choice((solid(scene, source), scene.add_material(palette.picture(source))))
        _box(scene, body, (shift - 0.8 * w, shift + 0.8 * w, low, high, -0.8 * d, 0.8 * d), kind)
        low = high


def _column(scene: Scene, source: Random, body: int, half: Half) -> None:
    skin = scene.add_material(palette.plain(source, palette.any_colour(source), noise=0.15))
    radius = half[0] * source.choice((0.25, 0.4, 1.0))
    scene.add(Shape.CYLINDER, (0.0, -2.0, 0.0), (radius, 2.0, radius), skin, body=body)


def _person(scene: Scene, source: Random, body: int, half: Half) -> None:
    del half
    place = scene.bodies[body]
    add_person(scene, source, place)


def _clutter_piece(
    scene: Scene, source: Random, body: int, at: tuple[float, float], level: float
) -> None:
    size = source.uniform(0.04, 0.16)
    shape = source.choice((Shape.BOX, Shape.BOX, Shape.CYLINDER, Shape.ELLIPSOID))
    kind = scene.add_material(
        source.choice((palette.picture, palette.cloth, palette.wood))(source)
        if source.random() < 0.5
        else palette.plain(source, palette.any_colour(source), gloss=0.2)
    )
    half = (size, size * source.uniform(0.5, 2.0), size * source.uniform(0.6, 1.2))
    scene.add(
        shape,
        (at[0], -level - half[1], at[1]),
        half,
        kind,
        body=body,
        yaw_rad=source.uniform(0.0, math.pi),
    )


def _clutter(scene: Scene, source: Random, body: int, half: Half) -> None:
    del half
    _clutter_piece(scene, source, body, (0.0, 0.0), 0.0)


def _size(w: tuple[float, float], d: tuple[float, float]) -> Callable[[Random], Half]:
    return lambda source: (source.uniform(*w), source.uniform(*d))


FURNITURE = {
    'bed': Furniture(footprint=_size((0.45, 0.95), (0.95, 1.05)), build=_bed),
    'wardrobe': Furniture(footprint=_size((0.3, 0.9), (0.22, 0.33)), build=_wardrobe),
    'shelf': Furniture(footprint=_size((0.3, 0.9), (0.14, 0.2)), build=_shelf),
    'table': Furniture(footprint=_size((0.3, 0.9), (0.25, 0.5)), build=_table),
    'desk': Furniture(footprint=_size((0.5, 0.9), (0.3, 0.45)), build=_desk),
    'chair': Furniture(footprint=_size((0.2, 0.26), (0.2, 0.26)), build=_chair),
    'sofa': Furniture(footprint=_size((0.45, 1.1), (0.4, 0.5)), build=_sofa),
    'counter': Furniture(footprint=_size((0.4, 1.2), (0.28, 0.34)), build=_counter),
    'screen': Furniture(footprint=_size((0.4, 0.7), (0.18, 0.25)), build=_screen),
    'lamp': Furniture(footprint=_size((0.15, 0.25), (0.15, 0.25)), build=_lamp),
    'plant': Furniture(footprint=_size((0.12, 0.25), (0.12, 0.25)), build=_plant),
    'crates': Furniture(footprint=_size((0.2, 0.5), (0.2, 0.4)), build=_crates),
    'column': Furniture(footprint=_size((0.1, 0.3), (0.1, 0.3)), build=_column),
    'person': Furniture(footprint=_size((0.25, 0.3), (0.25, 0.3)), build=_person),
    'clutter': Furniture(footprint=_size((0.15, 0.2), (0.15, 0.2)), build=_clutter),
}
"""Every piece a room may hold, by name."""
