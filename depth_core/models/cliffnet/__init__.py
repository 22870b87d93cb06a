# SPDX-License-Identifier: Apache-2.0
"""CLIFFNet: a gated feature pyramid, and the embedding networks of its loss."""

from __future__ import annotations

__all__: list[str] = []
