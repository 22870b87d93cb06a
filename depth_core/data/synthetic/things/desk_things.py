# SPDX-License-Identifier: Apache-2.0
"""Small things that lie and stand on desks, shelves and counters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from depth_core.data.synthetic.scene import Body, Label, Material, Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.builder import Builder, Span

Maker = Callable[[Builder, float], None]
"""Builds a thing that stands on a board at the height given."""


def _paint(thing: Builder, gloss: float = 0.2) -> int:
    source = thing.source
    colour = (
        palette.vivid(source) if source.random() < 0.4 else palette.any_colour(source, 0.02, 0.8)
    )
    return thing.skin(palette.plain(source, colour, gloss=gloss))


def _cup(thing: Builder, level: float) -> None:
    source, skin = thing.source, _paint(thing)
    radius, high = source.uniform(0.033, 0.05), source.uniform(0.07, 0.13)
    thing.rod((0.0, level, 0.0), (0.0, level + high, 0.0), radius, skin)
    coffee = thing.skin(palette.plain(source, (0.06, 0.03, 0.02)))
    thing.rod((0.0, level + high, 0.0), (0.0, level + high + 0.001, 0.0), 0.85 * radius, coffee)
    if source.random() < 0.7:
        for low, up in ((0.25, 0.32), (0.72, 0.79)):
            thing.box(
                (radius - 0.005, radius + 0.03),
                (level + low * high, level + up * high),
                (-0.007, 0.007),
                skin,
            )
        thing.box(
            (radius + 0.022, radius + 0.032),
            (level + 0.25 * high, level + 0.79 * high),
            (-0.007, 0.007),
            skin,
        )


def _bottle(thing: Builder, level: float) -> None:
    source, skin = thing.source, _paint(thing, 0.5)
    radius, high = source.uniform(0.028, 0.05), source.uniform(0.14, 0.24)
    thing.rod((0.0, level, 0.0), (0.0, level + high, 0.0), radius, skin)
    thing.ball((0.0, level + high, 0.0), (radius, 0.04, radius), skin)
    thing.rod((0.0, level + high, 0.0), (0.0, level + high + 0.08, 0.0), 0.35 * radius, skin)
    label = thing.skin(palette.poster(source, 0.1, 0.08))
    thing.rod(
        (0.0, level + 0.3 * high, 0.0), (0.0, level + 0.75 * high, 0.0), 1.02 * radius, label
    )


def _book(thing: Builder, level: float) -> None:
    """One book or a few on each other, lying."""
    source = thing.source
    for _ in range(source.choice((1, 1, 2, 4))):
        wide, deep, thick = (
            source.uniform(0.07, 0.11),
            source.uniform(0.1, 0.15),
            source.uniform(0.012, 0.05),
        )
        pages = thing.skin(palette.plain(source, (0.75, 0.72, 0.62)))
        cover = thing.skin(palette.poster(source, 2.0 * wide, 2.0 * deep))
        turn = source.uniform(-0.4, 0.4)
        thing.box(
            (-wide, wide), (level, level + thick), (-deep, deep), pages, top=cover, yaw_rad=turn
        )
        level += thick


def _paper(thing: Builder, level: float) -> None:
    source = thing.source
    for _ in range(source.randint(1, 4)):
        sheet = thing.skin(palette.poster(source, 0.21, 0.297))
        x, z = source.uniform(-0.08, 0.08), source.uniform(-0.08, 0.08)
        thing.box(
            (x - 0.105, x + 0.105),
            (level, level + 0.003),
            (z - 0.148, z + 0.148),
            sheet,
            yaw_rad=source.uniform(-1.0, 1.0),
        )
        level += 0.003


def _monitor(thing: Builder, level: float) -> None:
    source = thing.source
    dark = thing.skin(
        palette.plain(source, source.choice(((0.02, 0.02, 0.02), (0.5, 0.5, 0.52))), gloss=0.2)
    )
    wide = source.uniform(0.22, 0.34)
    high = wide * source.uniform(1.1, 1.3)
    low = level + source.uniform(0.08, 0.2)
    lit = replace(
        palette.poster(source, 2.0 * wide, high), emission=source.choice((0.0, 0.5, 1.2))
    )
    black = palette.plain(source, (0.01, 0.01, 0.012), gloss=0.5)
    face = thing.skin(lit if source.random() < 0.75 else black)
    thing.box((-wide, wide), (low, low + high), (0.0, 0.03), dark)
    thing.box(
        (-wide + 0.012, wide - 0.012), (low + 0.015, low + high - 0.012), (-0.004, 0.01), face
    )
    thing.box((-0.03, 0.03), (level, low + 0.1), (0.03, 0.06), dark)
    thing.box((-0.12, 0.12), (level, level + 0.012), (-0.06, 0.1), dark)


def _laptop(thing: Builder, level: float) -> None:
    source = thing.source
    case = thing.skin(
        palette.plain(source, source.choice(((0.03, 0.03, 0.03), (0.5, 0.5, 0.5))), gloss=0.2)
    )
    keys = thing.skin(
        Material(
            colour=(0.1, 0.1, 0.1),
            cell=(0.02, 0.02, 0.02),
            cell_m=(0.019, 0.019),
            joint=(0.15, 0.15),
        )
    )
    wide = source.uniform(0.15, 0.19)
    thing.box((-wide, wide), (level, level + 0.018), (-0.12, 0.12), case)
    thing.box((-0.85 * wide, 0.85 * wide), (level + 0.018, level + 0.02), (-0.02, 0.1), keys)
    lit = replace(palette.poster(source, 2.0 * wide, 0.22), emission=source.choice((0.0, 0.8)))
    tilt = source.uniform(0.05, 0.4)
    middle = level + 0.11 * math.cos(tilt)
    z = 0.12 + 0.11 * math.sin(tilt)
    thing.box(
        (-wide, wide),
        (middle - 0.11, middle + 0.11),
        (z - 0.004, z + 0.004),
        thing.skin(lit),
        pitch_rad=-tilt,
    )


def _keyboard(thing: Builder, level: float) -> None:
    source = thing.source
    shade = source.choice((0.02, 0.03, 0.6))
    keys = thing.skin(
        Material(
            colour=(shade * 0.4,) * 3, cell=(shade,) * 3, cell_m=(0.019, 0.019), joint=(0.2, 0.2)
        )
    )
    thing.box((-0.22, 0.22), (level, level + 0.025), (-0.07, 0.07), keys)
    thing.ball((0.31, level + 0.012, 0.0), (0.03, 0.02, 0.05), keys)


def _desk_lamp(thing: Builder, level: float) -> None:
    metal = _paint(thing)
    source = thing.source
    bulb = thing.skin(Material(colour=(0.9, 0.85, 0.7), emission=source.choice((0.0, 3.0))))
    tip = (
        source.uniform(-0.15, 0.15),
        level + source.uniform(0.35, 0.5),
        source.uniform(-0.2, -0.05),
    )
    thing.rod((0.0, level, 0.0), (0.0, level + 0.02, 0.0), 0.08, metal)
    thing.rod((0.0, level, 0.0), (0.06, level + 0.28, 0.05), 0.009, metal)
    thing.rod((0.06, level + 0.28, 0.05), tip, 0.009, metal)
    thing.rod(tip, (tip[0], tip[1] - 0.09, tip[2] - 0.03), 0.06, metal)
    thing.ball((tip[0], tip[1] - 0.09, tip[2] - 0.03), (0.04, 0.03, 0.04), bulb)


def _plant(thing: Builder, level: float) -> None:
    pot, source = _paint(thing), thing.source
    size = source.uniform(0.05, 0.14)
    thing.rod((0.0, level, 0.0), (0.0, level + 1.2 * size, 0.0), 0.7 * size, pot)
    green = thing.skin(palette.leaves(source))
    thing.ball(
        (0.0, level + 2.4 * size, 0.0),
        (1.3 * size, 1.4 * size, 1.3 * size),
        green,
        shape=Shape.FOLIAGE,
    )
    for _ in range(5):
        x, z = source.uniform(-1.5, 1.5) * size, source.uniform(-1.5, 1.5) * size
        thing.rod(
            (0.0, level + size, 0.0),
            (x, level + source.uniform(2.0, 4.5) * size, z),
            0.18 * size,
            green,
            shape=Shape.ELLIPSOID,
            deep=0.01,
        )


def _carton(thing: Builder, level: float) -> None:
    source = thing.source
    wide, high, deep = (source.uniform(0.04, 0.17) for _ in range(3))
    skin = (
        palette.poster(source, 2.0 * wide, 2.0 * high)
        if source.random() < 0.6
        else palette.plain(source, (0.4, 0.28, 0.16), noise=0.1)
    )
    thing.box(
        (-wide, wide),
        (level, level + 2.0 * high),
        (-deep, deep),
        thing.skin(skin),
        yaw_rad=source.uniform(-0.6, 0.6),
    )


def _bowl(thing: Builder, level: float) -> None:
    source, skin = thing.source, _paint(thing)
    size = source.uniform(0.06, 0.14)
    thing.ball((0.0, level + 0.05, 0.0), (size, 0.05, size), skin)
    for _ in range(source.randint(0, 4)):
        fruit = thing.skin(palette.plain(source, palette.vivid(source), gloss=0.2))
        thing.ball(
            (source.uniform(-0.5, 0.5) * size, level + 0.11, source.uniform(-0.5, 0.5) * size),
            (0.036, 0.036, 0.036),
            fruit,
        )


def _pens(thing: Builder, level: float) -> None:
    source = thing.source
    thing.rod((0.0, level, 0.0), (0.0, level + 0.1, 0.0), 0.04, _paint(thing))
    for _ in range(source.randint(2, 5)):
        top = (
            source.uniform(-0.05, 0.05),
            level + source.uniform(0.14, 0.2),
            source.uniform(-0.05, 0.05),
        )
        thing.rod((0.0, level + 0.08, 0.0), top, 0.005, _paint(thing))


def _phone(thing: Builder, level: float) -> None:
    skin = _paint(thing)
    thing.box(
        (-0.1, 0.1),
        (level, level + 0.05),
        (-0.1, 0.1),
        skin,
        yaw_rad=thing.source.uniform(-0.5, 0.5),
    )
    thing.box((-0.09, -0.04), (level + 0.05, level + 0.09), (-0.1, 0.1), skin)


def _teddy(thing: Builder, level: float) -> None:
    source = thing.source
    fur = thing.skin(palette.plain(source, (0.25, 0.14, 0.06), noise=0.3))
    thing.ball((0.0, level + 0.1, 0.0), (0.09, 0.1, 0.08), fur)
    thing.ball((0.0, level + 0.25, -0.01), (0.075, 0.07, 0.07), fur)
    for x in (-1.0, 1.0):
        thing.ball((0.06 * x, level + 0.31, 0.0), (0.025, 0.025, 0.02), fur)
        thing.rod((0.07 * x, level + 0.16, 0.0), (0.14 * x, level + 0.1, -0.06), 0.03, fur)
        thing.rod((0.05 * x, level + 0.04, 0.0), (0.09 * x, level + 0.03, -0.15), 0.035, fur)


SMALL: Final[tuple[Maker, ...]] = (
    _cup, _cup, _bottle, _book, _book, _paper, _desk_lamp, _plant, _carton, _carton, _bowl, _pens,
    _phone, _teddy, _keyboard,
)  # fmt: skip
"""What may stand anywhere on a board."""
SCREENS: Final[tuple[Maker, ...]] = (_monitor, _monitor, _laptop)
"""What a desk is for."""


def put(scene: Scene, source: Random, body: Body, maker: Maker, level: float) -> None:
    """Stand one thing on a board at height `level`, metres."""
    maker(Builder.at(scene, source, body, Label.OBJECT), level)


def row_of_books(thing: Builder, across: Span, level: float, along: Span, tallest: float) -> None:
    """Books side by side with their spines at the first end of `along`."""
    source = thing.source
    covers = [
        thing.skin(
            palette.plain(
                source,
                palette.vivid(source)
                if source.random() < 0.4
                else palette.any_colour(source, 0.02, 0.7),
            )
        )
        for _ in range(5)
    ] + [thing.skin(palette.poster(source, 0.05, 0.25)) for _ in range(3)]
    x = across[0]
    while x < across[1]:
        thick = source.uniform(0.018, 0.055)
        if source.random() < 0.06:
            x += source.uniform(0.05, 0.2)
            continue
        high = min(source.uniform(0.16, 0.32), tallest)
        front = along[0] + source.uniform(0.0, 0.04)
        thing.box(
            (x, min(x + thick, across[1])),
            (level, level + high),
            (front, along[1]),
            source.choice(covers),
        )
        x += thick + 0.001
