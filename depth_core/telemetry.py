# SPDX-License-Identifier: Apache-2.0
"""Usage statistics of the runtimes are off: nothing this package runs reports to anybody."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import cast


def switch_off_telemetry() -> None:
    """Keep ONNX Runtime and OpenVINO from sending statistics; both read this when imported.

    Left alone, both write an identifier into the home folder and send what was run: ONNX Runtime
    (from 1.29 on Linux) unless its variable is set, OpenVINO with the help of a package it does
    without where that cannot be imported. Who wants to send them sets `ORT_DISABLE_TELEMETRY=0`,
    or imports `openvino_telemetry` before `depth_core`.
    """
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    cast('dict[str, ModuleType | None]', sys.modules).setdefault('openvino_telemetry', None)
