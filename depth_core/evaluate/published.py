# SPDX-License-Identifier: Apache-2.0
"""What the authors of each family published, to stand beside our own numbers.

Only numbers that were read where they are said to stand; others are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from depth_core.metrics import Protocol


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """A row of a table of the authors."""

    family: str
    network: str
    data: str
    """Begins with the word that protocols of it begin with."""
    abs_rel: float
    rmse: float
    """Metres."""
    a1: float
    source: str


def _row(family: str, network: str, data: str, numbers: str, source: str) -> PublishedResult:
    abs_rel, rmse, a1 = (float(word) for word in numbers.split())
    return PublishedResult(
        family=family, network=network, data=data, abs_rel=abs_rel, rmse=rmse, a1=a1, source=source
    )


_NYU: Final = 'nyu, 654 images'
_KITTI: Final = 'kitti, Eigen, up to 80 m'
_RAW: Final = 'kitti, Eigen, raw lidar, each image scaled to its truth'
_IMPROVED: Final = 'kitti, Eigen, improved truth, each image scaled to its truth'
_DENSE: Final = 'Alhashim, Wonka 2018, as its repository states'
_ZOE: Final = 'Bhat et al. 2023, arXiv:2302.12288'
_URCDC: Final = 'Shao et al. 2023, README of its repository'
_PACKNET: Final = 'README of packnet-sfm'
_SEMANTIC: Final = 'Guizilini et al., ICLR 2020'

PUBLISHED: Final[Sequence[PublishedResult]] = (
    _row('densedepth', 'DenseNet-169', _NYU, '0.123 0.465 0.846', _DENSE),
    _row('zoedepth', 'ZoeD-M12-N', _NYU, '0.075 0.270 0.955', _ZOE),
    _row('zoedepth', 'ZoeD-M12-NK', _NYU, '0.077 0.277 0.953', _ZOE),
    _row('urcdc', 'URCDC-Depth', _NYU, '0.088 0.316 0.933', _URCDC),
    _row('urcdc', 'URCDC-Depth', _KITTI, '0.050 2.032 0.977', _URCDC),
    _row('selfsup', 'PackNet01, 640x192', _RAW, '0.111 4.576 0.880', _PACKNET),
    _row('selfsup', 'PackNet01, 640x192', _IMPROVED, '0.078 3.485 0.931', _PACKNET),
    _row('selfsup', 'ResNet18, 640x192', _RAW, '0.116 4.902 0.865', _PACKNET),
    _row('selfsup', 'ResNet18, 640x192', _IMPROVED, '0.087 3.947 0.913', _PACKNET),
    _row('selfsup', 'semantic guidance, 640x192', _RAW, '0.102 4.381 0.896', _SEMANTIC),
)


def published_results(family: str, protocol: Protocol) -> list[PublishedResult]:
    """The rows of a family on the data that a protocol is for."""
    data = protocol.name.partition('_')[0]
    return [row for row in PUBLISHED if row.family == family and row.data.startswith(data)]
