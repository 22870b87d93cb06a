# SPDX-License-Identifier: Apache-2.0
"""The way of one image through the node: arrival, queue, depth, messages, counts."""

from __future__ import annotations

__all__: list[str] = []
