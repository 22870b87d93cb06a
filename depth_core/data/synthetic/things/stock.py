# SPDX-License-Identifier: Apache-2.0
"""Materials that the things of one street share."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic.scene import Colour, Material, Scene
from depth_core.data.synthetic.things import palette


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
