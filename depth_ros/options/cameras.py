# SPDX-License-Identifier: Apache-2.0
"""The parameters of a node that serves several cameras."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from depth_ros.options.fields import When, parameter, split_names

_NAMESPACE: Final = re.compile(r'/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*', re.ASCII)


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """Which cameras there are, and how their frames meet."""

    cameras: str = parameter(
        'Namespaces of the cameras that one model serves in this process, a list or separated by '
        'commas: front,rear takes front/image and front/camera_info, publishes '
        'front/depth/image_raw, and so on. Without any, one camera, whose topics are in the '
        'namespace of the node.',
        default='',
        when=When.READ_ONLY,
        name='cameras',
        listed=True,
    )
    batch_window_ms: float = parameter(
        'Of several cameras, a frame waits at most so long for those of the others, to be '
        'answered with them at once; only where the model takes several images, and with policy '
        'newest. 0 waits for none.',
        default=10.0,
        minimum=0.0,
        maximum=1000.0,
        unit='ms',
        name='batch_window_ms',
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The namespaces; one that is empty for a node of one camera."""
        return split_names(self.cameras) or ('',)

    def contradictions(self) -> Iterator[str]:
        """Say which namespaces cannot be."""
        if self.cameras and not split_names(self.cameras):
            yield (
                f'parameter cameras = {self.cameras!r} names no camera; give namespaces separated '
                "by commas, or '' for a node of one camera."
            )
        for name in split_names(self.cameras):
            if not _NAMESPACE.fullmatch(name):
                yield (
                    f'parameter cameras: {name!r} is no namespace; give letters, digits and _, '
                    'parts separated by a slash, none beginning with a digit.'
                )
        plain = [name.strip('/') for name in split_names(self.cameras)]
        for name in sorted({name for name in plain if plain.count(name) > 1}):
            yield f'parameter cameras names {name} more than once; give each camera its own.'
