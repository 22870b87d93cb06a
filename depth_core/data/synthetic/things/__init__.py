# SPDX-License-Identifier: Apache-2.0
"""Things built of primitives, and the materials they are made of."""

from __future__ import annotations

__all__: list[str] = []
