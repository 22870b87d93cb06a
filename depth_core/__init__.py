# SPDX-License-Identifier: Apache-2.0
"""Monocular depth networks: training, evaluation, export and inference, free of ROS."""

from __future__ import annotations

import sys

from depth_core.interrupts import answer_interrupts
from depth_core.telemetry import switch_off_telemetry

__all__: list[str] = []

if sys.argv[:1] == ['-m']:  # so Python says that it looks for the command it is to run
    answer_interrupts()

switch_off_telemetry()
