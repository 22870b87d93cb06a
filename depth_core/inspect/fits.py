# SPDX-License-Identifier: Apache-2.0
"""Which presets describe a graph, by names, ranks, types and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from depth_core.manifest import Manifest, read_manifest
from depth_core.presets import preset_files
from depth_core.runtime.graph import TensorInfo, input_mismatches, output_mismatches
from depth_core.runtime.onnx_graph import OnnxGraph

_MEGA = 1e6
_IMAGE_RANK = 4


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
    known = {name for _, name in manifest.named_outputs}
    stated = manifest.graph.size_mb
    return Fit(
        manifest=manifest,
        differences=tuple(_differences(manifest, graph)),
        unexplained=tuple(item.name for item in graph.outputs if item.name not in known),
        size_ratio=math.inf if stated is None else _ratio(size_mb, stated),
    )


def _ratio(first: float, second: float) -> float:
    smaller, larger = sorted((max(first, 1.0 / _MEGA), max(second, 1.0 / _MEGA)))
    return larger / smaller


def _differences(manifest: Manifest, graph: OnnxGraph) -> Iterator[str]:
    """Why the graph cannot be run with the manifest."""
    spec = manifest.input
    image = next((item for item in graph.inputs if item.name == spec.name), None)
    fixed = None if image is None else _fixed_size(manifest, image)
    if spec.size is not None and fixed is not None:
        yield f'the graph takes {image}, of one size, and the manifest has a rule for sizes'
        height, width = fixed
        taken = replace(spec, height=height, width=width, size=None, multiple=1, resize='stretch')
        manifest = replace(manifest, input=taken)
    yield from input_mismatches(manifest, graph.inputs)
    yield from output_mismatches(manifest, graph.outputs)


def _fixed_size(manifest: Manifest, image: TensorInfo) -> tuple[int, int] | None:
    """(height, width) that a graph is fixed to; None where one of them is free."""
    shape = image.shape
    if shape is None or len(shape) != _IMAGE_RANK:
        return None
    height, width = shape[2:] if manifest.input.layout == 'NCHW' else shape[1:3]
    return None if height is None or width is None else (height, width)
