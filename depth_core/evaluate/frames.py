# SPDX-License-Identifier: Apache-2.0
"""The table of single images: one row each, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final, TextIO

from depth_core.errors import ConfigError, missing_package
from depth_core.metrics import GROUP_CLASSES, METRIC_NAMES, ImageScore
from depth_core.metrics.groups import EDGE
from depth_core.names import printable

_GROUPS: Final = (*GROUP_CLASSES, EDGE)

COLUMNS: Final = (
    'recording', 'image', 'pixels_with_ground_truth', 'coverage', 'scale', 'shift', *METRIC_NAMES,
    'mean_log_error', 'flicker', 'stated_within', 'observed_within',
    *(f'abs_rel_{name}' for name in _GROUPS),
)  # fmt: skip


class FrameTable:
    """Writes rows as they come.

    Args:
        file: Open text file.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.DictWriter(file, COLUMNS, lineterminator='\n', restval='')
        self._writer.writeheader()

    def add(self, score: ImageScore, recording: str = '') -> None:
        """Write the row of an image; what is not known stays empty."""
        row: dict[str, object] = {
            'recording': printable(recording),
            'image': printable(score.key),
            'pixels_with_ground_truth': score.targets,
        }
        if score.targets:
            row['coverage'] = score.predicted / score.targets
        if score.sums is not None:
            row |= asdict(score.sums.metrics())
            row |= {'scale': score.scale, 'shift': score.shift}
            row['mean_log_error'] = mean_log_error(score)
        if score.flicker is not None:
            row['flicker'] = score.flicker
        if score.calibration is not None:
            calibration = score.calibration.metrics()
            row['stated_within'] = calibration.expected_within
            row['observed_within'] = calibration.observed_within
        for name, sums in (score.by_group or {}).items():
            row[f'abs_rel_{name}'] = sums.abs_rel / sums.count
        self._writer.writerow(row)

    def add_all(self, scores: Iterable[ImageScore]) -> None:
        """Write several rows."""
        for score in scores:
            self.add(score)


def mean_log_error(score: ImageScore) -> float:
    """Mean of ln(prediction / truth) of a scored image: above 0 when it is too far."""
    assert score.sums is not None  # noqa: S101  for scored images
    return score.sums.log / score.sums.count


def check_parquet() -> None:
    """Refuse `--parquet` before any work where the package is missing.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    _arrow()


def as_parquet(content: bytes) -> bytes:
    """The table of images as a Parquet file: names as text, the numbers as doubles.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    arrow = _arrow()
    kinds = dict.fromkeys(COLUMNS, arrow.float64())
    kinds |= dict.fromkeys(('recording', 'image'), arrow.string())
    kinds['pixels_with_ground_truth'] = arrow.int64()
    options = arrow.csv.ConvertOptions(column_types=kinds)
    table = arrow.csv.read_csv(io.BytesIO(content), convert_options=options)
    sink = io.BytesIO()
    arrow.parquet.write_table(table, sink)
    return sink.getvalue()


def _arrow() -> Any:  # noqa: ANN401  optional package
    try:
        import pyarrow  # noqa: ICN001, PLC0415  optional
        import pyarrow.csv  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        message = missing_package(
            '--parquet', 'pyarrow', extra='parquet', instead='use frames.csv'
        )
        raise ConfigError(message) from error
    return pyarrow
