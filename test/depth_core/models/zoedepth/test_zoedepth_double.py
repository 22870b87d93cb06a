# SPDX-License-Identifier: Apache-2.0
"""ZoeDepth in float64, where nothing is left of rounding but what the authors' code rounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from depth_core.models.zoedepth import metric_bins
from depth_core.models.zoedepth.metric_bins import stirling_log_binomial
from test.depth_core.models.zoedepth.test_zoedepth import (
    DOUBLE_TOLERANCE,
    Reference,
    image_of,
    tiny,
)

pytestmark = pytest.mark.numeric


def _coefficients_of_the_reference(count: int, like: Tensor) -> Tensor:
    """`stirling_log_binomial` on the machine that made the reference.

    The term k ln k is of float32 in the authors' float64 too, and the last bit of a float32
    logarithm is the CPU's: that of 7 was one above what rounding from float64 gives. Divided by
    the coldest temperature, this bit is a tenth of a millimetre at 60 m.
    """
    k = torch.arange(count, dtype=torch.float32) + 1e-7
    logs = k.double().log().float()
    logs[7] = torch.nextafter(logs[7], torch.tensor(3.0))
    n = torch.tensor(count - 1, dtype=like.dtype) + 1e-7
    rest = n - k.to(like.dtype)
    table = n * n.log() - (k * logs).to(like.dtype) - rest * (rest + 1e-7).log()
    return table.reshape(1, -1, 1, 1)


def test_coefficients_are_those_of_the_reference_to_the_last_bit_of_float32() -> None:
    like = torch.empty(0, dtype=torch.float64)
    expected = _coefficients_of_the_reference(16, like)
    found = stirling_log_binomial(16, like)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-6)  # a bit of 7 ln 7 is 9.5e-7


@torch.no_grad()
@pytest.mark.parametrize('name', ['N', 'K'])
def test_outputs_in_double_precision(
    reference: Reference, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_bins, 'stirling_log_binomial', _coefficients_of_the_reference)
    arrays = reference(f'zoe_tiny_{name}')
    outputs = tiny(name).double().official_forward(image_of(arrays).double())
    torch.testing.assert_close(
        outputs['metric_depth'], arrays['metric_depth_f64'], rtol=0.0, atol=DOUBLE_TOLERANCE
    )
