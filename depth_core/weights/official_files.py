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
from depth_core.tensor_files.reading import is_safetensors, read_content, read_state_file
from depth_core.tensor_files.tensors import cleaned
from depth_core.weights.hub_folder import HUB_FILES, shards_of

_DEPTH_FILES: Final = ('encoder.pth', 'depth.pth')
_POSE_FILES: Final = ('pose_encoder.pth', 'pose.pth')


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """The weights of a published file or folder, on the CPU."""

    tensors: Mapping[str, Tensor]
    """Names and values as the file has them, but for what tools add (`tensors.cleaned`)."""
    is_keras: bool = False
    """Whether the names are Keras's `layer/parameter` and the values in its order of axes."""
    paths: tuple[Path, ...]
    """The files that were read."""
    entry: str | None = None
    """The entry of the file that was read, where it has several."""
    others: tuple[str, ...] = ()
    """Entries that could have been meant too, as an average of the weights."""


def read_official_file(path: Path | str, *, entry: str | None = None) -> OfficialFile:
    """Read PyTorch (zip or old pickle), safetensors or Keras HDF5, by their content.

    A folder is read as monodepth2 publishes its networks, `encoder.pth` and `depth.pth` with
    their own names, `pose_encoder.pth` and `pose.pth` with `pose_encoder.` and `pose.` before
    theirs; or as hubs do (`weights.hub_folder`), whole or in shards.

    Args:
        path: The file or folder.
        entry: Which entry of a PyTorch file holds the weights, as `model_ema`; None = the usual.

    Returns:
        The state dict. Values may be views of the file: they are valid while it is left as it is.

    Raises:
        CheckpointError: It is missing, truncated, of another kind, or a pickle that would call
            something, and nothing was called; a shard is missing; or there is no such entry.
    """
    path = Path(path)
    shards = shards_of(path)
    if shards is None and path.is_dir():
        return _read_folder(path)
    if shards is None and is_hdf5(path):
        return OfficialFile(tensors=read_keras(path), is_keras=True, paths=(path,))
    if shards is None or len(shards) == 1:
        return _read(path if shards is None else shards[0], entry)
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        tensors |= _read(shard, entry).tensors
    return OfficialFile(tensors=tensors, paths=shards)


def _read_folder(folder: Path) -> OfficialFile:
    missing = [name for name in _DEPTH_FILES if not (folder / name).is_file()]
    if missing:
        message = (
            f'{folder} is a folder without {" and ".join(missing)}; give a weight file, a folder '
            f'of monodepth2 ({", ".join((*_DEPTH_FILES, *_POSE_FILES))}), or one of a hub '
            f'({", ".join(HUB_FILES)}, or an index and its shards).'
        )
        raise CheckpointError(message)
    paths = [folder / name for name in _DEPTH_FILES]
    pose_paths = [folder / name for name in _POSE_FILES if (folder / name).is_file()]
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= _read(path).tensors
    for path in pose_paths:
        tensors |= {f'{path.stem}.{key}': value for key, value in _read(path).tensors.items()}
    return OfficialFile(tensors=tensors, paths=(*paths, *pose_paths))


def _read(path: Path, entry: str | None = None) -> OfficialFile:
    content = None if is_safetensors(path) else read_content(path, mapped=True)
    if CHECKPOINT.holds(content):
        message = f'{path} is a checkpoint of this package already; it needs no conversion.'
        raise CheckpointError(message)
    held = read_state_file(path, content, entry=entry)
    return OfficialFile(
        tensors=cleaned(held.tensors), paths=(path,), entry=held.entry, others=held.others
    )
