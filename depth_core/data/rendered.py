# SPDX-License-Identifier: Apache-2.0
"""Training sets of rendered scenes on disk: several sizes of image, in parts that fill one by one.

`root/288x384/part_00000`, `root/288x384/part_00001` … are caches of a hundred samples each (see
`depth_core.data.cache`), and so for every size. A part is filled by one process at a time, goes on
where a kill stopped it, and is read only when it is complete, so that training may begin while the
rest is still rendered.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from depth_core.data.cache import CachedDataset, cached
from depth_core.data.sample import Sample
from depth_core.data.synthetic import VARIED_CLASSES, VARIED_SETS, VariedDataset
from depth_core.data.transforms import Resize
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.files import write_text_atomically

SIZES: Final = ((288, 384), (240, 432), (192, 480), (192, 624))
"""(height, width): 4:3, 16:9, 5:2 and 13:4, each 1.5 times a size that networks are trained at."""
_SETTINGS: Final = 'rendered.json'
_APART: Final = 10_000_000
"""Numbers between the scenes of two sizes, so that none is shared."""


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """What a folder of rendered scenes is filled with; the same whenever it is continued."""

    seed: int
    """Of all scenes: 1000 and above for training, 900 to 999 are held out."""
    scenes: str = 'varied'
    """A key of `VARIED_SETS`."""
    sizes: tuple[tuple[int, int], ...] = SIZES
    part: int = 100
    """Samples in a part."""
    textures: str | None = None
    """Folder of photographs for print and screens."""


def fill(
    root: Path,
    settings: RenderSettings,
    *,
    frames: int,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Render until `frames` samples of all sizes together are stored, the sizes in turn.

    May be interrupted at any moment and called again, by several processes at once, and later
    with more frames.

    Args:
        root: Folder, made if missing.
        settings: What to render.
        frames: Samples of all sizes together, rounded up to whole parts of every size.
        progress: Called with the samples stored and the samples wanted.

    Returns:
        How many samples the folder holds in complete parts.

    Raises:
        ConfigError: No sample is asked for.
        DataError: The folder was filled with other settings, or cannot be written.
    """
    if frames < 1 or settings.part < 1 or not settings.sizes:
        message = (
            f'{frames} frames in parts of {settings.part} of {len(settings.sizes)} sizes are '
            'none; give at least 1 of each.'
        )
        raise ConfigError(message)
    _keep_settings(root, settings)
    round_size = settings.part * len(settings.sizes)
    rounds = -(-frames // round_size)
    for number in range(rounds):
        for family, size in enumerate(settings.sizes):
            folder = _part(root, size, number)
            if not is_complete(folder):
                with _alone(folder) as alone:
                    if alone:
                        cached(_dataset(settings, family, number), folder, progress=_silent)
            if progress is not None:
                progress(count_stored(root, settings.sizes) * settings.part, rounds * round_size)
    return count_stored(root, settings.sizes) * settings.part


def _dataset(settings: RenderSettings, family: int, number: int) -> VariedDataset:
    height, width = settings.sizes[family]
    return VariedDataset(
        seed=settings.seed,
        start=family * _APART + number * settings.part,
        length=settings.part,
        height=height,
        width=width,
        scenes=settings.scenes,
        textures=settings.textures,
    )


def _part(root: Path, size: tuple[int, int], number: int) -> Path:
    return root / f'{size[0]}x{size[1]}' / f'part_{number:05d}'


def is_complete(folder: Path) -> bool:
    """Whether all samples of a part are stored."""
    try:
        stored = np.load(folder / 'stored.npy', allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return bool(stored.all()) and (folder / 'cache.json').exists()


def count_stored(root: Path, sizes: Sequence[tuple[int, int]]) -> int:
    """How many parts are complete."""
    return sum(
        is_complete(folder)
        for height, width in sizes
        for folder in sorted((root / f'{height}x{width}').glob('part_*'))
    )


def _keep_settings(root: Path, settings: RenderSettings) -> None:
    """State the settings in the folder, or see that they are those of before.

    Raises:
        DataError: They differ, or the folder cannot be written.
    """
    path, text = root / _SETTINGS, json.dumps(asdict(settings), sort_keys=True)
    try:
        root.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding='utf-8') if path.exists() else None
        if before is None:
            write_text_atomically(path, text)
    except OSError as error:
        message = f'cannot keep rendered scenes in {root}: {error.strerror or error}.'
        raise DataError(message) from error
    if before is not None and before != text:
        message = (
            f'{root} was filled with {before}, asked is {text}; choose another folder, or give '
            'the same settings.'
        )
        raise DataError(message)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether this process is the only one to fill a part; the lock goes with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.filling').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _silent(done: int, total: int) -> None:
    del done, total


class RenderedDataset:
    """The complete parts of one size of a folder that `python -m depth_core.data.render` fills.

    Args:
        root: Folder of one size, as `runs/rendered/288x384`.
        parts: How many parts to take, from the first on; all that are complete when None. State
            it to continue a training while more is rendered.
        scenes: Which of their samples, as VariedDataset has it: indoor, outdoor, near or a scene
            class; varied is all.
        height: Rows of a sample; as stored when None.
        width: Columns of a sample; as stored when None.

    Raises:
        ConfigError: No part is asked for, or there are no such scenes.
        DataError: The folder holds no complete part, or fewer than asked for, or none of the
            scenes.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        parts: int | None = None,
        scenes: str = 'varied',
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        if parts is not None and parts < 1:
            message = f'parts={parts} is no number of parts to read; give at least 1.'
            raise ConfigError(message)
        if scenes not in VARIED_SETS:
            raise ConfigError(unknown_name('scene', scenes, VARIED_SETS))
        self.root = Path(root)
        folders = [path for path in sorted(self.root.glob('part_*')) if is_complete(path)]
        if len(folders) < (parts or 1):
            message = (
                f'{self.root} holds {len(folders)} complete parts, {parts or 1} are needed; fill '
                'it with `python -m depth_core.data.render`, and name the folder of one size, '
                'as root/288x384.'
            )
            raise DataError(message)
        self.parts = len(folders) if parts is None else parts
        self.height, self.width = height, width
        self.scenes = scenes
        self._caches = [CachedDataset(path) for path in folders[: self.parts]]
        self._places = [
            (part, index)
            for part, cache in enumerate(self._caches)
            for index in _indices_of(cache, VARIED_SETS[scenes])
        ]
        if not self._places:
            message = (
                f'{self.root} holds no sample of scenes {scenes!r} in {self.parts} parts; take '
                'more parts, or leave scenes out.'
            )
            raise DataError(message)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; negative indices count from the end."""
        if not -len(self) <= index < len(self):
            message = f'index {index} is outside {len(self)} rendered samples.'
            raise IndexError(message)
        part, place = self._places[index]
        sample = self._caches[part][place]
        rows, columns = sample.depth_m.shape
        height, width = self.height or rows, self.width or columns
        if (rows, columns) == (height, width):
            return sample
        return Resize(height=height, width=width)(sample, torch.Generator())


def _indices_of(cache: CachedDataset, names: Sequence[str]) -> Sequence[int]:
    """The samples of a part that are of the named scene classes; all where none is named."""
    if not names:
        return range(len(cache))
    wanted = {VARIED_CLASSES.index(name) for name in names}
    return [index for index, number in enumerate(cache.scene_classes()) if number in wanted]
