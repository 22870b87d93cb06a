# SPDX-License-Identifier: Apache-2.0
"""A car that drives ahead in the camera's own lane, as fast as the camera.

It keeps its place in the image while everything else streams by, so that it looks like something
infinitely far away: what learns depth from motion alone digs a hole there.
"""

from __future__ import annotations

from random import Random

from depth_core.data.synthetic.scene import Body, Label, Scene
from depth_core.data.synthetic.things.stock import stock
from depth_core.data.synthetic.things.vehicles import add_car

_NEAREST_M = 9.0
_FARTHEST_M = 18.0
_OWN_LANE_M = 1.6
_CLEARANCE_M = 8.0
_VEHICLES = (Label.CAR, Label.TRUCK, Label.BUS)


def add_leader(scene: Scene, source: Random) -> None:
    """Let a car drive 9 to 18 m ahead of the camera, and take away what drives in its place."""
    ahead_m = source.uniform(_NEAREST_M, _FARTHEST_M)
    lateral_m = scene.motion.lateral_m + source.gauss(0.0, 0.15)
    _clear(scene, lateral_m, ahead_m + _CLEARANCE_M)
    body = Body(arc_m=ahead_m, lateral_m=lateral_m, speed_m_s=scene.motion.speed_m_s)
    add_car(scene, source, stock(scene, source), body)


def _clear(scene: Scene, lateral_m: float, end_m: float) -> None:
    vehicles = {item.body for item in scene.primitives if item.label in _VEHICLES}
    gone = {
        index
        for index in vehicles
        if abs(scene.bodies[index].lateral_m - lateral_m) < _OWN_LANE_M
        and 0.0 < scene.bodies[index].arc_m < end_m
    }
    scene.primitives = [item for item in scene.primitives if item.body not in gone]
