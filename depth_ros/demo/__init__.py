# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a camera, the node, a live table and a picture."""

from __future__ import annotations

__all__: list[str] = []
