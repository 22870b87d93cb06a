# SPDX-License-Identifier: Apache-2.0
"""Where furniture and what hangs on walls finds its place in a room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic.scene import Body, Material, Scene, Shape
from depth_core.data.synthetic.things import palette
from depth_core.data.synthetic.things.furniture import FURNITURE, solid


@dataclass(frozen=True, kw_only=True)
class RoomBounds:
    """The walls of a room around the camera's place, metres."""

    left_m: float
    right_m: float
    back_m: float
    front_m: float
    height_m: float


def _is_free(placed: list[tuple[float, float, float]], x: float, z: float, radius: float) -> bool:
    return all(math.hypot(x - px, z - pz) > radius + pr for px, pz, pr in placed)


def place_at_wall(
    scene: Scene,
    source: Random,
    room: RoomBounds,
    name: str,
    placed: list[tuple[float, float, float]],
) -> None:
    """Stand a piece with its back to a wall if a free place is found in a few tries."""
    piece = FURNITURE[name]
    half = piece.footprint(source)
    radius = 0.85 * max(half)
    for _ in range(4):
        side = source.choice(('left', 'right', 'front', 'front'))
        if side == 'front':
            reach = (room.left_m + half[0], room.right_m - half[0])
            x, z, yaw = source.uniform(*reach), room.front_m - half[1], math.pi
        else:
            reach = (max(room.back_m, -0.5) + half[0], room.front_m - half[0])
            z = source.uniform(*reach)
            x = room.left_m + half[1] if side == 'left' else room.right_m - half[1]
            yaw = math.pi / 2.0 if side == 'left' else -math.pi / 2.0
        if reach[1] > reach[0] and _is_free(placed, x, z, radius):
            placed.append((x, z, radius))
            body = scene.add_body(Body(arc_m=z, lateral_m=x, yaw_rad=yaw))
            piece.build(scene, source, body, half)
            return


def place_free(
    scene: Scene,
    source: Random,
    room: RoomBounds,
    name: str,
    placed: list[tuple[float, float, float]],
) -> None:
    """Stand a piece anywhere in front of the camera if a free place is found."""
    piece = FURNITURE[name]
    half = piece.footprint(source)
    radius = 0.85 * max(half)
    for _ in range(4):
        x = source.uniform(room.left_m + radius, room.right_m - radius)
        z = source.uniform(0.8, max(room.front_m - radius, 0.9))
        if _is_free(placed, x, z, radius):
            placed.append((x, z, radius))
            yaw = source.uniform(-math.pi, math.pi)
            body = scene.add_body(Body(arc_m=z, lateral_m=x, yaw_rad=yaw))
            piece.build(scene, source, body, half)
            return


def add_wall_piece(scene: Scene, source: Random, room: RoomBounds) -> None:
    """A picture, a window with daylight, a door or a beam on a wall."""
    kind = source.choice(('picture', 'picture', 'window', 'door'))
    side = source.choice(('left', 'right', 'front'))
    if kind == 'door':
        half, middle = (source.uniform(0.38, 0.5), 1.0), 1.0
        skin = solid(scene, source)
    elif kind == 'window':
        half = (source.uniform(0.35, 0.9), source.uniform(0.4, 0.65))
        middle = source.uniform(1.3, 1.5)
        pane = Material(
            colour=palette.vary(source, (0.75, 0.75, 0.72)),
            cell=palette.vary(source, (0.8, 0.88, 0.95)),
            cell_m=(half[0], 2.0 * half[1]),
            joint=(0.12, 0.06),
            emission=source.choice((0.0, 1.0, 2.5)),
            noise=0.1,
            grain_m=(0.15, 0.3),
        )
        skin = scene.add_material(pane)
    else:
        half = (source.uniform(0.15, 0.6), source.uniform(0.15, 0.5))
        middle = source.uniform(1.2, 1.8)
        skin = scene.add_material(palette.picture(source))
    depth = source.uniform(0.01, 0.05)
    if side == 'front':
        x = source.uniform(room.left_m + half[0], room.right_m - half[0])
        z, yaw = room.front_m - depth, 0.0
    else:
        z = source.uniform(0.0, max(room.front_m - half[0], 0.1))
        x = (room.left_m + depth) if side == 'left' else (room.right_m - depth)
        yaw = math.pi / 2.0
    body = scene.add_body(Body(arc_m=z, lateral_m=x, yaw_rad=yaw))
    scene.add(Shape.BOX, (0.0, -middle, 0.0), (*half, depth), skin, body=body)
    frame = solid(scene, source)
    scene.add(
        Shape.BOX,
        (0.0, -middle, 0.0),
        (half[0] + 0.05, half[1] + 0.05, 0.7 * depth),
        frame,
        body=body,
    )


def add_rug(scene: Scene, source: Random, room: RoomBounds) -> None:
    """A carpet on the floor."""
    x = source.uniform(0.5 * room.left_m, 0.5 * room.right_m)
    z = source.uniform(0.3, 0.7) * room.front_m
    body = scene.add_body(Body(arc_m=z, lateral_m=x, yaw_rad=source.uniform(-0.3, 0.3)))
    skin = scene.add_material(palette.cloth(source))
    half = (source.uniform(0.5, 1.4), 0.008, source.uniform(0.4, 1.0))
    scene.add(Shape.BOX, (0.0, -0.008, 0.0), half, skin, body=body)
