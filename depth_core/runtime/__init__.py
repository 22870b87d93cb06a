# SPDX-License-Identifier: Apache-2.0
"""Running a graph: an image of any size in, depth at its size out, on a backend by name.

Importing this loads no runtime: ONNX Runtime, OpenVINO and torch are imported by the backend
that is opened.
"""

from __future__ import annotations

from depth_core.runtime.backends import BACKENDS, Precision
from depth_core.runtime.framing import Framing
from depth_core.runtime.predictor import Predictor
from depth_core.runtime.stage_times import StageTimes
from depth_core.runtime.upsampling import Grid

__all__ = ['BACKENDS', 'Framing', 'Grid', 'Precision', 'Predictor', 'StageTimes']
