# SPDX-License-Identifier: Apache-2.0
"""Graphs of lower precision, made from fp32 ones as data: every cast and scale is in the file.

`graph` looks at a model, `rule` chooses what keeps fp32, `mixed` writes the casts, `int8` the
scales, both from the `activations` on an image set of `image_sets`. `emulation` answers as a
device that rounds would; `measure` compares, refuses, and finds the change of AbsRel. `make` puts
these in order for one file.
"""

from __future__ import annotations

from depth_core.export.precision.int8 import Target
from depth_core.export.precision.make import (
    Fp16Method,
    LowPrecision,
    PrecisionRequest,
    precision_path,
    write_precision,
)
from depth_core.export.precision.measure import DEFAULT_LIMITS, Limits

__all__ = [
    'DEFAULT_LIMITS',
    'Fp16Method',
    'Limits',
    'LowPrecision',
    'PrecisionRequest',
    'Target',
    'precision_path',
    'write_precision',
]
