# SPDX-License-Identifier: Apache-2.0
"""What a synthetic scene is made of: primitives with materials, carried by bodies on a path.

The world is right-handed with x right, y down and z forward; the floor or road is y = 0. A
primitive sits in the frame of a body (y down, z ahead of the body), a body sits on the path of
the scene at an arc length and a lateral offset, and may move along it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from depth_core.data.synthetic.rotation import pitch_matrix, yaw_matrix

Colour = tuple[float, float, float]
"""Linear RGB albedo in [0, 1]."""
Vector = tuple[float, float, float]
"""x, y, z in metres."""

NO_LABEL = 255
"""Semantic id of a surface that has no Cityscapes class."""


class Label(IntEnum):
    """Cityscapes train ids that scenes use, and after them the classes of rooms."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    TRAFFIC_LIGHT = 6
    TRAFFIC_SIGN = 7
    VEGETATION = 8
    TERRAIN = 9
    SKY = 10
    PERSON = 11
    RIDER = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    TRAIN = 16
    MOTORCYCLE = 17
    BICYCLE = 18
    FLOOR = 19
    ROOM = 20
    """Walls and ceiling of a room, doors, and what lies flat on them."""
    FURNITURE = 21
    OBJECT = 22
    """Small things: books, cups, screens, lamps."""


class Shape(IntEnum):
    """Forms of a primitive; each is a unit form in [-1, 1]^3 scaled by half sizes."""

    BOX = 0
    ELLIPSOID = 1
    FOLIAGE = 2
    """An ellipsoid shell with holes, so that its outline is ragged like a tree's crown."""
    CYLINDER = 3
    """Round around its own y axis, with flat ends."""
    RING = 4
    """A flat cylinder whose middle is open: the wheel of a bicycle."""
    BARS = 5
    """A box of upright bars between a rail below and one above: a fence, the back of a chair."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """A procedural surface: a grid of cells over a ground colour, modulated by noise."""

    colour: Colour
    """Albedo of the surface, or of the joints between cells."""
    cell: Colour | None = None
    """Albedo inside a cell (a brick, a window pane, a tile); None = no cells."""
    cell_m: tuple[float, float] = (1.0, 1.0)
    """Period of the cells along and across the face, metres."""
    joint: tuple[float, float] = (0.1, 0.1)
    """Share of the period that belongs to the joint, along and across."""
    stagger: float = 0.0
    """Shift of every further row in periods; 0.5 lays bricks."""
    variation: float = 0.0
    """Spread of the brightness from cell to cell, relative."""
    tint: float = 0.0
    """Spread of the colour from cell to cell, absolute."""
    noise: float = 0.15
    """Relative amplitude of the fine noise."""
    grain_m: tuple[float, float] = (0.02, 0.02)
    """Size of a grain of the noise along and across; unequal for wood."""
    gloss: float = 0.0
    """Share of the sky or lamp mirrored at grazing angles."""
    emission: float = 0.0
    """Light the surface gives off, in units of its own albedo."""
    picture: int = -1
    """Index of a picture that covers each cell, modulo how many there are; -1 = none."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """A rigid thing on the path of the scene."""

    arc_m: float = 0.0
    """Arc length along the path at time 0."""
    lateral_m: float = 0.0
    """Offset to the right of the path."""
    yaw_rad: float = 0.0
    """Heading relative to the path, positive to the right."""
    speed_m_s: float = 0.0
    """Along the path; negative for oncoming traffic."""
    follows_ego: bool = False
    """Carried along with the camera (the ground, distant hills)."""


@dataclass(frozen=True, kw_only=True)
class Marking:
    """A painted line along the path."""

    lateral_m: float
    half_width_m: float
    period_m: float = 0.0
    """Length of dash and gap; 0 for an unbroken line."""
    dash_m: float = 0.0
    phase_m: float = 0.0


@dataclass(frozen=True, kw_only=True)
class GroundZone:
    """A strip of the ground, from the end of the strip on its left to `right_m`."""

    right_m: float
    material: Material
    label: int


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """Where the light comes from."""

    direction: Vector = (0.3, -0.8, 0.3)
    """Towards the sun, a unit vector; used when there is no lamp."""
    lamp: Vector | None = None
    """Position of a lamp, metres."""
    direct: Colour = (2.2, 2.1, 1.9)
    """Irradiance of the sun, or of the lamp at `reach_m`."""
    ambient: Colour = (0.45, 0.5, 0.6)
    """Irradiance from everywhere, strongest from above."""
    reach_m: float = 3.0
    """Distance at which the lamp gives `direct`."""
    shadow_half_m: tuple[float, float] = (18.0, 32.0)
    """Half extent of the region that receives sun shadows, across and along the path."""


@dataclass(frozen=True, kw_only=True)
class Sky:
    """What is seen where no surface is hit."""

    zenith: Colour = (0.25, 0.45, 0.85)
    horizon: Colour = (0.8, 0.88, 0.95)
    cloud: Colour = (1.0, 1.0, 1.0)
    cover: float = 0.4
    """Share of the sky under clouds."""
    haze_m: float = 600.0
    """Distance at which a surface has lost 63 % of its contrast to the horizon's colour."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How the camera moves along the path."""

    speed_m_s: float = 0.0
    lateral_m: float = 0.0
    height_m: float = 1.65
    yaw_rad: float = 0.0
    pitch_rad: float = 0.0
    """Positive looks up."""
    roll_rad: float = 0.0
    orbit_m: float = 0.0
    """Radius of a horizontal circle walked instead of the path (rooms)."""
    orbit_rad_s: float = 0.0
    sway_rad: float = 0.0
    """Amplitude of slow pitch and roll (suspension, hand)."""


@dataclass(frozen=True, kw_only=True)
class Primitive:
    """One form in the frame of a body."""

    shape: Shape
    centre: Vector
    half: Vector
    """Half sizes along the own axes, metres."""
    material: int
    """Index of the material of the sides."""
    top: int
    bottom: int
    label: int
    body: int
    yaw_rad: float = 0.0
    pitch_rad: float = 0.0
    """Turn around the own x axis, after yaw."""
    casts: bool = True
    """False for what must not throw a shadow: the ground, the room, a lamp."""
    ground: bool = False
    """True for the surface that the ground zones and markings are painted on."""


@dataclass(frozen=True, kw_only=True)
class Pane:
    """A sheet of glass or a mirror, which no depth is known of: an upright rectangle."""

    centre: Vector
    """In the world, metres."""
    half: tuple[float, float]
    """Half width and half height, metres."""
    yaw_rad: float
    """Of its normal, from z to the right."""
    mirror: bool


@dataclass(frozen=True, kw_only=True)
class PrimitiveArrays:
    """The primitives of a scene as columns; P of them."""

    shape: NDArray[np.int64]
    centre: NDArray[np.float64]
    half: NDArray[np.float64]
    rotation: NDArray[np.float64]
    """[P, 3, 3] own axes to body axes."""
    faces: NDArray[np.int64]
    """[3, P] materials of the sides, the top and the bottom."""
    label: NDArray[np.int64]
    body: NDArray[np.int64]
    casts: NDArray[np.bool_]
    ground: NDArray[np.bool_]


@dataclass(kw_only=True)
class Scene:
    """A scene under construction, then rendered at any time and from any pose."""

    lighting: Lighting = field(default_factory=Lighting)
    sky: Sky = field(default_factory=Sky)
    motion: Motion = field(default_factory=Motion)
    curvature_1_m: float = 0.0
    """Curvature of the path, positive to the right."""
    wrap_m: float = 0.0
    """Length after which the street repeats, for endless drives; 0 = it does not."""
    materials: list[Material] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=lambda: [Body()])
    primitives: list[Primitive] = field(default_factory=list)
    zones: list[GroundZone] = field(default_factory=list)
    markings: list[Marking] = field(default_factory=list)
    panes: list[Pane] = field(default_factory=list)
    pictures: str | None = None
    """Folder of photographs that materials with a picture take; None = drawn ones."""

    def add_material(self, material: Material) -> int:
        """Store a material and return its index."""
        self.materials.append(material)
        return len(self.materials) - 1

    def add_body(self, body: Body) -> int:
        """Store a body and return its index; index 0 is the world itself."""
        self.bodies.append(body)
        return len(self.bodies) - 1

    def add(
        self,
        shape: Shape,
        centre: Vector,
        half: Vector,
        material: int,
        *,
        label: int = NO_LABEL,
        body: int = 0,
        top: int | None = None,
        bottom: int | None = None,
        yaw_rad: float = 0.0,
        pitch_rad: float = 0.0,
        casts: bool = True,
        ground: bool = False,
    ) -> None:
        """Add a primitive; `top` and `bottom` default to the material of the sides."""
        self.primitives.append(
            Primitive(
                shape=shape,
                centre=centre,
                half=half,
                material=material,
                top=material if top is None else top,
                bottom=material if bottom is None else bottom,
                label=label,
                body=body,
                yaw_rad=yaw_rad,
                pitch_rad=pitch_rad,
                casts=casts,
                ground=ground,
            )
        )

    def arrays(self) -> PrimitiveArrays:
        """Return the primitives as columns."""
        items = self.primitives
        yaw = np.array([item.yaw_rad for item in items])
        pitch = np.array([item.pitch_rad for item in items])
        return PrimitiveArrays(
            shape=np.array([int(item.shape) for item in items]),
            centre=np.array([item.centre for item in items]),
            half=np.array([item.half for item in items]),
            rotation=yaw_matrix(yaw) @ pitch_matrix(pitch),
            faces=np.array([(item.material, item.top, item.bottom) for item in items]).T,
            label=np.array([int(item.label) for item in items]),
            body=np.array([item.body for item in items]),
            casts=np.array([item.casts for item in items]),
            ground=np.array([item.ground for item in items]),
        )
