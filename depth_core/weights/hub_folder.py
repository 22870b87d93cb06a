# SPDX-License-Identifier: Apache-2.0
"""Folders of weights as model hubs have them: one file, or shards and an index of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from depth_core.errors import CheckpointError
from depth_core.files import read_text
from depth_core.tensor_files.differences import shown

HUB_FILES: Final = ('model.safetensors', 'pytorch_model.bin')
"""What hubs call the weights of a network that is one file; the first that is there is read."""

_INDEX: Final = '.index.json'
_SHARD: Final = re.compile(r'(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.\w+)')


def shards_of(path: Path) -> tuple[Path, ...] | None:
    """The files that hold the weights at `path`, where it is of a hub.

    Args:
        path: A folder, an index (`model.safetensors.index.json`), or a file.

    Returns:
        One file or more in their order; None for what is no folder, index or shard of a hub.

    Raises:
        CheckpointError: A shard is missing, the index is none, or `path` is one shard of several.
    """
    if path.is_dir():
        return _of_folder(path)
    if path.name.endswith(_INDEX):
        return _of_index(path)
    shard = _SHARD.fullmatch(path.name)
    if shard is None or int(shard['count']) == 1:
        return None
    message = (
        f'{path} is shard {int(shard["number"])} of {int(shard["count"])} of a network; give the '
        f'folder with all of them, {path.parent}.'
    )
    raise CheckpointError(message)


def _of_folder(folder: Path) -> tuple[Path, ...] | None:
    for name in HUB_FILES:
        index = folder / f'{name}{_INDEX}'
        if (folder / name).is_file():
            return (folder / name,)
        if index.is_file():
            return _of_index(index)
    for name in HUB_FILES:
        stem, ending = Path(name).stem, Path(name).suffix
        found = sorted(folder.glob(f'{stem}-*-of-*{ending}'))
        shards = [match for path in found if (match := _SHARD.fullmatch(path.name))]
        if shards:
            count = int(shards[0]['count'])
            names = [f'{stem}-{i + 1:05d}-of-{count:05d}{ending}' for i in range(count)]
            return _all_there(folder, names, f'the names of the others in {folder}')
    return None


def _of_index(index: Path) -> tuple[Path, ...]:
    if not index.is_file():
        message = (
            f'index {index} does not exist; check the path, or give the folder of the shards.'
        )
        raise CheckpointError(message)
    try:
        content = json.loads(read_text(index))
    except (OSError, UnicodeError, ValueError, RecursionError) as error:
        message = f'{index} is no JSON ({error}); download it again.'
        raise CheckpointError(message) from error
    placed = content.get('weight_map') if isinstance(content, Mapping) else None
    if not isinstance(placed, Mapping) or not placed:
        message = f'{index} has no weight_map from weights to shards; download it again.'
        raise CheckpointError(message)
    names = list(dict.fromkeys(placed.values()))
    elsewhere = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if elsewhere:
        message = (
            f'{index} names {elsewhere[0]!r} as a shard; shards stand beside their index, by a '
            'plain name: give an index of this folder.'
        )
        raise CheckpointError(message)
    return _all_there(index.parent, names, str(index))


def _all_there(folder: Path, names: list[str], stated_by: str) -> tuple[Path, ...]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        message = (
            f'{len(missing)} of {len(names)} shards are missing in {folder}: {shown(missing)}, '
            f'which {stated_by} states; download them into that folder.'
        )
        raise CheckpointError(message)
    return tuple(folder / name for name in names)
