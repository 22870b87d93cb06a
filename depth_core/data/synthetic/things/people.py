# SPDX-License-Identifier: Apache-2.0
"""People with jointed limbs, who stand, walk, reach or sit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Literal

from depth_core.data.synthetic.scene import Body, Label, Scene, Shape, Vector
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.builder import Builder

Pose = Literal['stand', 'walk', 'sit', 'ride']
"""What a person does."""

_SKINS = ((0.5, 0.32, 0.24), (0.35, 0.2, 0.13), (0.14, 0.08, 0.05), (0.6, 0.42, 0.33))


@dataclass(frozen=True, kw_only=True)
class _Clothes:
    trousers: int
    coat: int
    skin: int
    hair: int
    shoes: int


def add_figure(
    scene: Scene,
    source: Random,
    body: Body,
    pose: Pose,
    *,
    seat_m: float = 0.46,
    label: int = Label.PERSON,
) -> None:
    """A person who looks along z of the body.

    Args:
        scene: Where.
        source: Draws size, clothes and posture.
        body: The place on the ground below the hips.
        pose: What the person does.
        seat_m: Height of the seat of who sits or rides.
        label: Class of the pixels.
    """
    person = Builder.at(scene, source, body, label)
    clothes = _dress(person)
    tall = source.uniform(1.5, 1.92) * (0.68 if source.random() < 0.08 else 1.0)
    wide = tall * source.uniform(0.105, 0.135)
    hip_m = 0.52 * tall if pose in ('stand', 'walk') else seat_m + 0.1
    lean = {'stand': 0.0, 'walk': 0.03, 'sit': 0.02, 'ride': 0.16}[pose] * tall
    shoulder: Vector = (0.0, hip_m + 0.3 * tall, lean)
    _legs(person, clothes, pose, tall, hip_m)
    _trunk(person, clothes, wide, hip_m, shoulder)
    _arms(person, clothes, pose, shoulder, tall=tall, wide=wide)
    _head(person, clothes, tall, shoulder)
    if pose in ('stand', 'walk') and source.random() < 0.3:
        bag = person.skin(palette.plain(source, palette.any_colour(source)))
        back = -0.12 * tall
        person.box((-0.15, 0.15), (hip_m + 0.1, hip_m + 0.5), (back - 0.1, back + 0.06), bag)


def _dress(person: Builder) -> _Clothes:
    source = person.source
    coat = source.choice((palette.cloth, palette.cloth, None))
    return _Clothes(
        trousers=person.skin(palette.plain(source, palette.any_colour(source, 0.02, 0.25))),
        coat=person.skin(
            coat(source) if coat else palette.plain(source, palette.any_colour(source))
        ),
        skin=person.skin(palette.plain(source, source.choice(_SKINS))),
        hair=person.skin(
            palette.plain(
                source, source.choice(((0.02, 0.015, 0.01), (0.2, 0.12, 0.06), (0.5, 0.48, 0.45)))
            )
        ),
        shoes=person.skin(palette.plain(source, palette.any_colour(source, 0.01, 0.4))),
    )


def _legs(person: Builder, clothes: _Clothes, pose: Pose, tall: float, hip_m: float) -> None:
    source = person.source
    stride = source.uniform(0.25, 0.55) if pose == 'walk' else source.uniform(0.0, 0.1)
    for side in (-1.0, 1.0):
        x = 0.055 * tall * side
        hip: Vector = (x, hip_m, 0.0)
        if pose in ('stand', 'walk'):
            swing = stride * side
            bend = source.uniform(0.2, 0.7) if swing < 0.0 and pose == 'walk' else 0.05
            knee: Vector = (
                x,
                hip_m - 0.25 * tall * math.cos(swing),
                0.25 * tall * math.sin(swing),
            )
            low = swing - bend
            ankle: Vector = (
                x,
                knee[1] - 0.25 * tall * math.cos(low),
                knee[2] + 0.25 * tall * math.sin(low),
            )
        else:
            drop = 0.0 if pose == 'sit' else 0.12 * side - 0.1
            knee = (1.5 * x, hip_m + drop, 0.25 * tall)
            ankle = (1.5 * x, max(knee[1] - 0.26 * tall, 0.06), 0.25 * tall)
        person.rod(hip, knee, 0.05 * tall, clothes.trousers, deep=0.055 * tall)
        person.rod(knee, ankle, 0.033 * tall, clothes.trousers, deep=0.036 * tall)
        foot = ankle[1]
        person.box(
            (ankle[0] - 0.045, ankle[0] + 0.045),
            (foot - 0.05, foot + 0.04),
            (ankle[2] - 0.07, ankle[2] + 0.17),
            clothes.shoes,
        )


def _trunk(
    person: Builder, clothes: _Clothes, wide: float, hip_m: float, shoulder: Vector
) -> None:
    middle: Vector = (0.0, hip_m - 0.06, 0.0)
    high: Vector = (0.0, shoulder[1] + 0.04, shoulder[2])
    person.rod(middle, high, 0.92 * wide, clothes.coat, deep=0.62 * wide)
    person.ball((0.0, shoulder[1], shoulder[2]), (1.18 * wide, 0.07, 0.6 * wide), clothes.coat)
    if person.source.random() < 0.3:  # a long coat or a skirt
        person.rod(
            (0.0, hip_m - 0.3, 0.0), (0.0, hip_m + 0.1, 0.0), 1.15 * wide, clothes.coat,
            deep=0.8 * wide,
        )  # fmt: skip


def _arms(
    person: Builder, clothes: _Clothes, pose: Pose, shoulder: Vector, *, tall: float, wide: float
) -> None:
    source = person.source
    for side in (-1.0, 1.0):
        if pose in ('sit', 'ride') or source.random() < 0.1:
            upper, lower = source.uniform(0.3, 0.9), source.uniform(1.1, 1.7)
        else:
            upper = source.uniform(-0.45, 0.45) if pose == 'walk' else source.uniform(-0.15, 0.2)
            lower = upper + source.uniform(0.05, 0.7)
        out = side * 1.08 * wide
        top: Vector = (out, shoulder[1] - 0.01, shoulder[2])
        elbow: Vector = (
            out + 0.03 * side,
            top[1] - 0.18 * tall * math.cos(upper),
            top[2] + 0.18 * tall * math.sin(upper),
        )
        hand: Vector = (
            out,
            elbow[1] - 0.16 * tall * math.cos(lower),
            elbow[2] + 0.16 * tall * math.sin(lower),
        )
        person.ball(top, (0.036 * tall, 0.036 * tall, 0.036 * tall), clothes.coat)
        person.rod(top, elbow, 0.03 * tall, clothes.coat)
        person.rod(elbow, hand, 0.024 * tall, clothes.coat)
        person.ball(hand, (0.045, 0.05, 0.05), clothes.skin)


def _head(person: Builder, clothes: _Clothes, tall: float, shoulder: Vector) -> None:
    height = shoulder[1]
    person.rod(
        (0.0, height, shoulder[2]), (0.0, height + 0.09, shoulder[2] + 0.01), 0.05, clothes.skin
    )
    person.ball(
        (0.0, height + 0.105 * tall, shoulder[2] + 0.02), (0.078, 0.115, 0.095), clothes.skin
    )
    person.ball(
        (0.0, height + 0.118 * tall, shoulder[2] - 0.01),
        (0.086, 0.105, 0.095),
        clothes.hair,
        shape=Shape.ELLIPSOID,
    )
