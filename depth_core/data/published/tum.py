# SPDX-License-Identifier: Apache-2.0
"""TUM RGB-D (Sturm et al., IROS 2012): sequences of Kinect and Xtion.

    root/rgb.txt, depth.txt                    lines `1305031102.175304 rgb/1305031102.175304.png`
    root/rgb/1305031102.175304.png, depth/1305031102.160407.png
    root/groundtruth.txt                       lines `time tx ty tz qx qy qz qw`, where it is there

Depth is 16-bit with 5000 a metre, 0 = none, registered to colour; images are paired by the nearest
time. Licence: CC BY 4.0.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.bag.frame_tree import pose_matrix
from depth_core.data.planes import read_depth_png
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.data.text import numbers_of, read_lines
from depth_core.errors import DataError

_POSE: Final = 7
_UNIT_M: Final = 1.0 / 5000.0
_APART_S: Final = 0.02
"""Largest time between an image and its depth."""
_CAMERAS: Final = {
    '1': (517.3, 516.5, 318.6, 255.3),
    '2': (520.9, 521.0, 325.1, 249.7),
    '3': (535.4, 539.2, 320.1, 247.6),
}
"""fx, fy, cx, cy of the three cameras, in pixels."""
_ANY_CAMERA: Final = (525.0, 525.0, 319.5, 239.5)
_NONE: Final = 'depth/none_near_'
"""Begin of the path of a depth file that no list has."""
_NAME: Final = re.compile(r'(?:freiburg|fr)([123])', re.IGNORECASE)


class TumDataset(PairDataset):
    """Images of a sequence; see `PairDataset` for the options.

    Images without depth within 0.02 s stay, with no valid pixel.
    """

    title = 'TUM RGB-D'
    layout = 'rgb.txt, depth.txt and rgb/1305031102.175304.png'
    _poses: Sequence[tuple[float, str]] | None = None
    """Times and poses of groundtruth.txt, read when they are first asked for."""

    def find(self) -> Sequence[Pair]:
        """The images of rgb.txt, each with the depth nearest in time."""
        images, depths = (_listed(self.root / name) for name in ('rgb.txt', 'depth.txt'))
        times_s = [time_s for time_s, _ in depths]
        pairs = []
        for time_s, name in images:
            place = bisect.bisect_left(times_s, time_s)
            near = range(max(place - 1, 0), min(place + 1, len(depths)))
            best = min(near, key=lambda index: abs(times_s[index] - time_s))
            found = abs(times_s[best] - time_s) <= _APART_S
            depth = depths[best][1] if found else f'{_NONE}{time_s:.6f}.png'
            path = self.root / name
            key = str(Path(name).with_suffix(''))
            pairs.append(Pair(image=path, depth=self.root / depth, key=key))
        return pairs

    def read_depth(self, pair: Pair) -> Float32Array:
        """Codes of a 5000th of a metre."""
        return read_depth_png(pair.depth, unit_m=_UNIT_M)

    def depth_looked_for(self) -> str:
        """Which depth file is missing, or which image has none near it in time."""
        lost = [pair for pair in self.pairs if not pair.depth.is_file()]
        alone = [pair for pair in lost if str(pair.depth.relative_to(self.root)).startswith(_NONE)]
        if len(alone) < len(lost):
            return super().depth_looked_for()
        return (
            f'no depth of {self.root / "depth.txt"} is within {_APART_S:g} s of {alone[0].key}, '
            'which is usual for some images of a sequence.'
        )

    def pose(self, pair: Pair) -> NDArray[np.float64] | None:
        """That of groundtruth.txt nearest in time; None where none is within 0.02 s."""
        if self._poses is None:
            path = self.root / 'groundtruth.txt'
            self._poses = _listed(path) if path.is_file() else []
        time_s = float(numbers_of(pair.image.stem, 1, source=f'name of {pair.image}')[0])
        place = bisect.bisect_left(self._poses, (time_s, ''))
        near = self._poses[max(place - 1, 0) : place + 1]
        best = min(near, key=lambda item: abs(item[0] - time_s), default=None)
        if best is None or abs(best[0] - time_s) > _APART_S:
            return None
        numbers = numbers_of(best[1], _POSE, source=f'{self.root}/groundtruth.txt').tolist()
        return pose_matrix(numbers[:3], numbers[3:])

    def camera(self, _pair: Pair, height: int, width: int) -> Intrinsics:
        """That of freiburg1, 2 or 3 by the name of the folder; the default of ROS else."""
        match = _NAME.search(self.root.resolve().name)
        numbers = _ANY_CAMERA if match is None else _CAMERAS[match[1]]
        return fixed_camera(numbers, height=height, width=width)


def _listed(path: Path) -> list[tuple[float, str]]:
    """Times and files of a list, in order of time.

    Raises:
        DataError: A line is of another form.
    """
    entries = []
    for number, line in read_lines(path):
        if line.startswith('#'):
            continue
        words = line.split(maxsplit=1)
        if len(words) != 2:  # noqa: PLR2004  time and file
            message = f"line {number} of {path} is {line!r}; a line is 'time file'."
            raise DataError(message)
        time_s = float(numbers_of(words[0], 1, source=f'line {number} of {path}')[0])
        entries.append((time_s, words[1]))
    if not entries:
        message = f'{path} lists no file; unpack the sequence again.'
        raise DataError(message)
    return sorted(entries)
