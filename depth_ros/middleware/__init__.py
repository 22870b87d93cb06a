# SPDX-License-Identifier: Apache-2.0
"""What is between a node and the network: processes, executors, quality of service, types."""

from __future__ import annotations

__all__: list[str] = []
