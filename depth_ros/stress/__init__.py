# SPDX-License-Identifier: Apache-2.0
"""What the node withstands: malformed messages, long runs, and what fails around it.

`python -m depth_ros.stress` starts real nodes, does all that to them, and states what it found.
"""

from __future__ import annotations

__all__: list[str] = []
