# SPDX-License-Identifier: Apache-2.0
"""Whether a graph is the one its manifest describes, and its outputs as planes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Channel, Float32Array
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
    mismatches = [*input_mismatches(manifest, inputs), *output_mismatches(manifest, outputs)]
    if mismatches:
        message = (
            f'{path} is not what its manifest describes: {"; ".join(mismatches)}. Correct the '
            'manifest, or export the model again.'
        )
        raise ModelError(message)


def input_mismatches(manifest: Manifest, inputs: Sequence[TensorInfo]) -> Iterator[str]:
    """What of the inputs that a manifest states is otherwise in the graph."""
    _, *sizes = input_shape(manifest)
    wanted = TensorInfo(
        name=manifest.input.name,
        dtype=manifest.input.dtype,
        shape=(manifest.input.batch or None, *sizes),
    )
    extra = {item.name: item for item in manifest.extra_inputs}
    given = {info.name: info for info in inputs}
    image = given.get(wanted.name)
    unknown = set(given) - {wanted.name, *extra}
    if image is None or not _accepts(image, wanted) or unknown:
        more = f' and {" and ".join(map(repr, extra))}' if extra else ''
        hint = (
            f' (nobody fills {" and ".join(map(repr, sorted(unknown)))}: say what it is in '
            'extra_inputs)'
        )
        yield (
            f'the graph takes {_listed(inputs)}, the manifest says {wanted}{more}'
            f'{hint if unknown and image is not None else ""}'
        )
    for name, item in extra.items():
        if name not in given:
            yield f'extra_inputs names {name!r}, and the graph takes {_listed(inputs)}'
        elif item.dtype and item.dtype != given[name].dtype:
            yield f'the graph takes {given[name]}, extra_inputs says {item.dtype}'


def output_mismatches(manifest: Manifest, outputs: Sequence[TensorInfo]) -> Iterator[str]:
    """What of the outputs that a manifest names is otherwise in the graph."""
    given = {output.name: output for output in outputs}
    for key, name in manifest.named_outputs:
        if name not in given:
            yield f'the graph gives {_listed(outputs)}, the manifest says {key} is {name!r}'
        elif name in manifest.outputs and given[name].dtype not in _NUMBERS:
            yield f'NumPy has no numbers of the type of output {given[name]}: cast it to float32'
    spec = manifest.output
    depth = given.get(spec.depth)
    if depth is None or depth.shape is None:
        return
    rank = len(depth.shape)
    if spec.rank_hint is not None and rank != spec.rank_hint:
        wanted = f'depth.rank_hint is {spec.rank_hint}'
        yield f'output {depth} has {rank} axes, the manifest says {wanted}'
    yield from _channel_mismatches('depth.channel', spec.channel, depth)
    plane = _plane_size(depth, spec.channel)
    for place, item in enumerate(manifest.masks):
        mask = given.get(item.output)
        if mask is None or mask.shape is None:
            continue
        yield from _channel_mismatches(f'masks[{place}].channel', item.channel, mask)
        size = _plane_size(mask, item.channel)
        if plane and size and any(None not in pair and pair[0] != pair[1]
                                  for pair in zip(plane, size, strict=True)):  # fmt: skip
            yield f'mask {mask} is of another size than the depth {depth}'


_NUMBERS: Final = frozenset(
    {'bool', 'float16', 'float32', 'float64'}
    | {f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)}
)
"""Types that an output may be of: what no package lacks, so that no bits are taken for others."""

_ASPECT: Final = 1.25
"""Most that the aspect of a plane may differ from that of the image."""

_PLANE_AXES: Final = {3: (0, 2), 4: (1, 3)}
"""Where planes may stand in an output of so many axes: before rows and columns, or behind."""


def _channel_mismatches(key: str, channel: Channel | None, found: TensorInfo) -> Iterator[str]:
    if channel is None or found.shape is None:
        return
    rank = len(found.shape)
    if not -rank <= channel.axis < rank:
        yield f'output {found} has {rank} axes, {key} says axis {channel.axis}'
        return
    if rank in _PLANE_AXES and channel.axis % rank not in _PLANE_AXES[rank]:
        first, last = _PLANE_AXES[rank]
        yield (
            f'axis {channel.axis} of output {found} holds images, rows or columns, {key} has to '
            f'say {first} or {last}'
        )
        return
    size = found.shape[channel.axis]
    if size is not None and channel.index >= size:
        yield (
            f'axis {channel.axis} of output {found} has {size} planes, {key} says index '
            f'{channel.index}'
        )


def _plane_size(found: TensorInfo, channel: Channel | None) -> tuple[int | None, ...] | None:
    """(height, width) of the planes of an output, as far as the graph states them."""
    if found.shape is None:
        return None
    shape = list(found.shape)
    if channel is not None:
        if not -len(shape) <= channel.axis < len(shape):
            return None
        del shape[channel.axis]
    elif len(shape) == 4 and shape[1] != 1 and shape[3] == 1:  # noqa: PLR2004  NHWC
        del shape[3]
    return tuple(shape[-2:]) if len(shape) > 1 else None


def as_planes(
    output: NDArray[Any], name: str, images: int, channel: Channel | None = None
) -> Float32Array:
    """View the output `name` of a graph as [N, H, W] float32, a plane for each of N images.

    Args:
        output: As the graph gives it.
        name: For messages.
        images: N.
        channel: Which plane, where it holds several.

    Raises:
        ModelError: It is another number of planes.
    """
    picked = output if channel is None else _picked(output, name, channel)
    planes = picked[None] if picked.ndim == 2 and images == 1 else picked  # noqa: PLR2004  H, W
    # [N, ..., H, W] and [N, H, W, 1] are what graphs give; the latter only when it has four axes.
    if planes.ndim == 4 and planes.shape[1] > 1:  # noqa: PLR2004  NHWC
        planes = planes[..., 0]
    while planes.ndim > 3 and planes.shape[1] == 1:  # noqa: PLR2004  N, H, W
        planes = planes[:, 0]
    if planes.ndim != 3 or planes.shape[0] != images or planes.size != picked.size:  # noqa: PLR2004  N, H, W
        message = (
            f'output {name!r} has shape {list(output.shape)}, which is not one plane for each of '
            f'{images} images; a depth graph gives [N, H, W], [N, 1, H, W] or [N, H, W, 1], for '
            'one image also [H, W]; where it gives several planes, channel of the manifest says '
            'which.'
        )
        raise ModelError(message)
    return np.asarray(planes, np.float32)


def planes_of(
    manifest: Manifest, answers: Mapping[str, NDArray[Any]], images: int
) -> tuple[Float32Array, Float32Array | None]:
    """Depth and sigma, [N, H, W], among the outputs of a graph for N images.

    Raises:
        ModelError: They are no planes, or another number of them.
    """
    spec = manifest.output
    depth = as_planes(answers[spec.depth], spec.depth, images, spec.channel)
    _check_aspect(manifest, depth)
    if spec.sigma is None:
        return depth, None
    return depth, as_planes(answers[spec.sigma], spec.sigma, images)


def _check_aspect(manifest: Manifest, planes: Float32Array) -> None:
    """Refuse planes of another shape than the images: transposed, flat, or no planes at all.

    Networks that lose the border, or answer at another resolution, keep the aspect but for a few
    percent, and whole pixels.

    Raises:
        ModelError: As said.
    """
    spec = manifest.input
    height, width = planes.shape[1:]
    taller = (height - 1) * spec.width > _ASPECT * (width + 1) * spec.height
    wider = (width - 1) * spec.height > _ASPECT * (height + 1) * spec.width
    if taller or wider:
        message = (
            f'output {manifest.output.depth!r} has planes of {height}x{width} for images of '
            f'{spec.height}x{spec.width}, which is another shape; a depth graph gives rows and '
            'columns of the image, [N, H, W], neither flattened nor transposed.'
        )
        raise ModelError(message)


def _picked(output: NDArray[Any], name: str, channel: Channel) -> NDArray[Any]:
    """One plane of those along an axis."""
    rank = output.ndim
    if not -rank <= channel.axis < rank or channel.index >= output.shape[channel.axis]:
        message = (
            f'output {name!r} has shape {list(output.shape)}, and the manifest asks for plane '
            f'{channel.index} along axis {channel.axis}; correct channel.'
        )
        raise ModelError(message)
    before = channel.axis % rank
    return output[(slice(None),) * before + (channel.index,)]


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
