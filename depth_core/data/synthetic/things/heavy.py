# SPDX-License-Identifier: Apache-2.0
"""Vans, buses, trams, tankers and lorries with a tilt: what fills a lane and hides the rest."""

from __future__ import annotations

from random import Random

from depth_core.data.synthetic.scene import Body, Label, Material, Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.builder import Builder, Span
from depth_core.data.synthetic.things.stock import Stock


def _wheels(
    thing: Builder, kit: Stock, axles: tuple[float, ...], half_width: float, radius: float
) -> None:
    for z in axles:
        for side in (-1.0, 1.0):
            x = side * (half_width - 0.13)
            thing.disc((x, radius, z), radius, 0.15, kit.tyre)
            thing.disc((x, radius, z), 0.6 * radius, 0.16, kit.rim)
            thing.disc((x, radius, z), 0.2 * radius, 0.18, kit.dark)


def _tail(thing: Builder, kit: Stock, half_width: float, rear: float, height: float) -> None:
    """Lamps, plate and bumper at the back."""
    for side in (-1.0, 1.0):
        x = side * (half_width - 0.14)
        thing.box(
            (x - 0.09, x + 0.09), (height, height + 0.22), (rear - 0.03, rear + 0.02), kit.red
        )
        thing.box(
            (x - 0.09, x + 0.09), (height - 0.09, height), (rear - 0.03, rear + 0.02), kit.amber
        )
    thing.box((-0.27, 0.27), (height - 0.1, height + 0.03), (rear - 0.04, rear), kit.white)
    thing.box(
        (-half_width, half_width), (height - 0.3, height - 0.12), (rear - 0.08, rear), kit.dark
    )


def _front(thing: Builder, kit: Stock, half_width: float, nose: float, height: float) -> None:
    for side in (-1.0, 1.0):
        x = side * (half_width - 0.2)
        thing.box(
            (x - 0.16, x + 0.16), (height, height + 0.16), (nose - 0.02, nose + 0.03), kit.white
        )
    thing.box((-0.26, 0.26), (height - 0.25, height - 0.13), (nose, nose + 0.04), kit.white)
    thing.box(
        (-half_width, half_width),
        (height - 0.4, height - 0.12),
        (nose - 0.1, nose + 0.02),
        kit.dark,
    )


def _windows(
    thing: Builder, kit: Stock, *, heights: Span, along: Span, half_width: float, count: int
) -> None:
    """A band of panes on both sides, with posts between."""
    z0, z1 = along
    step = (z1 - z0) / count
    for pane in range(count):
        start = z0 + pane * step
        thing.box(
            (-half_width - 0.012, half_width + 0.012),
            heights,
            (start + 0.04, start + step - 0.04),
            kit.glass,
        )


def _lettering(thing: Builder) -> int:
    """A picture as on the side of a lorry."""
    source = thing.source
    return thing.skin(palette.poster(source, source.uniform(1.5, 3.0), source.uniform(0.8, 2.0)))


def add_van(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A delivery van of 4.8 to 6.5 m, or a minibus with windows all along."""
    van = Builder.at(scene, source, body, Label.CAR)
    paint = source.choice(kit.paints)
    length, high, half = (
        source.uniform(4.8, 6.5),
        source.uniform(1.9, 2.7),
        source.uniform(0.92, 1.02),
    )
    rear, nose = -0.5 * length, 0.5 * length
    cab = nose - 1.0
    van.box((-half, half), (0.35, high), (rear, cab - 0.55), paint)
    van.box((-half, half), (0.35, 1.15), (rear, nose), paint)
    van.box((-half + 0.02, half - 0.02), (0.3, 0.95), (nose - 0.2, nose + 0.08), kit.dark)
    rise = min(high, 2.1) - 1.1
    van.box((-half + 0.06, half - 0.06), (1.1, 1.1 + rise), (cab - 0.6, cab - 0.05), kit.glass)
    van.box(
        (-half + 0.05, half - 0.05), (1.05, 1.15 + rise), (cab - 0.1, cab + 0.02), kit.glass,
        pitch_rad=0.42,
    )  # fmt: skip
    van.box((-half + 0.04, half - 0.04), (1.08 + rise, 1.2 + rise), (cab - 0.8, cab - 0.15), paint)
    if source.random() < 0.5:
        _windows(
            van, kit, heights=(1.2, 1.75), along=(rear + 0.3, cab - 0.7), half_width=half, count=3
        )
    for x in (-0.45, 0.45):
        van.box((x - 0.38, x + 0.38), (1.2, 1.75), (rear - 0.012, rear + 0.05), kit.glass)
    van.box((-0.01, 0.01), (0.5, high - 0.1), (rear - 0.014, rear + 0.02), kit.dark)
    for side in (-1.0, 1.0):
        x = side * (half + 0.1)
        van.box((x - 0.09, x + 0.09), (1.2, 1.45), (cab - 0.1, cab), kit.dark)
    _tail(van, kit, half, rear, 0.8)
    _front(van, kit, half, nose + 0.06, 0.7)
    _wheels(van, kit, (rear + 0.95, nose - 0.9), half, 0.34)


def add_bus(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A city bus of 9 to 13 m with panes and doors."""
    bus = Builder.at(scene, source, body, Label.BUS)
    colours = palette.any_colour(source, 0.1, 0.7), palette.vivid(source)
    paint = bus.skin(palette.plain(source, source.choice(colours), gloss=0.3))
    length, high, half = source.uniform(9.0, 13.0), source.uniform(2.8, 3.3), 1.26
    rear, nose = -0.5 * length, 0.5 * length
    bus.box((-half, half), (0.35, high), (rear, nose), paint)
    if source.random() < 0.5:
        band = bus.skin(palette.plain(source, palette.vivid(source)))
        bus.box((-half - 0.006, half + 0.006), (0.55, 0.95), (rear, nose + 0.006), band)
    _windows(
        bus, kit, heights=(1.15, high - 0.5), along=(rear + 0.5, nose - 0.4), half_width=half,
        count=round(length / 1.5),
    )  # fmt: skip
    for z in (nose - 1.3, -0.3):
        bus.box((half, half + 0.02), (0.45, high - 0.5), (z - 0.6, z + 0.6), kit.glass)
        bus.box((half, half + 0.03), (0.45, high - 0.5), (z - 0.03, z + 0.03), kit.dark)
    bus.box((-half + 0.1, half - 0.1), (1.0, high - 0.45), (nose - 0.1, nose + 0.02), kit.glass)
    bus.box((-half + 0.2, half - 0.2), (1.5, high - 0.5), (rear - 0.02, rear + 0.1), kit.glass)
    sign = bus.skin(
        Material(
            colour=(0.02, 0.02, 0.02),
            cell=(0.9, 0.5, 0.05),
            cell_m=(0.16, 0.2),
            joint=(0.4, 0.3),
            emission=1.5,
        )
    )
    bus.box((-0.8, 0.8), (high - 0.4, high - 0.15), (nose - 0.1, nose + 0.015), sign)
    _tail(bus, kit, half, rear, 0.9)
    _front(bus, kit, half, nose, 0.75)
    _wheels(bus, kit, (rear + 2.6, nose - 2.4), half, 0.48)


def add_tram(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A tram of two to four cars with bellows between, a roof box and a pantograph."""
    tram = Builder.at(scene, source, body, Label.TRAIN)
    paint = tram.skin(
        palette.plain(
            source,
            source.choice(
                (
                    (0.6, 0.55, 0.1),
                    (0.5, 0.03, 0.03),
                    (0.7, 0.7, 0.68),
                    (0.05, 0.2, 0.1),
                    palette.vivid(source),
                )
            ),
            gloss=0.3,
        )
    )
    lower = tram.skin(palette.plain(source, source.choice(((0.75, 0.75, 0.73), (0.1, 0.1, 0.12)))))
    half, high, car = (
        source.uniform(1.15, 1.32),
        source.uniform(3.2, 3.6),
        source.uniform(7.0, 9.5),
    )
    cars = source.randint(2, 4)
    start = -0.5 * cars * car
    for number in range(cars):
        z0, z1 = start + number * car + 0.25, start + (number + 1) * car - 0.25
        tram.box((-half, half), (1.1, high), (z0, z1), paint)
        tram.box((-half, half), (0.25, 1.1), (z0, z1), lower)
        tram.box((-half + 0.1, half - 0.1), (0.4, high - 0.1), (z1, z1 + 0.5), kit.dark)
        _windows(
            tram, kit, heights=(1.2, high - 0.65), along=(z0 + 0.5, z1 - 0.5), half_width=half,
            count=5,
        )  # fmt: skip
        tram.box((-half - 0.02, half + 0.02), (0.35, high - 0.6), (z0 + 2.4, z0 + 3.7), kit.glass)
        tram.box((-half + 0.3, half - 0.3), (high, high + 0.35), (z0 + 1.5, z1 - 1.5), lower)
        _wheels(tram, kit, (z0 + 1.4, z1 - 1.4), half - 0.1, 0.3)
    for end, outward in ((start + 0.25, -1.0), (-start - 0.25, 1.0)):
        tram.box(
            (-half + 0.05, half - 0.05), (1.1, high - 0.05), (end, end + 0.12 * outward), paint
        )
        tram.box(
            (-half + 0.2, half - 0.2), (1.35, high - 0.6), (end, end + 0.14 * outward), kit.glass
        )
        tram.box((-half + 0.06, half - 0.06), (0.3, 1.0), (end, end + 0.2 * outward), lower)
        for x in (-half + 0.15, half - 0.15):
            tram.box((x - 0.06, x + 0.06), (1.15, 1.27), (end, end + 0.15 * outward), kit.red)
        for side in (-1.0, 1.0):
            x = side * (half - 0.35)
            tram.box((x - 0.14, x + 0.14), (0.75, 0.9), (end, end + 0.22 * outward), kit.white)
        tram.box((-0.7, 0.7), (high - 0.42, high - 0.12), (end, end + 0.14 * outward), kit.dark)
    reach = source.uniform(0.8, 1.4)
    tram.rod((0.0, high + 0.3, 0.0), (0.0, high + 0.3 + reach, 0.9), 0.03, kit.metal)
    tram.rod((-0.7, high + 0.3 + reach, 0.9), (0.7, high + 0.3 + reach, 0.9), 0.03, kit.metal)


def add_lorry(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A cab with a tank, a tilt, a box or an open bed with a load."""
    lorry = Builder.at(scene, source, body, Label.TRUCK)
    paint = source.choice(kit.paints)
    length, half = source.uniform(6.0, 14.0), source.uniform(1.05, 1.27)
    rear, nose = -0.5 * length, 0.5 * length
    cab = nose - source.uniform(1.7, 2.2)
    roof = source.uniform(2.4, 3.7)
    lorry.box((-half + 0.03, half - 0.03), (0.5, roof), (cab, nose), paint)
    lorry.box((-half + 0.1, half - 0.1), (1.75, 2.35), (nose - 0.1, nose + 0.02), kit.glass)
    lorry.box((-half + 0.01, half - 0.01), (1.7, 2.3), (nose - 1.1, nose - 0.15), kit.glass)
    lorry.box((-half, half), (0.35, 0.6), (cab, nose + 0.05), kit.dark)
    for side in (-1.0, 1.0):
        x = side * (half + 0.16)
        lorry.box((x - 0.1, x + 0.1), (1.8, 2.3), (nose - 0.1, nose), kit.dark)
    _front(lorry, kit, half, nose + 0.03, 0.85)
    lorry.box((-0.45, 0.45), (0.6, 0.95), (rear, cab), kit.dark)
    _load(lorry, kit, half, rear, cab - 0.35)
    striped = lorry.skin(
        Material(
            colour=(0.75, 0.6, 0.05), cell=(0.45, 0.03, 0.02), cell_m=(0.4, 9.0), joint=(0.5, 0.0)
        )
    )
    lorry.box((-half, half), (0.85, 1.05), (rear - 0.05, rear), striped)
    _tail(lorry, kit, half, rear, 0.75)
    radius = source.uniform(0.42, 0.52)
    axles: tuple[float, ...] = (rear + 1.0, nose - 1.1)
    if length > 8.0:
        axles += (rear + 2.2,)
    if length > 10.5:
        axles += (rear + 3.4,)
    _wheels(lorry, kit, axles, half, radius)
    for side in (-1.0, 1.0):
        x = side * (half - 0.06)
        lorry.box((x - 0.05, x + 0.05), (0.5, 0.85), (rear + 4.0, cab - 1.0), kit.metal)


def _load(lorry: Builder, kit: Stock, half: float, rear: float, front: float) -> None:
    source = lorry.source
    kind = source.choice(('tank', 'tank', 'tilt', 'tilt', 'box', 'bed'))
    high = source.uniform(2.4, 3.9)
    if kind == 'tank':
        radius = source.uniform(0.95, 1.2)
        shell = lorry.skin(
            palette.plain(
                source,
                source.choice(((0.75, 0.74, 0.72), (0.55, 0.56, 0.58))),
                gloss=0.5,
                noise=0.1,
            )
        )
        middle = 1.15 + radius
        lorry.rod((0.0, middle, rear + 0.3), (0.0, middle, front - 0.3), radius, shell)
        for z in (rear + 0.3, front - 0.3):
            lorry.ball((0.0, middle, z), (radius, radius, 0.35), shell)
        for step in range(3):
            z = rear + 0.6 + step * 0.3 * (front - rear)
            lorry.rod((0.0, middle, z), (0.0, middle, z + 0.08), radius + 0.03, kit.metal)
        lorry.box(
            (-0.25, 0.25),
            (middle + radius, middle + radius + 0.06),
            (rear + 0.4, front - 0.4),
            kit.dark,
        )
        lorry.box(
            (0.35, 0.75),
            (0.95, middle + radius),
            (rear - 0.02, rear + 0.06),
            kit.metal,
            shape=Shape.BARS,
        )
        lorry.box((-half, half), (0.95, 1.15), (rear, front), kit.dark)
        if source.random() < 0.6:
            lorry.box(
                (-radius - 0.01, radius + 0.01),
                (middle - 0.5, middle + 0.5),
                (rear + 1.5, front - 1.0),
                _lettering(lorry),
            )
        return
    lorry.box((-half, half), (0.95, 1.15), (rear, front), kit.dark)
    if kind == 'bed':
        side = lorry.skin(palette.wood(source))
        lorry.box((-half, half), (1.15, 1.75), (rear, front), side)
        heap = lorry.skin(palette.grass(source))
        lorry.ball(
            (0.0, 1.7, 0.5 * (rear + front)), (half - 0.1, 0.6, 0.45 * (front - rear)), heap
        )
        return
    colour = palette.vivid(source) if kind == 'tilt' else palette.any_colour(source, 0.2, 0.75)
    cover = palette.plain(source, colour, noise=0.2 if kind == 'tilt' else 0.05)
    skin = lorry.skin(cover)
    lorry.box((-half, half), (1.15, high), (rear, front), skin)
    if source.random() < 0.7:
        lorry.box(
            (-half - 0.01, half + 0.01),
            (1.5, high - 0.3),
            (rear + 0.5, front - 0.4),
            _lettering(lorry),
        )
    if kind == 'box':
        lorry.box((-0.02, 0.02), (1.2, high - 0.05), (rear - 0.02, rear), kit.dark)
        for x in (-0.5, 0.5):
            lorry.rod((x, 1.2, rear - 0.03), (x, high - 0.05, rear - 0.03), 0.03, kit.metal)
    else:
        lorry.box((-half, half), (1.15, 1.6), (rear - 0.03, rear), kit.metal)
