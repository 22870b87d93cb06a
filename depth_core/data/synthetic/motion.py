# SPDX-License-Identifier: Apache-2.0
"""Where the camera and the bodies of a scene are at a given time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from depth_core.data.synthetic.rotation import pitch_matrix, roll_matrix, yaw_matrix
from depth_core.data.synthetic.scene import Body, PrimitiveArrays, Scene


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The primitives of a scene in the world at one moment; P of them."""

    rotation: NDArray[np.float64]
    """[P, 3, 3] own axes to world axes."""
    centre: NDArray[np.float64]
    """[P, 3] in metres."""
    half: NDArray[np.float64]
    """[P, 3] half sizes along the own axes, metres."""


def path_pose(
    curvature_1_m: float, arc_m: NDArray[np.float64], lateral_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return x, z and heading of points given by arc length and offset to the right."""
    if curvature_1_m == 0.0:
        return lateral_m, arc_m, np.zeros_like(arc_m)
    heading = curvature_1_m * arc_m
    radius = 1.0 / curvature_1_m
    x = radius - (radius - lateral_m) * np.cos(heading)
    return x, (radius - lateral_m) * np.sin(heading), heading


def camera_pose(scene: Scene, time_s: float) -> NDArray[np.float64]:
    """[4, 4] camera-to-world transform of the scene's camera at `time_s`."""
    motion = scene.motion
    sway = motion.sway_rad * math.sin(1.9 * time_s)
    yaw = motion.yaw_rad
    pose = np.eye(4)
    if motion.orbit_m > 0.0:
        angle = motion.orbit_rad_s * time_s
        x = motion.lateral_m + motion.orbit_m * math.sin(angle)
        z = motion.orbit_m * (1.0 - math.cos(angle))
        yaw += angle
    else:
        arc = np.array([motion.speed_m_s * time_s])
        path = path_pose(scene.curvature_1_m, arc, np.array([motion.lateral_m]))
        x, z = float(path[0][0]), float(path[1][0])
        yaw += float(path[2][0])
    pose[:3, :3] = (
        yaw_matrix(np.array(yaw))
        @ pitch_matrix(np.array(motion.pitch_rad + sway))
        @ roll_matrix(motion.roll_rad + 0.7 * sway)
    )
    pose[:3, 3] = (x, -motion.height_m, z)
    return pose


def camera_speed(scene: Scene, start_s: float, end_s: float) -> float:
    """Distance between the camera's places at two times over the time between, m/s."""
    if start_s == end_s:
        end_s = start_s + 1e-3
    change = camera_pose(scene, end_s)[:3, 3] - camera_pose(scene, start_s)[:3, 3]
    return float(np.linalg.norm(change)) / abs(end_s - start_s)


class Pace(IntEnum):
    """How a thing moves, as a pixel of `SyntheticDataset.pace` says it."""

    STANDING = 0
    MOVING = 1
    WITH_CAMERA = 2
    """As fast as the camera and the same way: it keeps its place in the camera's frame."""


def primitive_paces(scene: Scene) -> list[Pace]:
    """How each primitive moves.

    What is carried along with the camera (the ground, distant hills) stands: its pattern stays in
    the world.
    """
    ego = scene.motion.speed_m_s

    def pace(body: Body) -> Pace:
        if body.follows_ego or body.speed_m_s == 0.0:
            return Pace.STANDING
        return Pace.WITH_CAMERA if body.speed_m_s == ego else Pace.MOVING

    paces = [pace(body) for body in scene.bodies]
    return [paces[item.body] for item in scene.primitives]


BEHIND_M = 30.0
"""How far behind the camera a repeating street reaches before its things reappear ahead."""


def body_poses(
    scene: Scene, time_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return x, z and heading of every body at `time_s`."""
    ego_arc = scene.motion.speed_m_s * time_s
    arc = np.array(
        [
            body.arc_m + (ego_arc if body.follows_ego else body.speed_m_s * time_s)
            for body in scene.bodies
        ]
    )
    if scene.wrap_m > 0.0:
        travels = np.array([not body.follows_ego for body in scene.bodies])
        wrapped = (arc - ego_arc + BEHIND_M) % scene.wrap_m - BEHIND_M + ego_arc
        arc = np.where(travels, wrapped, arc)
    lateral = np.array([body.lateral_m for body in scene.bodies])
    x, z, heading = path_pose(scene.curvature_1_m, arc, lateral)
    return x, z, heading + np.array([body.yaw_rad for body in scene.bodies])


def place(scene: Scene, arrays: PrimitiveArrays, time_s: float) -> Placement:
    """Return where the primitives of a scene are at `time_s`."""
    x, z, heading = (column[arrays.body] for column in body_poses(scene, time_s))
    body_rotation = yaw_matrix(heading)
    offset = np.stack((x, np.zeros_like(x), z), axis=-1)
    return Placement(
        rotation=body_rotation @ arrays.rotation,
        centre=(body_rotation @ arrays.centre[..., None])[..., 0] + offset,
        half=arrays.half,
    )
