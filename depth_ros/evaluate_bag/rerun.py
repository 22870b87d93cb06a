# SPDX-License-Identifier: Apache-2.0
"""What was scored, as a file that the Rerun viewer opens; needs the package rerun-sdk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from depth_core.contracts import Intrinsics, probability_within_factor
from depth_core.evaluate.panels import Panel
from depth_ros.evaluate_bag.record import Add
from depth_ros.pictures.answered import Answered
from depth_ros.pictures.rerun_file import check_rerun, rerun_file


@contextlib.contextmanager
def rerun_adds(path: Path) -> Iterator[Add]:
    """Give what adds scored images to a new file.

    Raises:
        ConfigError: The path has another suffix, or rerun-sdk is not installed.
        DepthError: The file cannot be written.
    """
    check_rerun(path)
    with rerun_file(path) as add:

        def scored(stamp_ns: int, panel: Panel, camera: Intrinsics | None) -> None:
            confidence = None
            if panel.sigma_m is not None:
                confidence = probability_within_factor(panel.depth_m, panel.sigma_m)
            answer = Answered(
                stamp_ns=stamp_ns,
                depth_m=panel.depth_m,
                image=panel.image,
                truth_m=panel.target_m,
                sigma_m=panel.sigma_m,
                confidence=confidence,
                matrix=None if camera is None else camera.matrix,
            )
            if add is not None:
                add(answer)

        yield scored
