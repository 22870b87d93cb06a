# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a graph that runs anywhere, with proof that it answers the same."""

from __future__ import annotations

from depth_core.export.onnx import OPSET, export_onnx
from depth_core.export.parity import TOLERANCE, measure_parity
from depth_core.runtime.parity_images import parity_images

__all__ = ['OPSET', 'TOLERANCE', 'export_onnx', 'measure_parity', 'parity_images']
