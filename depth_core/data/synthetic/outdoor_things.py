# SPDX-License-Identifier: Apache-2.0
"""Cars, trees, poles, houses and people, built of primitives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic import palette
from depth_core.data.synthetic.scene import Body, Colour, Label, Material, Scene, Shape

_QUARTER = math.pi / 2.0


@dataclass(frozen=True, kw_only=True)
class Stock:
    """Materials that many things of one scene share."""

    glass: int
    tyre: int
    rim: int
    dark: int
    metal: int
    white: int
    red: int
    amber: int
    leaves: tuple[int, ...]
    bark: tuple[int, ...]
    paints: tuple[int, ...]


def stock(scene: Scene, source: Random) -> Stock:
    """Add the shared materials to a scene."""

    def add(colour: Colour, gloss: float = 0.0, emission: float = 0.0) -> int:
        return scene.add_material(
            Material(
                colour=palette.vary(source, colour), gloss=gloss, emission=emission, noise=0.05
            )
        )

    return Stock(
        glass=add((0.02, 0.025, 0.03), 0.8),
        tyre=add((0.015, 0.015, 0.015)),
        rim=add((0.3, 0.3, 0.31), 0.3),
        dark=add((0.03, 0.03, 0.032)),
        metal=add((0.25, 0.26, 0.27), 0.2),
        white=add((0.8, 0.8, 0.78)),
        red=add((0.5, 0.02, 0.02), 0.2, source.choice((0.0, 0.0, 1.2))),
        amber=add((0.7, 0.3, 0.03)),
        leaves=tuple(scene.add_material(palette.leaves(source)) for _ in range(4)),
        bark=tuple(scene.add_material(palette.bark(source)) for _ in range(2)),
        paints=tuple(scene.add_material(palette.car_paint(source)) for _ in range(8)),
    )


def add_wheels(
    scene: Scene,
    kit: Stock,
    body: int,
    axles: tuple[float, ...],
    width: float,
    radius: float,
    label: Label,
) -> None:
    """Two wheels an axle, with rims."""
    for along in axles:
        for side in (-1.0, 1.0):
            across = side * (0.5 * width - 0.11)
            for share, half, skin in ((1.0, 0.12, kit.tyre), (0.62, 0.125, kit.rim)):
                scene.add(
                    Shape.CYLINDER, (across, -radius, along), (share * radius, half, share * radius),
                    skin, label=label, body=body, yaw_rad=_QUARTER, pitch_rad=_QUARTER,
                )  # fmt: skip


def add_car(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A car of about 4.3 m: hull, bonnet, cabin with slanted screens, wheels, lamps, plates."""
    index = scene.add_body(body)
    paint = source.choice(kit.paints)
    length, width = source.uniform(3.7, 4.9), source.uniform(1.62, 1.9)
    height = source.uniform(1.38, 1.72)
    belt = source.uniform(0.56, 0.63) * height
    rear_kind = source.choice(('saloon', 'hatch', 'estate'))
    front, rear = 0.5 * length, -0.5 * length
    screen = front - source.uniform(0.24, 0.3) * length
    back = rear + {'saloon': 0.2, 'hatch': 0.07, 'estate': 0.04}[rear_kind] * length

    def box(
        centre: tuple[float, float, float],
        half: tuple[float, float, float],
        material: int,
        top: int | None = None,
        pitch_rad: float = 0.0,
    ) -> None:
        scene.add(
            Shape.BOX, centre, half, material, top=top, label=Label.CAR, body=index,
            pitch_rad=pitch_rad,
        )  # fmt: skip

    half_width = 0.5 * width
    box((0.0, -0.5 * (belt + 0.26), 0.0), (half_width, 0.5 * (belt - 0.26), 0.5 * length), paint)
    box((0.0, -0.36, 0.0), (half_width + 0.015, 0.13, 0.5 * length + 0.05), kit.dark)
    rise = height - belt
    roof_front, roof_back = screen - 0.75 * rise, back + 0.35 * rise
    middle, half_roof = 0.5 * (roof_front + roof_back), 0.5 * (roof_front - roof_back)
    box(
        (0.0, -belt - 0.5 * rise, middle),
        (half_width * 0.86, 0.5 * rise, half_roof),
        kit.glass,
        top=paint,
    )
    box((0.0, -height, middle), (half_width * 0.84, 0.035, half_roof + 0.05), paint)
    for pillar in (roof_front, middle - 0.1, roof_back + 0.04):
        box(
            (0.0, -belt - 0.5 * rise, pillar),
            (half_width * 0.865, 0.5 * rise, 0.045),
            kit.glass if pillar == roof_back + 0.04 else paint,
        )
    for start, end in ((screen, roof_front), (back, roof_back)):
        reach = math.hypot(rise, start - end)
        slope = math.atan2(rise, abs(end - start))
        box(
            (0.0, -belt - 0.5 * rise + 0.06, 0.5 * (start + end)),
            (half_width * 0.85, 0.06, 0.5 * reach),
            kit.glass,
            pitch_rad=-slope if start > end else slope,
        )
    lamp = 0.2 * half_width
    for side in (-1.0, 1.0):
        across = side * (half_width - lamp)
        box((across, -belt + 0.12, rear - 0.01), (lamp, 0.1, 0.03), kit.red)
        box((across, -belt + 0.16, front + 0.005), (lamp, 0.07, 0.03), kit.white)
        box((side * (half_width + 0.08), -belt - 0.08, screen - 0.25), (0.09, 0.07, 0.05), paint)
    box((0.0, -0.5, rear - 0.05), (0.26, 0.055, 0.02), kit.white)
    box((0.0, -0.5, front + 0.06), (0.26, 0.055, 0.02), kit.white)
    axle = source.uniform(0.29, 0.32) * length
    add_wheels(scene, kit, index, (-axle, axle), width, source.uniform(0.29, 0.35), Label.CAR)


def add_truck(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A van, lorry or bus: a box on a chassis, a cab, wheels, striped tail board."""
    index = scene.add_body(body)
    length, height = source.uniform(5.0, 12.0), source.uniform(2.2, 3.9)
    width = source.uniform(2.0, 2.5)
    bus = source.random() < 0.2
    label = Label.BUS if bus else Label.TRUCK
    side = palette.picture(source) if source.random() < 0.3 else palette.car_paint(source)
    if bus:
        side = Material(
            colour=palette.any_colour(source), cell=(0.03, 0.035, 0.04), cell_m=(1.6, height),
            joint=(0.08, 0.55), noise=0.05, gloss=0.4,
        )  # fmt: skip
    cargo = scene.add_material(side)
    paint = source.choice(kit.paints)
    half_width, cab = 0.5 * width, 0.0 if bus else min(2.0, 0.3 * length)
    floor = source.uniform(0.5, 1.1)

    def box(
        centre: tuple[float, float, float], half: tuple[float, float, float], material: int
    ) -> None:
        scene.add(Shape.BOX, centre, half, material, label=label, body=index)

    hold = length - cab
    box(
        (0.0, -0.5 * (height + floor), -0.5 * cab),
        (half_width, 0.5 * (height - floor), 0.5 * hold),
        cargo,
    )
    box((0.0, -0.5 * floor - 0.15, 0.0), (half_width * 0.8, 0.3, 0.5 * length), kit.dark)
    if cab:
        top = min(height, source.uniform(2.1, 3.2))
        ahead = 0.5 * length - 0.5 * cab
        box(
            (0.0, -0.5 * (top + 0.4), ahead), (half_width * 0.95, 0.5 * (top - 0.4), 0.47 * cab),
            paint,
        )  # fmt: skip
        box((0.0, -0.72 * top, ahead + 0.1), (half_width * 0.96, 0.16 * top, 0.4 * cab), kit.glass)
    rear = -0.5 * length
    striped = scene.add_material(
        Material(
            colour=(0.7, 0.6, 0.1), cell=(0.5, 0.03, 0.02), cell_m=(0.5, 9.0), joint=(0.5, 0.0)
        )
    )
    box((0.0, -floor + 0.1, rear - 0.03), (half_width, 0.12, 0.04), striped)
    for across in (-0.8, 0.8):
        box((across * half_width, -floor + 0.32, rear - 0.04), (0.14, 0.07, 0.03), kit.red)
    axle = 0.5 * length - 1.0
    radius = source.uniform(0.36, 0.5)
    extra = (-axle + 1.2,) if length > 8.0 else ()
    add_wheels(scene, kit, index, (-axle, *extra, axle), width, radius, label)


def add_tree(scene: Scene, source: Random, kit: Stock, body: Body, scale: float = 1.0) -> None:
    """A trunk and a crown of a few clouds of leaves; conifers are slender."""
    index = scene.add_body(body)
    trunk = source.uniform(1.8, 4.2) * scale
    girth = source.uniform(0.07, 0.28) * scale
    leaves = source.choice(kit.leaves)
    lean = source.uniform(-0.06, 0.06)
    scene.add(
        Shape.CYLINDER, (0.0, -0.75 * trunk, 0.0), (girth, 0.75 * trunk, girth),
        source.choice(kit.bark), label=Label.VEGETATION, body=index, pitch_rad=lean,
    )  # fmt: skip
    crown = source.uniform(1.3, 3.0) * scale
    if source.random() < 0.15:
        scene.add(
            Shape.FOLIAGE, (0.0, -trunk - 1.2 * crown, 0.0), (0.6 * crown, 2.0 * crown, 0.6 * crown),
            leaves, label=Label.VEGETATION, body=index, yaw_rad=source.uniform(0.0, 6.0),
        )  # fmt: skip
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
            leaves, label=Label.VEGETATION, body=index, yaw_rad=source.uniform(0.0, 6.0),
        )  # fmt: skip


def add_bush(scene: Scene, source: Random, kit: Stock, body: Body, size: float) -> None:
    """A bush, or a piece of a hedge."""
    index = scene.add_body(body)
    leaves = source.choice(kit.leaves)
    scene.add(
        Shape.FOLIAGE, (0.0, -0.6 * size, 0.0),
        (size * source.uniform(0.8, 1.6), size, size * source.uniform(0.8, 2.0)), leaves,
        label=Label.VEGETATION, body=index, yaw_rad=source.uniform(-0.4, 0.4),
    )  # fmt: skip
    scene.add(
        Shape.FOLIAGE, (source.uniform(-0.9, 0.9) * size, -0.4 * size, source.uniform(-1.0, 1.0) * size),
        (size, 0.8 * size, size), leaves, label=Label.VEGETATION, body=index,
    )  # fmt: skip


def add_pole(scene: Scene, source: Random, kit: Stock, body: Body, towards: float) -> None:
    """A street lamp, a sign or a traffic light; `towards` is -1 or 1, the side of the road."""
    index = scene.add_body(body)
    kind = source.choice(('lamp', 'lamp', 'sign', 'light', 'post'))
    height = {'lamp': source.uniform(5.0, 9.0), 'sign': 2.6, 'light': 3.4, 'post': 1.1}[kind]
    radius = source.uniform(0.035, 0.09)
    scene.add(
        Shape.CYLINDER, (0.0, -0.5 * height, 0.0), (radius, 0.5 * height, radius),
        source.choice((kit.metal, kit.dark, kit.metal)), label=Label.POLE, body=index,
    )  # fmt: skip
    if kind == 'lamp':
        reach = source.uniform(0.4, 1.6)
        scene.add(
            Shape.BOX, (towards * reach, -height, 0.0), (reach, 0.05, 0.08), kit.metal,
            label=Label.POLE, body=index,
        )  # fmt: skip
    elif kind == 'sign':
        half = source.uniform(0.25, 0.45)
        face = source.choice((kit.red, kit.white, kit.amber, kit.metal))
        shape = source.choice((Shape.BOX, Shape.CYLINDER))
        turned = shape is Shape.CYLINDER
        scene.add(
            shape, (0.0, -height, -0.09), (half, 0.02, half) if turned else (half, half, 0.02),
            face, label=Label.TRAFFIC_SIGN, body=index, pitch_rad=_QUARTER if turned else 0.0,
        )  # fmt: skip
        scene.add(
            shape, (0.0, -height, -0.11),
            (0.7 * half, 0.02, 0.7 * half) if turned else (0.7 * half, 0.5 * half, 0.02),
            kit.white, label=Label.TRAFFIC_SIGN, body=index,
            pitch_rad=_QUARTER if turned else 0.0,
        )  # fmt: skip
    elif kind == 'light':
        scene.add(
            Shape.BOX, (0.0, -height, -0.1), (0.15, 0.45, 0.1), kit.dark,
            label=Label.TRAFFIC_LIGHT, body=index,
        )  # fmt: skip
        scene.add(
            Shape.ELLIPSOID, (0.0, -height - 0.26, -0.2), (0.1, 0.1, 0.04), kit.red,
            label=Label.TRAFFIC_LIGHT, body=index,
        )  # fmt: skip


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
            Shape.CYLINDER, (0.09 * side, -0.5 * hip, 0.5 * hip * math.sin(stride) * side),
            (0.075, 0.52 * hip, 0.085), trousers, label=Label.PERSON, body=index,
            pitch_rad=stride * side,
        )  # fmt: skip
        scene.add(
            Shape.CYLINDER, (0.21 * side, -0.5 * (hip + shoulder), 0.1 * stride * side),
            (0.045, 0.29, 0.05), coat, label=Label.PERSON, body=index, pitch_rad=-stride * side,
        )  # fmt: skip
    scene.add(
        Shape.ELLIPSOID, (0.0, -0.5 * (hip + shoulder), 0.0),
        (0.19, 0.6 * (shoulder - hip), 0.13), coat, label=Label.PERSON, body=index,
    )  # fmt: skip
    scene.add(
        Shape.ELLIPSOID, (0.0, -0.93 * height, 0.0), (0.085, 0.12, 0.1), skin,
        label=Label.PERSON, body=index,
    )  # fmt: skip


def add_house(
    scene: Scene, source: Random, body: Body, *, length_m: float, depth_m: float, height_m: float
) -> None:
    """A building whose long side lies along the path; `body` is its centre on the ground."""
    index = scene.add_body(body)
    wall = scene.add_material(palette.house_wall(source))
    cover = scene.add_material(palette.roof(source))
    half = (0.5 * depth_m, 0.5 * height_m, 0.5 * length_m)

    def box(
        centre: tuple[float, float, float], half: tuple[float, float, float], material: int,
        pitch_rad: float = 0.0, yaw_rad: float = 0.0,
    ) -> None:  # fmt: skip
        scene.add(
            Shape.BOX, centre, half, material, top=cover, label=Label.BUILDING, body=index,
            pitch_rad=pitch_rad, yaw_rad=yaw_rad,
        )  # fmt: skip

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
