# SPDX-License-Identifier: Apache-2.0
"""Pixel-adaptive convolution, tap by tap, beside the form that lays every window out.

At the size of a decoder level at half resolution it must be 3 times as fast and take a third of
the memory. Memory is by how much a process of its own grows at most while a layer runs, the
output included.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models.selfsup.pixel_adaptive import pixel_adaptive_conv2d

CHANNELS = 64
HEIGHT, WIDTH = 96, 320
ROUNDS = 15
MODULE = 'test.benchmarks.test_pixel_adaptive'

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]
"""Features, guide, weight, bias and sigma."""


def unfolded(
    x: Tensor, guide: Tensor, weight: Tensor, bias: Tensor, sigma: Tensor | None
) -> Tensor:
    """The same, with every window of features and guide laid out, as the original does."""
    batch, _, height, width = x.shape
    size = weight.shape[-1]

    def windows(maps: Tensor) -> Tensor:
        laid = F.unfold(maps, size, padding=size // 2)
        return laid.reshape(batch, -1, size**2, height, width)

    distance = (windows(guide) - guide[:, :, None]).square().sum(dim=1, keepdim=True)
    filters = weight.flatten(2)
    if sigma is None:
        kernel = torch.exp(-0.5 * distance)
        y = torch.einsum('bckhw,ock->bohw', windows(x) * kernel, filters)
    else:
        kernel = torch.exp(-0.5 * distance / sigma.reshape(1, -1, 1, 1, 1) ** 2)
        y = (torch.einsum('bckhw,ock->bokhw', windows(x), filters) * kernel).sum(dim=2)
    return y + bias.reshape(1, -1, 1, 1)


def by_taps(
    x: Tensor, guide: Tensor, weight: Tensor, bias: Tensor, sigma: Tensor | None
) -> Tensor:
    """The form of this package."""
    return pixel_adaptive_conv2d(x, guide, weight, bias, sigma=sigma, padding=1)


FORMS: dict[str, Callable[..., Tensor]] = {'unfolded': unfolded, 'by_taps': by_taps}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def _seconds(runs: Sequence[Callable[[], Tensor]]) -> list[float]:
    """The best of some rounds for each, in turns: what the machine can when left alone."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def _peak_mb(form: str, *, per_filter: bool) -> float:
    """By how much a process of its own grows at most while one form runs."""
    arguments = [sys.executable, '-m', MODULE, form, str(int(per_filter))]
    told = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return float(told.stdout)


def grown_mb(form: str, inputs: Inputs) -> float:
    """Run a form once, so that libraries have their own buffers, and measure the second run."""
    torch.set_num_threads(1)
    before_kb = 0
    for _ in range(2):
        Path('/proc/self/clear_refs').write_text('5')  # forget the highest size so far
        before_kb = _highest_kb()
        with torch.inference_mode():
            FORMS[form](*inputs)
    return (_highest_kb() - before_kb) / 1024.0


def _highest_kb() -> int:
    (line,) = (
        line for line in Path('/proc/self/status').read_text().splitlines() if 'HWM' in line
    )
    return int(line.split()[1])


def _inputs(height: int, width: int, *, per_filter: bool) -> Inputs:
    torch.manual_seed(0)
    x = torch.randn(1, CHANNELS, height, width)
    guide = 0.2 * torch.randn(1, CHANNELS, height, width)
    weight, bias = torch.randn(CHANNELS, CHANNELS, 3, 3) / 24.0, torch.randn(CHANNELS)
    return x, guide, weight, bias, torch.rand(CHANNELS) + 0.5 if per_filter else None


@pytest.mark.parametrize('per_filter', [True, False], ids=['sigma of each filter', 'sigma 1'])
@torch.inference_mode()
def test_tap_by_tap_is_three_times_as_fast_and_lean(per_filter: bool) -> None:
    inputs = _inputs(HEIGHT, WIDTH, per_filter=per_filter)
    torch.testing.assert_close(by_taps(*inputs), unfolded(*inputs), rtol=0.0, atol=1e-5)
    with _threads(1):
        slow_s, fast_s = _seconds([partial(form, *inputs) for form in FORMS.values()])
    large_mb, small_mb = (_peak_mb(name, per_filter=per_filter) for name in FORMS)
    print(
        f'\n{CHANNELS} channels, {HEIGHT}x{WIDTH}: laid out {1e3 * slow_s:.0f} ms, '
        f'{large_mb:.0f} MB; by taps {1e3 * fast_s:.0f} ms, {small_mb:.0f} MB'
    )
    assert slow_s > 3.0 * fast_s
    assert large_mb > 3.0 * small_mb


if __name__ == '__main__':
    print(grown_mb(sys.argv[1], _inputs(HEIGHT, WIDTH, per_filter=sys.argv[2] == '1')))
