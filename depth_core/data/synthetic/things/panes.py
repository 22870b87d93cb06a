# SPDX-License-Identifier: Apache-2.0
"""Glass and mirrors: seen in the image, and no depth is known of what they show."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from depth_core.data.synthetic.rendering.surface import View
from depth_core.data.synthetic.rotation import yaw_matrix
from depth_core.data.synthetic.scene import Pane, Scene

_NEAR_M = 0.05
_GLASS = 0.82
"""Share of light that comes through glass."""
_MIRROR = 0.85


def add_panes(scene: Scene, radiance: Tensor, depth_m: Tensor, view: View) -> Tensor | None:
    """Put the panes of a scene before what was rendered.

    A mirror shows the picture itself from right to left, moved by a part of its width: what it
    would really show is not rendered, and no pixel of it counts.

    Args:
        scene: Its panes.
        radiance: [3, H, W] linear colours, changed in place.
        depth_m: [H, W] z-depth of what was rendered.
        view: The camera.

    Returns:
        [H, W] bool, where a pane is in front; None when there is no pane at all.
    """
    if not scene.panes:
        return None
    rays = view.directions()
    hidden = torch.zeros(depth_m.shape, dtype=torch.bool, device=depth_m.device)
    before = radiance.clone()
    for number, pane in enumerate(scene.panes):
        seen = _seen(pane, rays, depth_m, view)
        hidden |= seen
        shown = before.flip(2).roll((37 * number + 11) % depth_m.shape[1], 2)
        through = 0.0 if pane.mirror else _GLASS
        mixed = before * through + shown * ((_MIRROR if pane.mirror else 1.0) - through)
        radiance.copy_(torch.where(seen, mixed, radiance))
    return hidden


def _seen(pane: Pane, rays: Tensor, depth_m: Tensor, view: View) -> Tensor:
    """[H, W] bool, where the pane is the nearest thing."""
    axes = yaw_matrix(np.array(pane.yaw_rad)).T @ view.pose[:3, :3]  # camera to pane
    origin = yaw_matrix(np.array(pane.yaw_rad)).T @ (view.pose[:3, 3] - np.array(pane.centre))
    x, y, z = (
        float(row[0]) * rays[0] + float(row[1]) * rays[1] + float(row[2]) * rays[2] for row in axes
    )
    distance = -float(origin[2]) / z
    across = (x * distance + float(origin[0])).abs_()
    along = (y * distance + float(origin[1])).abs_()
    inside = (across < pane.half[0]) & (along < pane.half[1]) & (distance > _NEAR_M)
    # What hangs at the same place, as the frame behind a mirror, is not in front of it.
    return (inside & (distance.view(-1) < depth_m.view(-1) + 0.01)).view(depth_m.shape)
