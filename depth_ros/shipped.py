# SPDX-License-Identifier: Apache-2.0
"""Where the shipped models are, in a checkout and in an installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from depth_core.errors import ConfigError, unknown_name
from depth_ros.share import share_folders

FOLDER: Final = 'trt_engines'
DEFAULT_MODEL: Final = 'densedepth_small'
"""The shipped model that runs when none is named, where several are shipped."""


def shipped_models() -> dict[str, Path]:
    """Return the ONNX files that come with this package, by name (the stem of the file)."""
    for folder in _folders():
        found = {path.stem: path for path in sorted(folder.glob('*.onnx'))}
        if found:
            return found
    return {}


def model_path(model: str) -> Path:
    """Return the file that the parameter `model` means.

    Args:
        model: A path, the name of a shipped model, or nothing for the shipped one.

    Raises:
        ConfigError: There is no such file and no such shipped model.
    """
    shipped = shipped_models()
    if not model:
        default = next((name for name in shipped if name.startswith(DEFAULT_MODEL)), None)
        if default is None and len(shipped) != 1:
            places = ', '.join(str(folder) for folder in _folders())
            found = f'{len(shipped)} shipped models found' if shipped else 'no shipped model found'
            message = (
                f"parameter model = '' and {found} in {places}; give the path of an ONNX file or "
                'of a checkpoint (model:=/path/to/model.onnx).'
            )
            raise ConfigError(message)
        return shipped[default or next(iter(shipped))]
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if model in shipped:
        return shipped[model]
    message = f'parameter model = {model!r}: there is no such file'
    if path.suffix or '/' in model or not shipped:
        message = f'{message}; give the path of an ONNX file or of a checkpoint.'
    else:
        message = f'{message}, and {unknown_name("shipped model", model, shipped)}'
    raise ConfigError(message)


def _folders() -> Iterator[Path]:
    return (folder / FOLDER for folder in share_folders())
