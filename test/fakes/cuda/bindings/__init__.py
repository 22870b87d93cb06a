# SPDX-License-Identifier: Apache-2.0
"""As much of cuda-python as depth_core uses, on `test.fakes.gpu`."""

from __future__ import annotations

from test.fakes.absent import refuse_if_absent

refuse_if_absent('cuda')
