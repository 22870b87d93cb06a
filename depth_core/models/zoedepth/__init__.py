# SPDX-License-Identifier: Apache-2.0
"""ZoeDepth: metric bins on the relative-depth network of MiDaS."""

from __future__ import annotations

__all__: list[str] = []
