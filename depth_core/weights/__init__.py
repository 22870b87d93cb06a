# SPDX-License-Identifier: Apache-2.0
"""Weight files: checkpoints of this package, official files, and how these fit our networks."""

from __future__ import annotations

__all__: list[str] = []
