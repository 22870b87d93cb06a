# SPDX-License-Identifier: Apache-2.0
"""Groups of the node's parameters, and what a parameter is; `depth_ros.settings` joins them."""

from __future__ import annotations

__all__: list[str] = []
