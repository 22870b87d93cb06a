# SPDX-License-Identifier: Apache-2.0
"""Rooms: four walls, a lamp, and furniture along the walls and in the middle."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic.places import placing
from depth_core.data.synthetic.scene import Lighting, Material, Motion, Scene, Shape, Sky
from depth_core.data.synthetic.things import palette


@dataclass(frozen=True, kw_only=True)
class RoomKind:
    """The ranges a kind of room is drawn from."""

    width_m: tuple[float, float]
    length_m: tuple[float, float]
    height_m: tuple[float, float]
    floors: tuple[str, ...]
    """Names of the floors' makers in `palette`."""
    along_walls: tuple[str, ...]
    """Names of furniture in `furniture.FURNITURE` that stands against a wall."""
    in_middle: tuple[str, ...]
    clutter: tuple[int, int]
    """Fewest and most boxes, bottles and balls lying about."""


ROOM_KINDS = {
    'bedroom': RoomKind(
        width_m=(2.8, 4.5),
        length_m=(3.2, 5.0),
        height_m=(2.3, 2.8),
        floors=('wood', 'cloth'),
        along_walls=('bed', 'wardrobe', 'shelf', 'table', 'lamp', 'plant'),
        in_middle=('chair',),
        clutter=(0, 6),
    ),
    'living_room': RoomKind(
        width_m=(3.5, 6.5),
        length_m=(4.0, 8.0),
        height_m=(2.4, 3.2),
        floors=('wood', 'cloth'),
        along_walls=('sofa', 'shelf', 'sofa', 'lamp', 'plant', 'wardrobe', 'screen'),
        in_middle=('table', 'sofa', 'chair'),
        clutter=(0, 8),
    ),
    'office': RoomKind(
        width_m=(3.0, 8.0),
        length_m=(4.0, 10.0),
        height_m=(2.5, 3.2),
        floors=('cloth', 'tiles'),
        along_walls=('desk', 'shelf', 'desk', 'wardrobe', 'screen', 'plant'),
        in_middle=('desk', 'chair', 'chair'),
        clutter=(2, 10),
    ),
    'kitchen': RoomKind(
        width_m=(2.4, 4.5),
        length_m=(3.0, 5.5),
        height_m=(2.3, 2.9),
        floors=('tiles', 'wood'),
        along_walls=('counter', 'counter', 'wardrobe', 'counter', 'shelf'),
        in_middle=('table', 'chair', 'chair'),
        clutter=(2, 12),
    ),
    'corridor': RoomKind(
        width_m=(1.5, 2.8),
        length_m=(8.0, 22.0),
        height_m=(2.3, 3.0),
        floors=('tiles', 'cloth', 'wood'),
        along_walls=('shelf', 'plant', 'chair', 'wardrobe'),
        in_middle=(),
        clutter=(0, 4),
    ),
    'basement': RoomKind(
        width_m=(4.0, 12.0),
        length_m=(5.0, 16.0),
        height_m=(2.2, 4.0),
        floors=('asphalt', 'paving'),
        along_walls=('shelf', 'crates', 'wardrobe', 'crates', 'counter', 'column'),
        in_middle=('crates', 'column', 'table', 'wardrobe'),
        clutter=(4, 16),
    ),
}
"""Kinds of rooms by the name of their scene class."""


def make_room(name: str, source: Random) -> Scene:
    """Return a room of the kind `name`, a key of `ROOM_KINDS`; the camera stands at x = z = 0."""
    kind = ROOM_KINDS[name]
    scene = Scene()
    width, length, height = (
        source.uniform(*bounds) for bounds in (kind.width_m, kind.length_m, kind.height_m)
    )
    # The camera stands near the rear end and looks across, as people do who photograph a room.
    left = source.uniform(0.25, 0.75) * width
    behind = source.uniform(0.08, 0.4) * length
    room = placing.RoomBounds(
        left_m=-left,
        right_m=width - left,
        back_m=-behind,
        front_m=length - behind,
        height_m=height,
    )
    _shell(scene, source, kind, room)
    # In a narrow room a turn would leave nothing but a bare wall in view.
    turn = source.gauss(0.0, 0.3 if width > 3.0 else 0.12)
    scene.motion = Motion(
        height_m=min(source.uniform(0.6, 1.75), height - 0.4),
        yaw_rad=turn,
        pitch_rad=source.gauss(-0.12, 0.13),
        roll_rad=source.gauss(0.0, 0.04),
        speed_m_s=source.uniform(-0.8, 0.8),
        orbit_m=min(0.35, 0.7 * left, 0.7 * (width - left), 0.8 * behind),
        orbit_rad_s=source.choice((-1.0, 1.0)) * source.uniform(0.3, 0.7),
        sway_rad=source.choice((0.0, 0.02)),
    )
    _furnish(scene, source, kind, room)
    light_room(scene, source, room)
    return scene


def _shell(scene: Scene, source: Random, kind: RoomKind, room: placing.RoomBounds) -> None:
    maker = {
        'wood': palette.wood,
        'cloth': palette.cloth,
        'tiles': palette.tiles,
        'asphalt': palette.asphalt,
        'paving': palette.paving,
    }[source.choice(kind.floors)]
    pick = source.random()
    if kind.floors[0] == 'asphalt' or pick < 0.15:
        wall = palette.bricks(source)
    elif pick < 0.3:
        wall = palette.cloth(source)
    elif pick < 0.4:
        wall = palette.tiles(source)
    else:
        wall = palette.plain(
            source, palette.mix((0.7, 0.68, 0.62), palette.any_colour(source), 0.3)
        )
    ceiling = scene.add_material(palette.plain(source, (0.72, 0.71, 0.69)))
    floor = scene.add_material(maker(source))
    centre = (
        0.5 * (room.left_m + room.right_m),
        -0.5 * room.height_m,
        0.5 * (room.back_m + room.front_m),
    )
    half = (
        0.5 * (room.right_m - room.left_m),
        0.5 * room.height_m,
        0.5 * (room.front_m - room.back_m),
    )
    scene.add(
        Shape.BOX, centre, half, scene.add_material(wall), top=ceiling, bottom=floor, casts=False
    )
    for _ in range(source.randint(1, 6)):
        placing.add_wall_piece(scene, source, room)


def _furnish(scene: Scene, source: Random, kind: RoomKind, room: placing.RoomBounds) -> None:
    placed: list[tuple[float, float, float]] = [(0.0, 0.0, 0.75)]
    size = (room.right_m - room.left_m) * (room.front_m - room.back_m)
    for _ in range(min(3 + int(size / 3.0), 12)):
        placing.place_at_wall(scene, source, room, source.choice(kind.along_walls), placed)
    if kind.in_middle:
        for _ in range(min(1 + int(size / 8.0), 6)):
            placing.place_free(scene, source, room, source.choice(kind.in_middle), placed)
    for _ in range(source.randint(*kind.clutter)):
        placing.place_free(scene, source, room, 'clutter', placed)
    if source.random() < 0.25:
        placing.place_free(scene, source, room, 'person', placed)
    if source.random() < 0.4:
        placing.add_rug(scene, source, room)


def light_room(scene: Scene, source: Random, room: placing.RoomBounds) -> None:
    """Hang a lamp of any strength and warmth."""
    lamp = (
        source.uniform(0.7 * room.left_m, 0.7 * room.right_m),
        -room.height_m + source.uniform(0.08, 0.4),
        source.uniform(0.1, 0.75) * room.front_m,
    )
    strength = source.uniform(0.5, 2.0)
    shade = source.uniform(0.12, 0.6)
    warm = source.uniform(-0.05, 0.35)
    scene.lighting = Lighting(
        lamp=lamp,
        direct=(strength, strength * (1.0 - 0.45 * warm), strength * (1.0 - warm)),
        ambient=(shade, shade * (1.0 - 0.3 * warm), shade * (1.0 - 0.6 * warm)),
        reach_m=source.uniform(1.5, 3.0),
    )
    if source.random() < 0.6:
        bulb = scene.add_material(Material(colour=(0.9, 0.85, 0.75), emission=3.0, noise=0.0))
        size = source.uniform(0.06, 0.2)
        scene.add(
            source.choice((Shape.ELLIPSOID, Shape.CYLINDER)),
            lamp,
            (size, min(size, 0.9 * (room.height_m + lamp[1])), size),
            bulb,
            casts=False,
        )
    scene.sky = Sky(haze_m=1e6, horizon=(shade, shade, shade))
