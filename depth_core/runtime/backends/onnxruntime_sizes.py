# SPDX-License-Identifier: Apache-2.0
"""Sizes that a graph leaves free, fixed before ONNX Runtime plans for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnxruntime

from depth_core.files import is_utf8
from depth_core.manifest import Manifest
from depth_core.runtime.fixed_shapes import Dim, read_input_dims, with_fixed_inputs
from depth_core.runtime.graph import input_shape

_WEIGHTS_FOLDER: Final = 'session.model_external_initializers_file_folder_path'


def with_sizes(path: Path, manifest: Manifest, options: onnxruntime.SessionOptions) -> str | bytes:
    """Have the free sizes of the image fixed to those of `manifest`.

    The batch stays free where the manifest says so.

    Args:
        path: The graph.
        manifest: What it is to take.
        options: Of the session, added to.

    Returns:
        What to make the session of: the path, or bytes where the graph gives its sizes no names
        to fix them by.
    """
    name = manifest.input.name
    dims = read_input_dims(path).get(name, ())
    sizes = (manifest.input.batch or None, *input_shape(manifest)[1:])
    if len(dims) == len(sizes):  # else the session is compared with the manifest, and refused
        named = _by_name(dims, sizes)
        if named is None:
            options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.parent))
            return with_fixed_inputs(path.read_bytes(), {name: _where_free(dims, sizes)})
        for dim, size in named.items():
            options.add_free_dimension_override_by_name(dim, size)
    return str(path) if is_utf8(path) else path.read_bytes()


def _where_free(dims: Sequence[Dim], sizes: Sequence[int | None]) -> list[int | None]:
    """The sizes of those dimensions that the graph leaves free."""
    return [size if isinstance(dim, str) else None for dim, size in zip(dims, sizes, strict=True)]


def _by_name(dims: Sequence[Dim], sizes: Sequence[int | None]) -> dict[str, int] | None:
    """The sizes to fix by the name of their dimension; None where names do not tell them apart."""
    found: dict[str, int] = {}
    kept = {dim for dim, size in zip(dims, sizes, strict=True) if size is None}
    for dim, size in zip(dims, sizes, strict=True):
        if not isinstance(dim, str) or size is None:
            continue
        if not dim or dim in kept or found.setdefault(dim, size) != size:
            return None
    return found
