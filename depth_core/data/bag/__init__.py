# SPDX-License-Identifier: Apache-2.0
"""Recorded bags."""

from __future__ import annotations

__all__: list[str] = []
