# SPDX-License-Identifier: Apache-2.0
"""What the node published, drawn or recorded to be looked at."""

from __future__ import annotations

__all__: list[str] = []
