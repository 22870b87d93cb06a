# SPDX-License-Identifier: Apache-2.0
"""Which graph a processor computes in a precision: int8 needs one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depth_core.errors import BackendError
from depth_core.manifest import Manifest, read_manifest
from depth_core.runtime.backends.base import Precision
from depth_core.runtime.engine.graph_hash import GraphHashes

_ENDING: Final = 'int8_cpu'


def cpu_graph(path: Path, precision: Precision, manifest: Manifest | None = None) -> Path:
    """Find the graph of `precision` for the model at `path`.

    Every precision but int8 is a matter of the runtime and takes the graph as it is.

    Args:
        path: The ONNX file.
        precision: What is to be computed in.
        manifest: What counts in place of the graph's own.

    Raises:
        BackendError: There is no graph in int8 for processors, it was made from another model, or
            the one given is in int8 and another precision is asked for.
        ModelError: A file is corrupt or missing.
    """
    manifest = manifest or read_manifest(path)
    if precision != 'int8':
        if manifest.precision == 'int8':
            message = (
                f'{path} computes in int8, and {precision} was asked for; ask for int8, or give '
                'the graph in fp32.'
            )
            raise BackendError(message)
        return path
    if manifest.precision == 'int8':
        found = path
    else:
        found = path.with_name(f'{path.stem}.{_ENDING}{path.suffix}')
        if not found.is_file():
            message = (
                f'int8 was asked for, and there is no {found.name} beside {path}; make it with '
                f'python -m depth_core.export --onnx {path} --precision int8 --target cpu.'
            )
            raise BackendError(message)
        manifest = read_manifest(found)
        error = manifest.precision_error
        if error is not None and error.reference_sha256 != GraphHashes().of(path):
            message = (
                f'{found} was made from another {error.reference} than the one beside it; make it '
                f'again with python -m depth_core.export --onnx {path} --precision int8 '
                '--target cpu.'
            )
            raise BackendError(message)
    if manifest.precision != 'int8' or manifest.precision_target == 'tensorrt':
        target = f' for {manifest.precision_target}' if manifest.precision_target else ''
        message = (
            f'{found} says that it computes in {manifest.precision}{target}, and int8 for '
            'processors was asked for; make it again with python -m depth_core.export ... '
            '--precision int8 --target cpu.'
        )
        raise BackendError(message)
    return found
