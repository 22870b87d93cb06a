# SPDX-License-Identifier: Apache-2.0
"""The weight files and folders that authors published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.tensor_files.keras import is_hdf5, read_keras
from depth_core.tensor_files.own import CHECKPOINT
from depth_core.tensor_files.reading import (
    SAFETENSORS,
    is_safetensors,
    read_content,
    read_state,
)
from depth_core.tensor_files.tensors import cleaned

_DEPTH_FILES: Final = ('encoder.pth', 'depth.pth')
_POSE_FILES: Final = ('pose_encoder.pth', 'pose.pth')


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """The weights of a published file or folder, on the CPU."""

    tensors: Mapping[str, Tensor]
    """Names and values as the file has them, but for what tools add (`tensors.cleaned`)."""
    is_keras: bool
    """Whether the names are Keras's `layer/parameter` and the values in its order of axes."""
    paths: tuple[Path, ...]
    """The files that were read."""


def read_official_file(path: Path | str) -> OfficialFile:
    """Read PyTorch (zip or old pickle), safetensors or Keras HDF5, by their content.

    A folder is read as monodepth2 publishes its networks, `encoder.pth` and `depth.pth` with
    their own names, `pose_encoder.pth` and `pose.pth` with `pose_encoder.` and `pose.` before
    theirs; or as Hugging Face does, `model.safetensors`.

    Args:
        path: The file or folder.

    Returns:
        The state dict. Values may be views of the file: they are valid while it is left as it is.

    Raises:
        CheckpointError: It is missing, truncated, of another kind, or a pickle that would call
            something; nothing was called.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if is_hdf5(path):
        return OfficialFile(tensors=read_keras(path), is_keras=True, paths=(path,))
    return OfficialFile(tensors=_read(path), is_keras=False, paths=(path,))


def _read_folder(folder: Path) -> OfficialFile:
    hub = folder / f'model{SAFETENSORS}'
    if hub.is_file():
        return read_official_file(hub)
    missing = [name for name in _DEPTH_FILES if not (folder / name).is_file()]
    if missing:
        message = (
            f'{folder} is a folder without {" and ".join(missing)}; give a weight file, a folder '
            f'of monodepth2 ({", ".join((*_DEPTH_FILES, *_POSE_FILES))}), or one with {hub.name}.'
        )
        raise CheckpointError(message)
    paths = [folder / name for name in _DEPTH_FILES]
    pose_paths = [folder / name for name in _POSE_FILES if (folder / name).is_file()]
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= _read(path)
    for path in pose_paths:
        tensors |= {f'{path.stem}.{key}': value for key, value in _read(path).items()}
    return OfficialFile(tensors=tensors, is_keras=False, paths=(*paths, *pose_paths))


def _read(path: Path) -> dict[str, Tensor]:
    if is_safetensors(path):
        return cleaned(read_state(path))
    content = read_content(path, mapped=True)
    if CHECKPOINT.holds(content):
        message = f'{path} is a checkpoint of this package already; it needs no conversion.'
        raise CheckpointError(message)
    return cleaned(read_state(path, content))
