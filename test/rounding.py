# SPDX-License-Identifier: Apache-2.0
"""Comparison of a network with numbers that its authors' code gave, in float32, elsewhere.

Both sides round. How much depends on the network, which may amplify, and on the processor, whose
kernels add in another order. A fixed bound on a float32 result therefore tests the processor. Here
the network is computed twice with the same weights and input, and what is compared is float64:

* What float64 differs from the reference by is the rounding of the reference alone, the same
  number on every processor. No value may be further off than the stated `ceiling`.
* What float32 differs from float64 by, on this machine, is one rounding of this very network. The
  reference is one rounding too, so it may differ by at most `FACTOR` times as much. This bound is
  far below the ceiling, and adapts to the network and the machine.
* Float32 must keep within the ceiling too. So a network that rounds too much cannot pass by
  making its own bound large.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

QUANTILE: Final = 0.99
"""The bulk of the values is compared with the bulk of the rounding: a largest value is chance."""

FACTOR: Final = 4.0
"""Two bits. The sum of n products rounds by about n units where it is added one by one, and by
about log n in the vectors and blocks of a faster kernel."""

_UNIT: Final = torch.finfo(torch.float32).eps

Outputs = Mapping[str, Tensor]


def in_float64(arrays: Outputs) -> dict[str, Tensor]:
    """Raise what is stored of a layer or a loss, which then rounds in the stored numbers alone.

    A fixed bound on that difference holds on every processor.
    """
    return {
        name: value.double() if value.is_floating_point() else value
        for name, value in arrays.items()
    }


@dataclass(frozen=True)
class BothPrecisions:
    """The outputs of one network in float32 and in float64, by name."""

    float32: Outputs
    float64: Outputs


@torch.no_grad()
def in_both_precisions(
    network: nn.Module | None, run: Callable[[torch.dtype], Outputs]
) -> BothPrecisions:
    """Compute the outputs of a float32 network as it is, and once more in float64.

    Args:
        network: What `run` computes with; float32 again afterwards, with the same weights. None
            for a function without weights.
        run: Gives outputs by name, from inputs of the type it is called with.
    """
    float32 = dict(run(torch.float32))
    network = nn.Identity() if network is None else network
    network.double()
    try:
        return BothPrecisions(float32=float32, float64=dict(run(torch.float64)))
    finally:
        network.float()


def assert_within_rounding(
    found: BothPrecisions,
    expected: Outputs,
    *,
    ceiling: float,
    relative_to: Literal['largest', 'each'] = 'largest',
) -> None:
    """Compare the outputs that `expected` names with what the authors' code gave.

    Args:
        found: Outputs of our network, at least those of `expected`.
        expected: Outputs of the authors' code in float32.
        ceiling: Largest difference of any value, as a share of the largest value of the output or
            of each value.
        relative_to: What the shares are of.
    """
    for name, reference in expected.items():
        exact, rough = found.float64[name], found.float32[name]
        assert exact.dtype == torch.float64, name
        assert exact.shape == rough.shape == reference.shape, name
        size = reference.double().abs()
        size = size.max() if relative_to == 'largest' else size
        difference = ((exact - reference) / size).abs()
        rounding = ((exact - rough) / size).abs()
        bound = FACTOR * max(_bulk(rounding), _UNIT)
        logger.info(
            '%s: %.1e of %.1e allowed, largest %.1e, float32 here %.1e of %.1e',
            name, _bulk(difference), bound, difference.max(), rounding.max(), ceiling,
        )  # fmt: skip
        assert float(rounding.max()) <= ceiling, f'{name}: float32 differs from float64'
        assert float(difference.max()) <= ceiling, f'{name}: a value differs'
        assert _bulk(difference) <= bound, f'{name}: differs by more than rounding'


def _bulk(errors: Tensor) -> float:
    """The quantile of any number of values; that of torch takes 16 million at most."""
    values = errors.flatten()
    return float(values.kthvalue(max(1, round(QUANTILE * values.numel()))).values)
