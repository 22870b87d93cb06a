# SPDX-License-Identifier: Apache-2.0
"""Which graph an engine of some precision is built from, and which one it has to agree with.

TensorRT computes in the types of the graph, so that each precision has its own: beside
`model.onnx` stand `model.fp16.onnx` and `model.int8.onnx`, which `depth_core.export` makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depth_core.errors import BackendError
from depth_core.manifest import Manifest, read_manifest
from depth_core.runtime.backends.base import Precision
from depth_core.runtime.engine.graph_hash import GraphHashes


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What an engine is built from."""

    path: Path
    manifest: Manifest
    reference: Path
    """The graph in fp32, whose answers count; that at `path` where there is no other."""


def graph_for(
    path: Path, precision: Precision, hashes: GraphHashes, *, manifest: Manifest | None = None
) -> Graph:
    """Find the graph of a precision for the model at `path`.

    Args:
        path: The ONNX file that was asked for: the model in fp32, or of this precision itself.
        precision: What the engine is to compute in.
        hashes: Tells whether a graph was made from the one beside it.
        manifest: What counts in place of the graph's own.

    Raises:
        BackendError: There is none of this precision, or it was made from another model.
        ModelError: A file is missing or corrupt.
    """
    manifest = manifest or read_manifest(path)
    if manifest.precision == precision:
        return _of_this_precision(path, manifest, hashes)
    if manifest.precision != 'fp32':
        message = (
            f'{path} computes in {manifest.precision}, and {precision} was asked for; ask for '
            f'{manifest.precision}, or give the graph in fp32.'
        )
        raise BackendError(message)
    sibling = path.with_name(f'{path.stem}.{precision}{path.suffix}')
    if not sibling.is_file():
        message = (
            f'{precision} was asked for, and there is no {sibling.name} beside {path}; make it '
            f'with python -m depth_core.export --onnx {path} --precision {precision}.'
        )
        raise BackendError(message)
    found = read_manifest(sibling)
    if found.precision != precision:
        message = (
            f'{sibling} says that it computes in {found.precision}, not {precision}; make it '
            f'again with python -m depth_core.export --onnx {path} --precision {precision}.'
        )
        raise BackendError(message)
    error = found.precision_error
    if error is not None and error.reference_sha256 != hashes.of(path):
        message = (
            f'{sibling} was made from another {error.reference} than the one beside it; make it '
            f'again with python -m depth_core.export --onnx {path} --precision {precision}.'
        )
        raise BackendError(message)
    _refuse_cpu_graph(sibling, found)
    return Graph(path=sibling, manifest=found, reference=path)


def _of_this_precision(path: Path, manifest: Manifest, hashes: GraphHashes) -> Graph:
    """The graph itself, with the one that it was made from where that is beside it."""
    _refuse_cpu_graph(path, manifest)
    error = manifest.precision_error
    if error is not None:
        reference = path.with_name(Path(error.reference).name)
        if reference.is_file() and hashes.of(reference) == error.reference_sha256:
            return Graph(path=path, manifest=manifest, reference=reference)
    return Graph(path=path, manifest=manifest, reference=path)


def _refuse_cpu_graph(path: Path, manifest: Manifest) -> None:
    if manifest.precision_target == 'cpu':
        message = (
            f'{path} is quantised for processors, by rules that TensorRT does not take; make it '
            f'for TensorRT with python -m depth_core.export --precision {manifest.precision}.'
        )
        raise BackendError(message)
