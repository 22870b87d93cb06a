# SPDX-License-Identifier: Apache-2.0
"""From a scene to an image: which surface a pixel sees, how far, and in what light."""

from __future__ import annotations

__all__: list[str] = []
