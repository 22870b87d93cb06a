# SPDX-License-Identifier: Apache-2.0
"""TensorRT, of the version in FAKE_TENSORRT_VERSION: 8.6.1, 10.3.0 or 11.4.0, or one near them."""

from __future__ import annotations

import os

from test.fakes.absent import refuse_if_absent
from test.fakes.trt.api import assemble

refuse_if_absent('tensorrt')
assemble(globals(), version=os.environ.get('FAKE_TENSORRT_VERSION', '10.3.0'), flavour='tensorrt')
