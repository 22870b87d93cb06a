# SPDX-License-Identifier: Apache-2.0
"""Files of named tensors: read without executing anything, checked, and compared by name.

This room is below the networks: it takes paths, names and tensors. What the names mean is for
`models` and `weights`.
"""

from __future__ import annotations

__all__: list[str] = []
