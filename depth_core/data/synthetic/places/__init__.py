# SPDX-License-Identifier: Apache-2.0
"""Rooms, desks, streets and squares: where things stand, and what moves among them."""

from __future__ import annotations

__all__: list[str] = []
