# SPDX-License-Identifier: Apache-2.0
"""Every hostile file of the attacks, by its format: a name, what it is, and how it is made.

`attack.py` opens each as the package does; a file of a few kilobytes is enough for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from test.security import arrays, bags, checkpoints, graphs, texts

Make: TypeAlias = Callable[[Path], None]
"""Writes the file, or the folder, of that path."""


class Hostile(NamedTuple):
    """One hostile file."""

    format: str
    """What it claims to be: a key of `openers.OPENERS`."""
    name: str
    """Of the file that is made, with its ending."""
    make: Make

    def made(self, folder: Path) -> Path:
        """Make it in `folder`, in a folder of its own."""
        path = folder / self.format / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.make(path)
        return path


_FILES: Final[Mapping[str, Mapping[str, Make]]] = {
    'checkpoint': checkpoints.FILES,
    'graph': graphs.GRAPHS,
    'manifest': texts.MANIFESTS,
    'configuration': texts.CONFIGURATIONS,
    'list': texts.LISTS,
    'image': arrays.IMAGES,
    'video': arrays.VIDEOS,
    'depth': arrays.DEPTHS,
    'projected': arrays.PROJECTED,
    'hdf5': arrays.HDF5,
    'bag': bags.BAGS,
}

CASES: Final[Sequence[Hostile]] = tuple(
    Hostile(format_, name, make)
    for format_, files in _FILES.items()
    for name, make in files.items()
)
"""All of them; names are unique within a format."""

FORMATS: Final = tuple(dict.fromkeys(case.format for case in CASES))
