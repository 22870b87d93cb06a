# SPDX-License-Identifier: Apache-2.0
"""The score of an image as JSON, every number as exact as it was."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar

import numpy as np

from depth_core.metrics import (
    BoundarySums,
    CalibrationSums,
    DistanceSums,
    ErrorSums,
    ImageScore,
    RegionSums,
    Sparsification,
)

T = TypeVar('T')


def score_to_json(score: ImageScore) -> dict[str, Any]:
    """Say a score in numbers, texts, lists and dicts."""
    content: dict[str, Any] = _plain(score)
    depths = np.ascontiguousarray(score.targets_m, '<f4')
    content['targets_m'] = base64.b64encode(depths.tobytes()).decode('ascii')
    return content


def score_from_json(content: Mapping[str, Any]) -> ImageScore:
    """Read what `score_to_json` said.

    Raises:
        KeyError: Something is missing.
        TypeError: Something is of another kind.
        ValueError: The depths are damaged.
    """
    given = dict(content)
    given['targets_m'] = np.frombuffer(base64.b64decode(given['targets_m']), '<f4')
    for name, read in _READERS.items():
        if given[name] is not None:
            given[name] = read(given[name])
    return ImageScore(**given)


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a score holds
    if is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: _plain(getattr(value, item.name))
            for item in fields(value)
            if item.name != 'targets_m'
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def _sums(kind: Callable[..., T]) -> Callable[[Mapping[str, Any]], T]:
    """Read sums whose lists are arrays of bins."""

    def read(content: Mapping[str, Any]) -> T:
        return kind(
            **{
                name: np.array(value) if isinstance(value, list) else value
                for name, value in content.items()
            }
        )

    return read


def _curve(content: Mapping[str, Any]) -> Sparsification:
    return Sparsification(
        by_sigma=tuple(content['by_sigma']),
        by_error=tuple(content['by_error']),
        ause=content['ause'],
        aurg=content['aurg'],
    )


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    'sums': _sums(ErrorSums),
    'distance': _sums(DistanceSums),
    'calibration': _sums(CalibrationSums),
    'sparsification': lambda curves: {name: _curve(item) for name, item in curves.items()},
    'by_class': lambda sums: {int(name): ErrorSums(**item) for name, item in sums.items()},
    'by_group': lambda sums: {name: ErrorSums(**item) for name, item in sums.items()},
    'by_region': _sums(RegionSums),
    'boundary': _sums(BoundarySums),
}
