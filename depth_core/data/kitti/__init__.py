# SPDX-License-Identifier: Apache-2.0
"""KITTI raw drives."""

from __future__ import annotations

__all__: list[str] = []
