# SPDX-License-Identifier: Apache-2.0
"""Where OpenVINO keeps compiled graphs, so that large ones need not be compiled at every start.

What it keeps is run without a check. So it lies in the private folder of engines, which nobody
else may write to, in a folder for each graph. Small graphs are compiled in less than a second,
and leave nothing on the disk.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Final

from depth_core.errors import BackendError
from depth_core.runtime.backends.compiled_files import OPENVINO
from depth_core.runtime.engine.folder import default_folder, private_folder
from depth_core.runtime.engine.graph_hash import GraphHashes
from depth_core.runtime.onnx_reader import read_graph

WORTH_KEEPING_BYTES: Final = 32 * 2**20
"""Of a graph with its weights; a smaller one is compiled at once."""
LIMIT_BYTES: Final = 4 * 2**30
"""Of all that is kept; what was compiled longest ago goes first."""

_logger = logging.getLogger(__name__)


def cache_folder(graph: Path, cache_dir: Path | None) -> Path | None:
    """The folder for what `graph` is compiled to; None where nothing is kept.

    Args:
        graph: The ONNX file.
        cache_dir: Of the engines; None takes `default_folder`.

    Raises:
        ModelError: The graph is damaged.
    """
    beside = (graph.with_name(name) for name in read_graph(graph).external_files)
    if sum(file.stat().st_size for file in (graph, *beside)) < WORTH_KEEPING_BYTES:
        return None
    try:
        folder = private_folder(cache_dir or default_folder())
        kept = private_folder(folder / OPENVINO)
        _evict(kept)
        return private_folder(kept / GraphHashes(folder).of(graph)[:32])
    except BackendError as error:
        _logger.info('what openvino compiles is not kept: %s', error)
        return None


def _evict(folder: Path) -> None:
    """Delete the oldest files of all graphs until the others keep within the limit."""
    found = []
    for file in folder.glob('*/*'):
        with contextlib.suppress(OSError):  # another process may delete it too
            status = file.lstat()
            found.append((status.st_mtime, status.st_size, file))
    held = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if held <= LIMIT_BYTES:
            return
        with contextlib.suppress(OSError):
            file.unlink()
            held -= size
