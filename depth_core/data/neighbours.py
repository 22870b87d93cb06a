# SPDX-License-Identifier: Apache-2.0
"""Data sets near a folder that is none: one level too high or too low is a common mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePath
from typing import Final

from depth_core.files import visible_paths

IMAGE_FOLDERS: Final = ('images', 'image', 'rgb')
"""Where the images of a folder of one's own may lie, beside the folder itself."""
_MOST: Final = 32
"""Folders within a folder that are looked at."""
_ABOVE: Final = 3
"""Levels above a folder that are looked at."""


def holds_images(root: Path) -> bool:
    """Whether a folder has images where one of one's own has them."""
    from depth_core.images import IMAGE_SUFFIXES  # noqa: PLC0415  a decoder, rarely needed

    folders = (root, *(root / name for name in IMAGE_FOLDERS))
    files = (path for folder in folders for path in visible_paths(folder))
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in files)


def enclosed(root: Path, patterns: Mapping[str, tuple[str, ...]]) -> tuple[Path, str] | None:
    """Find a data set within a folder.

    Args:
        root: The folder.
        patterns: Paths by which a folder of a data set is recognised, by its name.

    Returns:
        Its folder and its name; None where there is none.
    """
    for folder in _within(root):
        for name, paths in patterns.items():
            if any(visible_paths(folder, path) for path in paths):
                return folder, name
    return None


def enclosing(root: Path, patterns: Mapping[str, tuple[str, ...]]) -> tuple[Path, str] | None:
    """Find a data set of which a folder is a part; arguments and result are as of `enclosed`."""
    place = root.resolve()
    for folder in place.parents[:_ABOVE]:
        for name, paths in patterns.items():
            if any(_is_part(place, folder, path) for path in paths):
                return folder, name
    return None


def _is_part(place: Path, folder: Path, pattern: str) -> bool:
    """Whether what a pattern finds in `folder` is above, in or beside `place`.

    Nothing else of `folder` is looked at, which may be the root of a disk.
    """
    parts, wanted = place.relative_to(folder).parts, PurePath(pattern).parts
    shared = min(len(parts), len(wanted))
    if all(map(fnmatchcase, parts[:shared], wanted)):
        rest = wanted[shared:]
        return not rest or bool(visible_paths(place, '/'.join(rest)))
    beside = len(parts) == len(wanted) and all(map(fnmatchcase, parts[:-1], wanted))
    return beside and any(path.is_file() for path in visible_paths(place.parent, wanted[-1]))


def _within(root: Path) -> Iterator[Path]:
    """Folders in a folder, and in those, the nearer first."""
    first = [path for path in visible_paths(root) if path.is_dir()][:_MOST]
    second = (item for path in first for item in visible_paths(path) if item.is_dir())
    yield from first
    yield from islice(second, _MOST)
