# SPDX-License-Identifier: Apache-2.0
"""Recordings scored: `python -m depth_ros.evaluate_bag`, and beside a replay `running_error`.

The recordings are read in code, or played `through_ros`; `record` and `rerun` write what was
scored for people to look at, and `running` says the error while a recording plays.
"""

from __future__ import annotations

__all__: list[str] = []
