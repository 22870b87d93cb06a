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


def input_shape(manifest: Manifest, images: int | None = None) -> tuple[int, int, int, int]:
    """The shape of a batch for the graph of `manifest`.

    Args:
        manifest: What the graph takes.
        images: How many; None for the graph's own batch, or one where that is free.
    """
    spec = manifest.input
    images = max(spec.batch, 1) if images is None else images
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


def as_planes(output: NDArray[Any], name: str, images: int) -> Float32Array:
    """View the output `name` of a graph as [N, H, W] float32, a plane for each of N images.

    Raises:
        ModelError: It is another number of planes.
    """
    planes = output[None] if output.ndim == 2 and images == 1 else output  # noqa: PLR2004  H, W
    # [N, ..., H, W] and [N, H, W, 1] are what graphs give; the latter only when it has four axes.
    if planes.ndim == 4 and planes.shape[1] > 1:  # noqa: PLR2004  NHWC
        planes = planes[..., 0]
    while planes.ndim > 3 and planes.shape[1] == 1:  # noqa: PLR2004  N, H, W
        planes = planes[:, 0]
    if planes.ndim != 3 or planes.shape[0] != images or planes.size != output.size:  # noqa: PLR2004  N, H, W
        message = (
            f'output {name!r} has shape {list(output.shape)}, which is not one plane for each of '
            f'{images} images; a depth graph gives [N, H, W], [N, 1, H, W] or [N, H, W, 1], for '
            'one image also [H, W].'
        )
        raise ModelError(message)
    return np.asarray(planes, np.float32)


def _accepts(found: TensorInfo, wanted: TensorInfo) -> bool:
    if found.name != wanted.name or found.dtype != wanted.dtype:
        return False
    if found.shape is None or wanted.shape is None:
        return True
    return len(found.shape) == len(wanted.shape) and all(
        size == expected or (size is None and expected is not None)
        for size, expected in zip(found.shape, wanted.shape, strict=True)
    )


def _listed(tensors: Sequence[TensorInfo]) -> str:
    return ' and '.join(map(str, tensors)) or 'nothing'
