# SPDX-License-Identifier: Apache-2.0
"""Which presets describe a graph, by names, ranks, types and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_core.manifest import Manifest, read_manifest
from depth_core.presets import preset_files
from depth_core.runtime.graph import TensorInfo, input_shape
from depth_core.runtime.onnx_graph import OnnxGraph

_MEGA = 1e6
_PLANE_RANKS = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well a preset describes a graph."""

    manifest: Manifest
    differences: tuple[str, ...]
    """Why it does not fit; empty when it does."""
    unexplained: tuple[str, ...]
    """Outputs that the preset knows nothing of."""
    size_ratio: float
    """How much larger or smaller the file is than the one the preset is for, at least 1."""

    @property
    def fits(self) -> bool:
        """Whether the graph can be run with it."""
        return not self.differences


def presets_for(path: Path, graph: OnnxGraph) -> list[Fit]:
    """Compare a graph with every preset, the best fit first.

    Args:
        path: The file of the graph; its size tells variants of one network apart.
        graph: What it says.
    """
    size_mb = file_size_mb(path, graph)
    fits = [_compare(read_manifest(file), graph, size_mb) for file in preset_files().values()]
    return sorted(
        fits, key=lambda fit: (len(fit.differences), len(fit.unexplained), fit.size_ratio)
    )


def file_size_mb(path: Path, graph: OnnxGraph) -> float:
    """Size of the file and of the weights beside it, as far as they are there."""
    files = (path, *(path.parent / name for name in graph.external_files))
    return sum(file.stat().st_size for file in files if file.is_file()) / _MEGA


def _compare(manifest: Manifest, graph: OnnxGraph, size_mb: float) -> Fit:
    known = _known_outputs(manifest)
    stated = manifest.graph.size_mb
    return Fit(
        manifest=manifest,
        differences=tuple(_differences(manifest, graph.inputs, graph.outputs)),
        unexplained=tuple(item.name for item in graph.outputs if item.name not in known),
        size_ratio=math.inf if stated is None else _ratio(size_mb, stated),
    )


def _ratio(first: float, second: float) -> float:
    smaller, larger = sorted((max(first, 1.0 / _MEGA), max(second, 1.0 / _MEGA)))
    return larger / smaller


def _known_outputs(manifest: Manifest) -> set[str]:
    """Outputs that are used, or known and not used."""
    aux, confidence = manifest.aux, manifest.confidence
    known = set(manifest.outputs)
    for item in (confidence, aux.normal, aux.intrinsics_est):
        if item is not None:
            known.add(item.output)
    return known


def _differences(
    manifest: Manifest, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
) -> Iterable[str]:
    by_name = {item.name: item for item in inputs}
    image = by_name.get(manifest.input.name)
    if image is None:
        yield f'it takes no {manifest.input.name!r}'
    else:
        yield from _image_differences(manifest, image)
    wanted = {item.name for item in manifest.extra_inputs}
    for name in sorted(wanted - set(by_name)):
        yield f'it takes no {name!r}'
    for name in sorted(set(by_name) - wanted - {manifest.input.name}):
        yield f'nothing fills its input {name!r}'
    yield from _output_differences(manifest, {item.name: item for item in outputs})


def _image_differences(manifest: Manifest, image: TensorInfo) -> Iterable[str]:
    spec = manifest.input
    if image.dtype != spec.dtype:
        yield f'{image.name!r} is {image.dtype}, not {spec.dtype}'
    if image.shape is None:
        return
    wanted = input_shape(manifest)
    if len(image.shape) != len(wanted):
        yield f'{image.name!r} has rank {len(image.shape)}, not {len(wanted)}'
        return
    for axis, (found, expected) in enumerate(zip(image.shape, wanted, strict=True)):
        if found is None or found == expected or (axis == 0 and spec.batch == 0):
            continue
        if spec.size is None or expected == 3:  # noqa: PLR2004  red, green, blue
            yield f'axis {axis} of {image.name!r} is {found}, not {expected}'
        else:
            yield f'axis {axis} of {image.name!r} is fixed to {found}, not free'


def _output_differences(manifest: Manifest, outputs: Mapping[str, TensorInfo]) -> Iterable[str]:
    for name in manifest.outputs:
        if name not in outputs:
            yield f'it gives no {name!r}'
    depth, rank = outputs.get(manifest.output.depth), manifest.output.rank_hint
    if depth is None or depth.shape is None:
        return
    if rank is not None and len(depth.shape) != rank:
        yield f'{depth.name!r} has rank {len(depth.shape)}, not {rank}'
    elif len(depth.shape) not in _PLANE_RANKS:
        yield f'{depth.name!r} has rank {len(depth.shape)}, not 2 to 4'
