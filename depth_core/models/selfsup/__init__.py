# SPDX-License-Identifier: Apache-2.0
"""Self-supervised depth networks, plain or guided by semantics, and their pose networks."""

from __future__ import annotations

__all__: list[str] = []
