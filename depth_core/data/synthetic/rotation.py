# SPDX-License-Identifier: Apache-2.0
"""Rotations around the axes of a frame whose x is right, y down and z ahead."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def yaw_matrix(angle_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., 3, 3] rotations around y: positive turns z (ahead) towards x (right)."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    rows = [[cos, zero, sin], [zero, one, zero], [-sin, zero, cos]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def pitch_matrix(angle_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., 3, 3] rotations around x: positive turns z (ahead) up, towards -y."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    rows = [[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def roll_matrix(angle_rad: float) -> NDArray[np.float64]:
    """[3, 3] rotation around z: positive turns x (right) towards y (down)."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
