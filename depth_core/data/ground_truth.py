# SPDX-License-Identifier: Apache-2.0
"""Whether the images of a data set have ground truth, found out before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np

from depth_core.data.sample import DepthDataset
from depth_core.errors import DataError
from depth_core.files import is_hidden

_READ: Final = 8
"""Images whose ground truth is read, evenly spaced: the files could hold nothing."""
PLAUSIBLE_M: Final = (0.05, 300.0)
"""Range of a median depth of images; beyond it the unit is in doubt."""
_NAMED: Final = 3

_LOG = logging.getLogger(__name__)


@runtime_checkable
class WithGroundTruth(Protocol):
    """A data set that can say cheaply which of its images have depth."""

    def has_depth(self, index: int) -> bool:
        """Whether there is ground truth for the image at `index`, without reading it."""

    def depth_looked_for(self) -> str:
        """What ground truth is looked for, what is there instead, and the remedy."""


def check_ground_truth(dataset: DepthDataset, *, source: str) -> None:
    """Count the images that have ground truth; refuse none, and warn when some lack it.

    Args:
        dataset: One that is no `WithGroundTruth` always has depth and is not looked at.
        source: Which data set it is, for the messages.

    Raises:
        DataError: No image has ground truth, or what is there holds no value.
    """
    if not isinstance(dataset, WithGroundTruth):
        return
    total = len(dataset)
    found = [index for index in range(total) if dataset.has_depth(index)]
    if not found:
        message = f'{source}: 0 of {total} images have depth; {dataset.depth_looked_for()}'
        raise DataError(message)
    if len(found) < total:
        _LOG.warning(
            '%s: only %d of %d images have depth, and the others teach none; %s',
            source,
            len(found),
            total,
            dataset.depth_looked_for(),
        )
    else:
        _LOG.info('%s: all %d images have depth', source, total)
    _check_values(dataset, found[:: -(-len(found) // _READ)], source)


def _check_values(dataset: DepthDataset, indices: list[int], source: str) -> None:
    """Read the ground truth of some images.

    Raises:
        DataError: None of it has a value.
    """
    samples = (dataset[index] for index in indices)
    values = np.concatenate([sample.depth_m[sample.valid].numpy() for sample in samples])
    if not values.size:
        message = (
            f'{source}: the ground truth of {len(indices)} images was read, and no pixel has a '
            'depth (finite and above 0); check the depth files, or calibration and transforms '
            'of the lidar.'
        )
        raise DataError(message)
    median_m = float(np.median(values))
    if not PLAUSIBLE_M[0] <= median_m <= PLAUSIBLE_M[1]:
        _LOG.warning(
            '%s: the median depth is %g m, which is no usual distance; check the unit '
            '(depth_unit_m is 0.001 for millimetres)',
            source,
            median_m,
        )


def describe_files(paths: Iterable[Path]) -> str:
    """Say how many files there are and name some: '8 files (000.tiff, 001.tiff, 002.tiff, ...)'.

    Hidden files are left out; nothing at all is 'no file'.
    """
    names = sorted(path.name for path in paths if not is_hidden(path))
    if not names:
        return 'no file'
    shown = ', '.join(names[:_NAMED]) + (', ...' if len(names) > _NAMED else '')
    return f'{len(names)} {"file" if len(names) == 1 else "files"} ({shown})'
