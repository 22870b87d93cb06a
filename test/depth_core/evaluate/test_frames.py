# SPDX-License-Identifier: Apache-2.0
"""The table of images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from depth_core.evaluate.frames import FrameTable
from depth_core.metrics import ImageScore


def test_names_in_the_table_of_images_are_not_obeyed() -> None:
    unknown: dict[str, Any] = dict.fromkeys(
        ('sums', 'distance', 'calibration', 'sparsification', 'by_class'), None
    )
    score = ImageScore(
        key='a\x1b[2J\nb', targets=0, predicted=0, scale=1.0, targets_m=np.zeros(0, np.float32),
        **unknown,
    )  # fmt: skip
    file = io.StringIO()
    FrameTable(file).add(score, 'c\x1b')
    assert file.getvalue().splitlines()[1].startswith('c\\x1b,a\\x1b[2J\\nb,0,')
