# SPDX-License-Identifier: Apache-2.0
"""Bicycles and motorcycles, parked or ridden."""

from __future__ import annotations

from random import Random

from depth_core.data.synthetic.scene import Body, Label, Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.builder import Builder
from depth_core.data.synthetic.things.people import add_figure
from depth_core.data.synthetic.things.stock import Stock


def add_bicycle(scene: Scene, source: Random, kit: Stock, body: Body, *, ridden: bool) -> None:
    """Two open wheels, a frame of tubes, handlebars and a saddle."""
    bicycle = Builder.at(scene, source, body, Label.BICYCLE)
    paint = bicycle.skin(palette.plain(source, palette.any_colour(source), gloss=0.3))
    wheel, base = source.uniform(0.31, 0.36), source.uniform(0.5, 0.55)
    saddle = source.uniform(0.85, 1.0)
    for z in (-base, base):
        bicycle.disc((0.0, wheel, z), wheel, 0.022, kit.tyre, shape=Shape.RING)
        bicycle.rod((-0.05, wheel, z), (0.05, wheel, z), 0.03, kit.metal)
        for x, height in ((0.0, 0.94 * wheel), (0.94 * wheel, 0.0), (0.66 * wheel, 0.66 * wheel)):
            bicycle.rod(
                (0.0, wheel - height, z - x), (0.0, wheel + height, z + x), 0.004, kit.metal
            )
    crank, seat, head = (0.0, 0.29, -0.08), (0.0, saddle - 0.12, -0.24), (0.0, 0.84, 0.36)
    for start, end in (
        (crank, seat), (seat, head), (crank, head), (crank, (0.0, wheel, -base)),
        (seat, (0.0, wheel, -base)), (head, (0.0, wheel, base)),
    ):  # fmt: skip
        bicycle.rod(start, end, 0.018, paint)
    bicycle.rod((0.0, 0.8, 0.35), (0.0, 1.02, 0.32), 0.015, kit.dark)
    bicycle.rod((-0.28, 1.03, 0.27), (0.28, 1.03, 0.27), 0.014, kit.dark)
    bicycle.rod(seat, (0.0, saddle, -0.26), 0.014, kit.metal)
    bicycle.ball((0.0, saddle, -0.26), (0.08, 0.04, 0.14), kit.dark)
    if source.random() < 0.5:
        bicycle.box((-0.15, 0.15), (0.85, 1.08), (0.42, 0.66), kit.dark)
    if ridden:
        add_figure(scene, source, body, 'ride', seat_m=saddle - 0.06, label=Label.RIDER)


def add_motorcycle(scene: Scene, source: Random, kit: Stock, body: Body, *, ridden: bool) -> None:
    """Two wheels, tank, seat, fork, lamp."""
    motor = Builder.at(scene, source, body, Label.MOTORCYCLE)
    paint = source.choice(kit.paints)
    for z in (-0.68, 0.7):
        motor.disc((0.0, 0.31, z), 0.31, 0.07, kit.tyre)
        motor.disc((0.0, 0.31, z), 0.18, 0.075, kit.rim)
    motor.box((-0.16, 0.16), (0.25, 0.62), (-0.35, 0.32), kit.dark)
    motor.ball((0.0, 0.82, 0.18), (0.17, 0.15, 0.32), paint)
    motor.box((-0.13, 0.13), (0.74, 0.84), (-0.75, -0.05), kit.dark)
    motor.ball((0.0, 0.86, 0.58), (0.18, 0.17, 0.16), paint)
    for x in (-0.1, 0.1):
        motor.rod((x, 0.31, 0.72), (x, 0.98, 0.42), 0.028, kit.metal)
    motor.rod((-0.36, 1.02, 0.36), (0.36, 1.02, 0.36), 0.016, kit.dark)
    motor.ball((0.0, 0.86, 0.7), (0.09, 0.09, 0.07), kit.white)
    motor.box((-0.06, 0.06), (0.7, 0.78), (-0.86, -0.78), kit.red)
    if ridden:
        add_figure(scene, source, body, 'ride', seat_m=0.78, label=Label.RIDER)
