# SPDX-License-Identifier: Apache-2.0
"""Whether a graph is the one its manifest describes, and its outputs as planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.errors import ModelError
from depth_core.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One input or output, as the graph declares it."""

    name: str
    dtype: str
    """NumPy name of the type."""
    shape: tuple[int | None, ...] | None
    """Each size, None where it is free; None when even the number of sizes is."""

    def __str__(self) -> str:
        if self.shape is None:
            return f'{self.name!r} {self.dtype}, any shape'
        sizes = ', '.join('?' if size is None else str(size) for size in self.shape)
        return f'{self.name!r} {self.dtype} [{sizes}]'


def input_shape(manifest: Manifest) -> tuple[int, int, int, int]:
    """The shape of the smallest batch that the graph of `manifest` takes."""
    spec = manifest.input
    images = spec.batch or 1
    if spec.layout == 'NHWC':
        return (images, spec.height, spec.width, 3)
    return (images, 3, spec.height, spec.width)


def check_graph(
    path: Path, manifest: Manifest, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
) -> None:
    """Refuse a graph that does not take and give what its manifest says.

    Raises:
        ModelError: Names, types or shapes differ; the message names both sides.
    """
    _, *sizes = input_shape(manifest)
    wanted = TensorInfo(
        name=manifest.input.name,
        dtype=manifest.input.dtype,
        shape=(manifest.input.batch or None, *sizes),
    )
    mismatches = []
    if len(inputs) != 1 or not _accepts(inputs[0], wanted):
        mismatches.append(f'the graph takes {_listed(inputs)}, the manifest says {wanted}')
    given = {output.name for output in outputs}
    spec = manifest.output
    for key, name in (('depth', spec.depth), ('sigma', spec.sigma)):
        if name is not None and name not in given:
            mismatches.append(
                f'the graph gives {_listed(outputs)}, the manifest says {key} is {name!r}'
            )
    if mismatches:
        message = (
            f'{path} is not what its manifest describes: {"; ".join(mismatches)}. Correct the '
            'manifest, or export the model again.'
        )
        raise ModelError(message)


def as_plane(output: NDArray[Any], name: str) -> Float32Array:
    """View the output `name` of a graph as [H, W] float32.

    Raises:
        ModelError: It is more than one plane.
    """
    # [1, ..., H, W] and [1, H, W, 1] are what graphs give; the latter only when it has four axes.
    plane = output[..., 0] if output.ndim == 4 and output.shape[1] > 1 else output  # noqa: PLR2004  NHWC
    while plane.ndim > 2 and plane.shape[0] == 1:  # noqa: PLR2004  H, W
        plane = plane[0]
    if plane.ndim != 2 or output.size != plane.size:  # noqa: PLR2004  H, W
        message = (
            f'output {name!r} has shape {list(output.shape)}, which is not one plane; a depth '
            'graph gives [H, W], [1, H, W], [1, 1, H, W] or [1, H, W, 1] for one image.'
        )
        raise ModelError(message)
    return np.asarray(plane, np.float32)


def _accepts(found: TensorInfo, wanted: TensorInfo) -> bool:
    if found.name != wanted.name or found.dtype != wanted.dtype:
        return False
    if found.shape is None or wanted.shape is None:
        return True
    return len(found.shape) == len(wanted.shape) and all(
        size is None or size == expected
        for size, expected in zip(found.shape, wanted.shape, strict=True)
    )


def _listed(tensors: Sequence[TensorInfo]) -> str:
    return ' and '.join(map(str, tensors)) or 'nothing'
