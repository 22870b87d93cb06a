# SPDX-License-Identifier: Apache-2.0
"""Averaging with the mirror image, which evaluation shares with prediction."""

from __future__ import annotations

from depth_core.runtime.flip import FLIP_AVERAGES, FlipAverage, average_flipped

__all__ = ['FLIP_AVERAGES', 'FlipAverage', 'average_flipped']
