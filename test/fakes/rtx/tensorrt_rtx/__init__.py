# SPDX-License-Identifier: Apache-2.0
"""TensorRT-RTX; in a folder of its own, as the real one can be installed beside the tests."""

from __future__ import annotations

from test.fakes.absent import refuse_if_absent
from test.fakes.trt.api import assemble

refuse_if_absent('tensorrt_rtx')
assemble(globals(), version='1.7.1', flavour='tensorrt-rtx')
