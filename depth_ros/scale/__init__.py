# SPDX-License-Identifier: Apache-2.0
"""Metres for networks that are not metric, and corrections for those that are."""

from __future__ import annotations

__all__: list[str] = []
