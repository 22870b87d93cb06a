# SPDX-License-Identifier: Apache-2.0
"""The files of weights that a large graph keeps beside it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from depth_core.errors import ModelError
from depth_core.runtime.onnx_reader import read_graph


def weights_file(path: Path, name: str) -> Path:
    """The file that the graph at `path` calls `name`, which is in its own folder.

    Raises:
        ModelError: There is no such file, or it would be elsewhere.
    """
    parts, file = PurePosixPath(name).parts, path.parent / name
    if PurePosixPath(name).is_absolute() or '..' in parts or not file.is_file():
        message = (
            f'{path} keeps weights in {name!r}, which is no file in the folder of the graph; '
            'copy both together, or export the graph again.'
        )
        raise ModelError(message)
    return file


def refuse_missing_weights(path: Path) -> None:
    """Refuse a graph whose weights are missing, or would be read from elsewhere.

    Raises:
        ModelError: A file is missing or elsewhere, or the graph is damaged.
    """
    for name in read_graph(path).external_files:
        weights_file(path, name)
