# SPDX-License-Identifier: Apache-2.0
"""Published data sets of image and depth files, each read in the layout its authors unpack.

A module a data set says the tree, the unit and the camera; `pairs` is what they share.
"""

from __future__ import annotations

__all__: list[str] = []
