# SPDX-License-Identifier: Apache-2.0
"""Recordings scored part by part.

A recording is cut into parts of a fixed number of frames; what a part gives is kept as a file, and
the numbers are added up in the order of the parts. So a run that is interrupted loses at most the
part it was at, and a second run goes on where the first ended.
"""

from __future__ import annotations

from depth_core.evaluate.bags.evaluate import evaluate_bags
from depth_core.evaluate.bags.request import BagRequest

__all__ = ['BagRequest', 'evaluate_bags']
