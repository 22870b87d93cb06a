# SPDX-License-Identifier: Apache-2.0
"""Where manifests are kept: inside an ONNX file, or beside it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from depth_core.errors import ModelError
from depth_core.files import read_text, write_text_atomically
from depth_core.manifest.manifest import EXAMPLE_LINE, Manifest
from depth_core.onnx_file import read_metadata

METADATA_KEY: Final = 'depth_ros.manifest'
"""Key of the manifest in the metadata of an ONNX file."""

SUFFIX: Final = '.json'
"""What the manifest beside a graph ends with."""

_logger = logging.getLogger(__name__)


def manifest_path(path: Path | str) -> Path:
    """Where the manifest beside the graph `path` stands."""
    return Path(path).with_suffix(SUFFIX)


def read_manifest(path: Path | str) -> Manifest:
    """Read the manifest at `path`, or the one of the ONNX file at `path`.

    For an ONNX file the embedded manifest counts; the file beside it is read when there is none
    inside, as for a foreign graph. Neither an ONNX library nor a runtime is needed.

    Raises:
        ConfigError: The manifest is not valid.
        ModelError: The file is missing, is not ONNX, is truncated, or has no manifest.
    """
    path = Path(path)
    beside = manifest_path(path)
    if path.suffix == SUFFIX:
        if not path.is_file():
            message = f'manifest {path} does not exist; check the path.'
            raise ModelError(message)
        return Manifest.from_json(_read_text(path), source=str(path))
    embedded = read_metadata(path).get(METADATA_KEY)
    if embedded is None:
        if not beside.is_file():
            message = (
                f'{path} has no manifest: neither {METADATA_KEY} in its metadata nor {beside}. '
                f'Write {beside.name} to say what the graph takes and gives, for example: '
                f'{EXAMPLE_LINE}'
            )
            raise ModelError(message)
        return Manifest.from_json(_read_text(beside), source=str(beside))
    if beside.is_file() and _read_text(beside).strip() != embedded.strip():
        _logger.warning('%s differs from the manifest inside %s, which counts', beside, path.name)
    return Manifest.from_json(embedded, source=f'{METADATA_KEY} in {path}')


def write_manifest(path: Path | str, manifest: Manifest) -> None:
    """Write `manifest` to `path`, which appears complete or not at all."""
    write_text_atomically(Path(path), manifest.to_json())


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeError) as error:
        message = f'manifest {path} cannot be read as UTF-8 text: {error}; write it again.'
        raise ModelError(message) from error
