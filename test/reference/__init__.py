# SPDX-License-Identifier: Apache-2.0
"""What authors do around their networks, written again to compare ours with; for tests only."""

from __future__ import annotations

__all__: list[str] = []
