# SPDX-License-Identifier: Apache-2.0
"""Fences, benches, bins, signs, shelters, big trees and rails that stand about outdoors."""

from __future__ import annotations

import math
from random import Random

from depth_core.data.synthetic.scene import Body, Label, Material, Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.builder import Builder
from depth_core.data.synthetic.things.stock import Stock


def add_fence(scene: Scene, source: Random, kit: Stock, body: Body, length: float) -> None:
    """A fence of bars, boards or wire with posts, along z of the body."""
    fence = Builder.at(scene, source, body, Label.FENCE)
    kind = source.choice(('bars', 'bars', 'boards', 'rails', 'wire'))
    high = source.uniform(0.8, 2.2)
    skin = source.choice((kit.dark, kit.metal, fence.skin(palette.wood(source)), kit.white))
    panel = {'bars': 2.2, 'boards': 1.8, 'rails': 2.5, 'wire': 2.5}[kind]
    count = max(int(length / panel), 1)
    for number in range(count):
        z = number * panel
        fence.box((-0.04, 0.04), (0.0, high + 0.08), (z - 0.04, z + 0.04), skin)
        if kind == 'rails':
            for level in (0.3, 0.6, 0.95):
                fence.rod((0.0, level * high, z), (0.0, level * high, z + panel), 0.03, skin)
        elif kind == 'boards':
            fence.box((-0.015, 0.015), (0.05, high), (z + 0.04, z + panel - 0.04), skin)
        else:  # bars run along the x axis of their own box
            fence.box(
                (-0.5 * panel, 0.5 * panel),
                (0.05, high),
                (z + 0.5 * panel - 0.01, z + 0.5 * panel + 0.01),
                skin,
                shape=Shape.BARS,
                yaw_rad=0.5 * math.pi,
            )
        if kind == 'wire':
            for level in (0.25, 0.5, 0.75):
                fence.rod((0.0, level * high, z), (0.0, level * high, z + panel), 0.008, skin)


def add_street_tree(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A grown tree: a thick trunk that forks, and a wide crown of many clumps of leaves."""
    tree = Builder.at(scene, source, body, Label.VEGETATION)
    bark, leaves = source.choice(kit.bark), source.choice(kit.leaves)
    fork, girth = source.uniform(2.0, 4.0), source.uniform(0.14, 0.42)
    lean = source.uniform(-0.3, 0.3)
    tree.rod((0.0, -0.1, 0.0), (lean, fork, 0.0), girth, bark)
    tree.ball((0.0, 0.05, 0.0), (1.6 * girth, 0.25, 1.6 * girth), bark)
    crown = source.uniform(2.0, 4.2)
    for _ in range(source.randint(4, 7)):
        angle, out = source.uniform(0.0, 2.0 * math.pi), source.uniform(0.25, 0.85) * crown
        tip = (
            lean + out * math.cos(angle),
            fork + source.uniform(0.3, 1.3) * crown,
            out * math.sin(angle),
        )
        tree.rod((lean, fork - 0.2, 0.0), tip, 0.35 * girth, bark)
        size = crown * source.uniform(0.35, 0.6)
        tree.ball(tip, (size, 0.75 * size, size), leaves, shape=Shape.FOLIAGE)
    tree.ball(
        (lean, fork + 0.9 * crown, 0.0),
        (0.8 * crown, 0.6 * crown, 0.8 * crown),
        leaves,
        shape=Shape.FOLIAGE,
    )


def add_grass_tufts(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """Tall grass or flowers in a patch of a metre or two."""
    patch = Builder.at(scene, source, body, Label.VEGETATION)
    skin = source.choice(kit.leaves)
    for _ in range(source.randint(3, 7)):
        x, z = source.uniform(-0.8, 0.8), source.uniform(-0.8, 0.8)
        size = source.uniform(0.1, 0.35)
        patch.ball((x, 0.6 * size, z), (size, size, size), skin, shape=Shape.FOLIAGE)


def add_bench(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A bench of boards on two frames."""
    bench = Builder.at(scene, source, body, Label.OBJECT)
    boards = bench.skin(palette.wood(source))
    for z in (-0.18, 0.0, 0.18):
        bench.box((-0.8, 0.8), (0.42, 0.46), (z - 0.07, z + 0.07), boards)
    for height in (0.6, 0.78):
        bench.box((-0.8, 0.8), (height, height + 0.1), (-0.3, -0.27), boards)
    for x in (-0.65, 0.65):
        bench.box((x - 0.03, x + 0.03), (0.0, 0.42), (-0.2, 0.2), kit.dark)
        bench.box((x - 0.03, x + 0.03), (0.42, 0.88), (-0.3, -0.25), kit.dark)


def add_bin(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A bin, a planter, a hydrant, a junction box or a row of bollards."""
    thing = Builder.at(scene, source, body, Label.OBJECT)
    paint = thing.skin(
        palette.plain(source, source.choice((palette.vivid(source), palette.any_colour(source))))
    )
    kind = source.choice(('bin', 'wheelie', 'box', 'bollards', 'cone', 'planter'))
    if kind == 'bin':
        thing.rod((0.0, 0.1, 0.0), (0.0, 0.9, 0.0), 0.22, paint)
        thing.rod((0.0, 0.9, 0.0), (0.0, 0.96, 0.0), 0.25, kit.dark)
    elif kind == 'wheelie':
        thing.box((-0.28, 0.28), (0.05, 0.95), (-0.3, 0.3), paint)
        thing.box((-0.31, 0.31), (0.95, 1.05), (-0.35, 0.33), paint)
        thing.disc((0.27, 0.1, -0.28), 0.1, 0.03, kit.tyre)
    elif kind == 'box':
        thing.box((-0.5, 0.5), (0.0, source.uniform(0.9, 1.5)), (-0.2, 0.2), paint)
    elif kind == 'cone':
        for level in range(5):
            skin = kit.white if level % 2 else thing.skin(palette.plain(source, (0.7, 0.15, 0.02)))
            thing.rod(
                (0.0, 0.14 * level, 0.0), (0.0, 0.14 * (level + 1), 0.0), 0.17 - 0.03 * level, skin
            )
    elif kind == 'planter':
        thing.box(
            (-0.5, 0.5),
            (0.0, 0.5),
            (-0.5, 0.5),
            thing.skin(palette.plain(source, (0.4, 0.39, 0.37), noise=0.2)),
        )
        thing.of(Label.VEGETATION).ball(
            (0.0, 0.75, 0.0), (0.5, 0.4, 0.5), source.choice(kit.leaves), shape=Shape.FOLIAGE
        )
    else:
        posts = thing.of(Label.POLE)
        for z in range(5):
            posts.rod((0.0, 0.0, 1.4 * z), (0.0, 0.9, 1.4 * z), 0.06, kit.dark)
            posts.rod((0.0, 0.7, 1.4 * z), (0.0, 0.78, 1.4 * z), 0.062, kit.white)


def add_board(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A large sign on two posts, or an advertising column."""
    sign = Builder.at(scene, source, body, Label.TRAFFIC_SIGN)
    posts = sign.of(Label.POLE)
    wide, high, low = source.uniform(0.4, 1.6), source.uniform(0.5, 1.4), source.uniform(0.9, 2.4)
    if source.random() < 0.2:
        skin = sign.skin(palette.poster(source, 1.2, 1.7))
        sign.of(Label.OBJECT).rod((0.0, 0.0, 0.0), (0.0, 2.8, 0.0), 0.6, skin)
        sign.of(Label.OBJECT).ball((0.0, 2.8, 0.0), (0.68, 0.25, 0.68), kit.dark)
        return
    face = sign.skin(palette.poster(source, 2.0 * wide, high))
    sign.box((-wide, wide), (low, low + high), (-0.03, 0.03), face)
    for x in (-0.7 * wide, 0.7 * wide):
        posts.rod((x, 0.0, 0.05), (x, low + high, 0.05), 0.045, kit.metal)


def add_shelter(scene: Scene, source: Random, kit: Stock, body: Body) -> None:
    """A stop with a roof on posts, a bench and a poster."""
    stop = Builder.at(scene, source, body, Label.OBJECT)
    stop.box((-2.0, 2.0), (2.35, 2.45), (-0.8, 0.7), kit.dark)
    for x in (-1.9, 0.0, 1.9):
        stop.of(Label.POLE).rod((x, 0.0, -0.7), (x, 2.4, -0.7), 0.04, kit.metal)
    stop.box((-1.9, 0.5), (0.42, 0.48), (-0.6, -0.25), kit.metal)
    stop.box((1.85, 1.95), (0.3, 2.1), (-0.7, 0.6), stop.skin(palette.poster(source, 1.2, 1.8)))


def add_tracks(scene: Scene, source: Random, kit: Stock, lateral: float, end_m: float) -> None:
    """Two rails in the road, and a wire above them on masts."""
    rails = Builder.at(scene, source, Body(lateral_m=lateral), Label.ROAD)
    bed = rails.skin(palette.paving(source) if source.random() < 0.5 else palette.grass(source))
    rails.box((-1.35, 1.35), (-0.1, 0.012), (-40.0, end_m), bed)
    shiny = rails.skin(Material(colour=(0.35, 0.33, 0.31), noise=0.1, gloss=0.5))
    for x in (-0.72, 0.72):
        rails.box((x - 0.035, x + 0.035), (-0.1, 0.02), (-40.0, end_m), shiny)
    masts = rails.of(Label.POLE)
    masts.rod((0.0, 5.4, -40.0), (0.0, 5.4, end_m), 0.012, kit.dark)
    step, z = source.uniform(22.0, 35.0), source.uniform(3.0, 20.0)
    while z < end_m:
        masts.rod((2.0, 0.0, z), (2.0, 6.2, z), 0.11, kit.metal)
        masts.rod((2.0, 5.9, z), (-0.2, 5.6, z), 0.03, kit.metal)
        z += step
