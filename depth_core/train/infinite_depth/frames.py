# SPDX-License-Identifier: Apache-2.0
"""The list of frames: what was counted in each, which are kept, and the data set without the rest.

One JSON object a line, one line a sample of the training set, in its order, so that the list can
be read, sorted and edited by hand: a line with "kept": false is left out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_core.data.sample import DepthDataset, Sample
from depth_core.documents import DocumentError, parse_json
from depth_core.errors import DataError
from depth_core.files import read_text, write_text_atomically


@dataclass(frozen=True, kw_only=True)
class FrameVerdict:
    """What is known about one frame after the first stage."""

    index: int
    """Its place in the training set."""
    key: str
    """Its name there."""
    pixels_below: int | None
    """Pixels clearly below the ground; None where no ground was found."""
    ground: str
    """State of the ground plane, as `depth_core.scale.ScaleState` names it."""
    kept: bool
    """Whether the second stage trains on it."""
    reason: str
    """Why."""


def write_verdicts(path: Path, verdicts: Sequence[FrameVerdict]) -> None:
    """Write the list, whole or not at all.

    Raises:
        DepthError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(dataclasses.asdict(verdict)) for verdict in verdicts)
    write_text_atomically(path, ''.join(f'{line}\n' for line in lines))


def read_verdicts(path: Path) -> list[FrameVerdict]:
    """Read the list.

    Raises:
        DataError: It is missing, or a line is not such an object.
    """
    names = {item.name for item in dataclasses.fields(FrameVerdict)}
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        message = (
            f'list of frames {path} cannot be read: {error}; make it with python -m '
            'depth_core.train.infinite_depth.'
        )
        raise DataError(message) from error
    verdicts = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_json(line)
        except DocumentError as error:
            message = f'{path}, line {number}: no JSON ({error}); a line is one object.'
            raise DataError(message) from error
        if not isinstance(entry, dict) or set(entry) != names:
            message = (
                f'{path}, line {number}: an entry has {", ".join(sorted(names))}; '
                'this one has other fields.'
            )
            raise DataError(message)
        verdicts.append(FrameVerdict(**entry))
    return verdicts


class KeptFrames:
    """The samples of a data set that a list of frames keeps.

    A frame that is left out is no sample any more. As a neighbour of those that are kept it stays:
    a hole is in its depth, and only the colours of neighbours are used. The paper leaves
    that open.

    Args:
        dataset: The data set the list was made of.
        path: The list.

    Raises:
        DataError: The list belongs to another data set, or keeps nothing.
    """

    def __init__(self, dataset: DepthDataset, path: Path) -> None:
        verdicts = read_verdicts(path)
        indices = [verdict.index for verdict in verdicts]
        if indices != list(range(len(dataset))):
            message = (
                f'list of frames {path} has {len(verdicts)} lines, and the data set has '
                f'{len(dataset)} samples; a list belongs to one data set and its options, with '
                'a line for each sample.'
            )
            raise DataError(message)
        self.dataset = dataset
        self.path = path
        self.kept = tuple(verdict for verdict in verdicts if verdict.kept)
        if not self.kept:
            message = (
                f'list of frames {path} keeps none of {len(verdicts)} samples; set "kept" to true '
                'in the lines of some, or make it anew with a larger --holes.max_pixels or '
                '--holes.below_m.'
            )
            raise DataError(message)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Sample:
        """The kept sample at `index`.

        Raises:
            DataError: It is another one than the list was made of.
        """
        verdict = self.kept[index]
        sample = self.dataset[verdict.index]
        if sample.key != verdict.key:
            message = (
                f'sample {verdict.index} is {sample.key}, and list of frames {self.path} calls it '
                f'{verdict.key}; the list belongs to another data set or other options of it.'
            )
            raise DataError(message)
        return sample
