# SPDX-License-Identifier: Apache-2.0
"""The model that the node serves, from opening it to the size of its input."""

from __future__ import annotations

__all__: list[str] = []
