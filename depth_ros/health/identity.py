# SPDX-License-Identifier: Apache-2.0
"""What the diagnostics say of the model, the backend and the state of the node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from depth_core.runtime.engine import BuildProgress, EngineIdentity
from depth_core.scale import TrackedScale
from depth_ros.health.watchdog import WatchState

KEY_CHARACTERS: Final = 12
"""So much of the key of an engine is shown; it tells the entries of a cache apart."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Model, backend and state of the node."""

    state: str = 'unconfigured'
    """Lifecycle state of the node."""
    model: str = ''
    """Name in the manifest."""
    model_file: str = ''
    weights_sha256: str = ''
    backend: str = ''
    """The backend in use, not the one asked for."""
    precision: str = ''
    scale_state: str = ''
    """Where the metres come from; `metric` when the model itself gives them."""
    scale: TrackedScale | None = None
    """The scale of the last image; None where the model gives metres itself."""
    rectification: str = ''
    """What is done to images before the network sees them."""
    network_size: str = ''
    """Columns and rows of what the network sees of an image; empty before the first."""
    precision_error: str = ''
    """How far that precision is from fp32, as the manifest has it measured."""
    device: str = ''
    """The device asked for; empty when that was left to the backend."""
    engine: EngineIdentity | None = None
    """The engine in use; None for backends that run without."""
    passed_over: Mapping[str, str] = field(default_factory=dict)
    """Backends that were tried first, with the reason why each is not in use."""
    fell_back: bool = False
    """Whether the user had named them."""
    image_topic: str = ''
    transport: str = ''
    progress: BuildProgress | None = None
    """How far the opening of the model is; None when none is going on."""
    namesakes: int = 0
    """Other nodes that have the full name of this one."""
    failure: str = ''
    """Why the latest transition failed, in one line."""
    watch: WatchState = field(default_factory=WatchState)
    """What the watchdog says."""

    @property
    def scale_values(self) -> list[tuple[str, str]]:
        """What the diagnostics say of the scale; empty texts for what is not known."""
        scale = self.scale
        values = (math.nan,) * 3 if scale is None else (scale.scale, scale.residual, scale.age_s)
        return [
            ('scale_tracking', '' if scale is None else str(scale.state)),
            *(
                (f'scale_{name}', f'{value:.5g}' if math.isfinite(value) else '')
                for name, value in zip(('factor', 'residual', 'age_s'), values, strict=True)
            ),
            ('scale_points', '' if scale is None else str(scale.points)),
            ('scale_estimates', '' if scale is None else str(scale.estimates)),
        ]


def namesakes_text(count: int) -> str:
    """What is wrong when `count` other nodes have the full name of this one."""
    return (
        f'{count} other node{"s have" if count > 1 else " has"} the name of this one, so that '
        'parameters and lifecycle commands reach any of them: start each with a name or namespace '
        'of its own (-r __node:=NAME, -r __ns:=/NAME)'
    )
