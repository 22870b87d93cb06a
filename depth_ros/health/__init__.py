# SPDX-License-Identifier: Apache-2.0
"""What the node says of itself, and how it recovers from a backend that fails."""

from __future__ import annotations

__all__: list[str] = []
