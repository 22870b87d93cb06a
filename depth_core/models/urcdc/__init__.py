# SPDX-License-Identifier: Apache-2.0
"""URCDC-Depth: a Transformer and a CNN that distil into each other."""

from __future__ import annotations

__all__: list[str] = []
