# SPDX-License-Identifier: Apache-2.0
"""Trees, bushes, poles, people and houses, built of primitives."""

from __future__ import annotations

import math
from random import Random

from depth_core.data.synthetic.scene import Body, Label, Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.stock import Stock

_QUARTER = math.pi / 2.0


def add_tree(scene: Scene, source: Random, kit: Stock, body: Body, scale: float = 1.0) -> None:
    """A trunk and a crown of a few clouds of leaves; conifers are slender."""
    index = scene.add_body(body)
    trunk = source.uniform(1.8, 4.2) * scale
    girth = source.uniform(0.07, 0.28) * scale
    leaves = source.choice(kit.leaves)
    lean = source.uniform(-0.06, 0.06)
    scene.add(
        Shape.CYLINDER,
        (0.0, -0.75 * trunk, 0.0),
        (girth, 0.75 * trunk, girth),
        source.choice(kit.bark),
        label=Label.VEGETATION,
        body=index,
        pitch_rad=lean,
    )
    crown = source.uniform(1.3, 3.0) * scale
    if source.random() < 0.15:
        scene.add(
            Shape.FOLIAGE,
            (0.0, -trunk - 1.2 * crown, 0.0),
            (0.6 * crown, 2.0 * crown, 0.6 * crown),
            leaves,
            label=Label.VEGETATION,
            body=index,
            yaw_rad=source.uniform(0.0, 6.0),
        )
        return
    for _ in range(source.randint(3, 5)):
        size = crown * source.uniform(0.45, 0.85)
        scene.add(
            Shape.FOLIAGE,
            (
                source.uniform(-0.8, 0.8) * crown,
                -trunk - source.uniform(0.0, 1.4) * crown,
                source.uniform(-0.8, 0.8) * crown,
            ),
            (size, size * source.uniform(0.6, 1.0), size * source.uniform(0.8, 1.2)),
            leaves,
            label=Label.VEGETATION,
            body=index,
            yaw_rad=source.uniform(0.0, 6.0),
        )


def add_bush(scene: Scene, source: Random, kit: Stock, body: Body, size: float) -> None:
    """A bush; a piece of a wood far behind the street where it is large."""
    index = scene.add_body(body)
    leaves = source.choice(kit.leaves)
    scene.add(
        Shape.FOLIAGE,
        (0.0, -0.6 * size, 0.0),
        (size * source.uniform(0.8, 1.6), size, size * source.uniform(0.8, 2.0)),
        leaves,
        label=Label.VEGETATION,
        body=index,
        yaw_rad=source.uniform(-0.4, 0.4),
    )
    if size > 2.0:
        return
    scene.add(
        Shape.FOLIAGE,
        (source.uniform(-0.9, 0.9) * size, -0.4 * size, source.uniform(-1.0, 1.0) * size),
        (size, 0.8 * size, size),
        leaves,
        label=Label.VEGETATION,
        body=index,
    )


def add_pole(scene: Scene, source: Random, kit: Stock, body: Body, towards: float) -> None:
    """A street lamp, a sign or a traffic light; `towards` is -1 or 1, the side of the road."""
    index = scene.add_body(body)
    kind = source.choice(('lamp', 'lamp', 'sign', 'light', 'post'))
    height = {'lamp': source.uniform(5.0, 9.0), 'sign': 2.6, 'light': 3.4, 'post': 1.1}[kind]
    radius = source.uniform(0.035, 0.09)
    scene.add(
        Shape.CYLINDER,
        (0.0, -0.5 * height, 0.0),
        (radius, 0.5 * height, radius),
        source.choice((kit.metal, kit.dark, kit.metal)),
        label=Label.POLE,
        body=index,
    )
    if kind == 'lamp':
        reach = source.uniform(0.4, 1.6)
        scene.add(
            Shape.BOX,
            (towards * reach, -height, 0.0),
            (reach, 0.05, 0.08),
            kit.metal,
            label=Label.POLE,
            body=index,
        )
    elif kind == 'sign':
        half = source.uniform(0.25, 0.45)
        face = source.choice((kit.red, kit.white, kit.amber, kit.metal))
        shape = source.choice((Shape.BOX, Shape.CYLINDER))
        turned = shape is Shape.CYLINDER
        scene.add(
            shape,
            (0.0, -height, -0.09),
            (half, 0.02, half) if turned else (half, half, 0.02),
            face,
            label=Label.TRAFFIC_SIGN,
            body=index,
            pitch_rad=_QUARTER if turned else 0.0,
        )
        scene.add(
            shape,
            (0.0, -height, -0.11),
            (0.7 * half, 0.02, 0.7 * half) if turned else (0.7 * half, 0.5 * half, 0.02),
            kit.white,
            label=Label.TRAFFIC_SIGN,
            body=index,
            pitch_rad=_QUARTER if turned else 0.0,
        )
    elif kind == 'light':
        scene.add(
            Shape.BOX,
            (0.0, -height, -0.1),
            (0.15, 0.45, 0.1),
            kit.dark,
            label=Label.TRAFFIC_LIGHT,
            body=index,
        )
        scene.add(
            Shape.ELLIPSOID,
            (0.0, -height - 0.26, -0.2),
            (0.1, 0.1, 0.04),
            kit.red,
            label=Label.TRAFFIC_LIGHT,
            body=index,
        )


def add_person(scene: Scene, source: Random, body: Body) -> None:
    """Legs, a trunk with arms, and a head."""
    index = scene.add_body(body)
    height = source.uniform(1.5, 1.9)
    trousers, coat, skin = (
        scene.add_material(palette.plain(source, colour))
        for colour in (
            palette.any_colour(source, 0.02, 0.3),
            palette.any_colour(source),
            source.choice(((0.45, 0.28, 0.2), (0.15, 0.08, 0.05))),
        )
    )
    stride = source.uniform(-0.35, 0.35)
    hip, shoulder = 0.48 * height, 0.83 * height
    for side in (-1.0, 1.0):
        scene.add(
            Shape.CYLINDER,
            (0.09 * side, -0.5 * hip, 0.5 * hip * math.sin(stride) * side),
            (0.075, 0.52 * hip, 0.085),
            trousers,
            label=Label.PERSON,
            body=index,
            pitch_rad=stride * side,
        )
        scene.add(
            Shape.CYLINDER,
            (0.21 * side, -0.5 * (hip + shoulder), 0.1 * stride * side),
            (0.045, 0.29, 0.05),
            coat,
            label=Label.PERSON,
            body=index,
            pitch_rad=-stride * side,
        )
    scene.add(
        Shape.ELLIPSOID,
        (0.0, -0.5 * (hip + shoulder), 0.0),
        (0.19, 0.6 * (shoulder - hip), 0.13),
        coat,
        label=Label.PERSON,
        body=index,
    )
    scene.add(
        Shape.ELLIPSOID,
        (0.0, -0.93 * height, 0.0),
        (0.085, 0.12, 0.1),
        skin,
        label=Label.PERSON,
        body=index,
    )


def add_house(
    scene: Scene, source: Random, body: Body, *, length_m: float, depth_m: float, height_m: float
) -> None:
    """A building whose long side lies along the path; `body` is its centre on the ground."""
    index = scene.add_body(body)
    wall = scene.add_material(palette.house_wall(source))
    cover = scene.add_material(palette.roof(source))
    half = (0.5 * depth_m, 0.5 * height_m, 0.5 * length_m)

    def box(
        centre: tuple[float, float, float],
        half: tuple[float, float, float],
        material: int,
        pitch_rad: float = 0.0,
        yaw_rad: float = 0.0,
    ) -> None:
        scene.add(
            Shape.BOX,
            centre,
            half,
            material,
            top=cover,
            label=Label.BUILDING,
            body=index,
            pitch_rad=pitch_rad,
            yaw_rad=yaw_rad,
        )

    box((0.0, -half[1], 0.0), half, wall)
    if source.random() < 0.5:
        plinth = scene.add_material(palette.picture(source))
        if source.random() < 0.6:
            plinth = scene.add_material(palette.plain(source, palette.any_colour(source)))
        rise = source.uniform(0.4, 1.6)
        box((0.0, -rise, 0.0), (half[0] + 0.08, rise, half[2]), plinth)
    if source.random() < 0.45:
        side = 0.72 * half[0]
        box((0.0, -height_m, 0.0), (half[2], side, side), cover, 0.25 * math.pi, _QUARTER)
    else:
        trim = scene.add_material(palette.plain(source, palette.any_colour(source)))
        box((0.0, -height_m, 0.0), (half[0] + 0.25, 0.2, half[2] + 0.1), trim)
