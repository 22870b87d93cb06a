# SPDX-License-Identifier: Apache-2.0
"""Cars, vans, lorries and buses, built of primitives."""

from __future__ import annotations

import math
from random import Random

from depth_core.data.synthetic.scene import Body, Label, Material, Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.stock import Stock

_QUARTER = math.pi / 2.0


def _add_wheels(
    scene: Scene,
    kit: Stock,
    body: int,
    *,
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
                    Shape.CYLINDER,
                    (across, -radius, along),
                    (share * radius, half, share * radius),
                    skin,
                    label=label,
                    body=body,
                    yaw_rad=_QUARTER,
                    pitch_rad=_QUARTER,
                )


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
            Shape.BOX,
            centre,
            half,
            material,
            top=top,
            label=Label.CAR,
            body=index,
            pitch_rad=pitch_rad,
        )

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
    _add_wheels(
        scene,
        kit,
        index,
        axles=(-axle, axle),
        width=width,
        radius=source.uniform(0.29, 0.35),
        label=Label.CAR,
    )


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
            colour=palette.any_colour(source),
            cell=(0.03, 0.035, 0.04),
            cell_m=(1.6, height),
            joint=(0.08, 0.55),
            noise=0.05,
            gloss=0.4,
        )
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
            (0.0, -0.5 * (top + 0.4), ahead),
            (half_width * 0.95, 0.5 * (top - 0.4), 0.47 * cab),
            paint,
        )
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
    _add_wheels(
        scene, kit, index, axles=(-axle, *extra, axle), width=width, radius=radius, label=label
    )
