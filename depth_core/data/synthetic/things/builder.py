# SPDX-License-Identifier: Apache-2.0
"""Puts primitives of one thing together: boxes by their faces, rods by their ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from depth_core.data.synthetic.scene import Body, Material, Scene, Shape, Vector

Span = tuple[float, float]
"""From and to, metres."""


@dataclass(frozen=True, kw_only=True)
class Builder:
    """One thing under construction, in the frame of its body: x right, heights up, z ahead."""

    scene: Scene
    source: Random
    body: int
    label: int

    @classmethod
    def at(cls, scene: Scene, source: Random, body: Body, label: int) -> Builder:
        """Start a thing on a new body."""
        return cls(scene=scene, source=source, body=scene.add_body(body), label=label)

    def of(self, label: int) -> Builder:
        """Go on with another label on the same body."""
        return Builder(scene=self.scene, source=self.source, body=self.body, label=label)

    def skin(self, material: Material) -> int:
        """Store a material and return its index."""
        return self.scene.add_material(material)

    def box(
        self,
        across: Span,
        heights: Span,
        along: Span,
        material: int,
        *,
        top: int | None = None,
        shape: Shape = Shape.BOX,
        yaw_rad: float = 0.0,
        pitch_rad: float = 0.0,
    ) -> None:
        """Add a box between two faces along each axis; turned around its own middle."""
        (x0, x1), (low, high), (z0, z1) = across, heights, along
        self.scene.add(
            shape,
            (0.5 * (x0 + x1), -0.5 * (low + high), 0.5 * (z0 + z1)),
            (
                max(0.5 * abs(x1 - x0), 1e-3),
                max(0.5 * (high - low), 1e-3),
                max(0.5 * abs(z1 - z0), 1e-3),
            ),
            material,
            top=top,
            label=self.label,
            body=self.body,
            yaw_rad=yaw_rad,
            pitch_rad=pitch_rad,
        )

    def ball(
        self, centre: Vector, half: Vector, material: int, *, shape: Shape = Shape.ELLIPSOID
    ) -> None:
        """Add an ellipsoid; `centre` is (x, height, z)."""
        x, height, z = centre
        self.scene.add(shape, (x, -height, z), half, material, label=self.label, body=self.body)

    def rod(
        self,
        start: Vector,
        end: Vector,
        radius: float,
        material: int,
        *,
        shape: Shape = Shape.CYLINDER,
        deep: float | None = None,
    ) -> None:
        """Add a cylinder (or another shape) from one point (x, height, z) to another.

        Args:
            start: One end.
            end: The other.
            radius: Half thickness, metres.
            material: Its material.
            shape: An ellipsoid makes a limb of a rod.
            deep: Half thickness along the other axis; `radius` when None.
        """
        x, y, z = (b - a for a, b in zip(start, end, strict=True))
        y = -y  # heights go up, the axis of the world down
        length = max(math.sqrt(x * x + y * y + z * z), 1e-6)
        self.scene.add(
            shape,
            (
                0.5 * (start[0] + end[0]),
                -0.5 * (start[1] + end[1]),
                0.5 * (start[2] + end[2]),
            ),
            (radius, 0.5 * length, radius if deep is None else deep),
            material,
            label=self.label,
            body=self.body,
            yaw_rad=math.atan2(x, z) if abs(x) + abs(z) > 1e-9 else 0.0,
            pitch_rad=math.acos(min(max(y / length, -1.0), 1.0)),
        )

    def disc(
        self,
        centre: Vector,
        radius: float,
        half_width: float,
        material: int,
        *,
        shape: Shape = Shape.CYLINDER,
    ) -> None:
        """Add a wheel that rolls along z; `centre` is (x, height, z)."""
        x, height, z = centre
        self.scene.add(
            shape,
            (x, -height, z),
            (radius, half_width, radius),
            material,
            label=self.label,
            body=self.body,
            yaw_rad=0.5 * math.pi,
            pitch_rad=0.5 * math.pi,
        )
