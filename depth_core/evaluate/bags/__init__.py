# SPDX-License-Identifier: Apache-2.0
"""Recordings scored part by part, on one core or many, on one machine or a Ray cluster.

A recording is cut into parts of a fixed number of frames, whatever the number of workers; what a
part gives is kept as a file, and the numbers are added up in the order of the parts. So they are
the same bit for bit for any executor and any number of workers, a worker that is killed loses at
most the part it was at, and a second run goes on where the first ended.
"""

from __future__ import annotations

from depth_core.evaluate.bags.evaluate import evaluate_bags
from depth_core.evaluate.bags.request import BagRequest

__all__ = ['BagRequest', 'evaluate_bags']
