# SPDX-License-Identifier: Apache-2.0
"""Messages and values: pure functions from one to the other, without a node."""

from __future__ import annotations

__all__: list[str] = []
