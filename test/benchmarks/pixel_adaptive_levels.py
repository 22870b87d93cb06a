# SPDX-License-Identifier: Apache-2.0
"""Pixel-adaptive convolution at every guided level of the two guided networks, at 192x640.

    python -m test.benchmarks.pixel_adaptive_levels

Beside the form that lays every window out stands an ordinary convolution of the same size: both
forms do its multiplications too, so that the ratio of laid out to ordinary is the most that any
form could gain. Sigma of each filter, one image, one thread; medians, in turns. Memory is by how
much a process of its own grows at most, the output included.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models import create_model
from depth_core.models.selfsup.pixel_adaptive import PixelAdaptiveConv2d
from test.benchmarks.test_pixel_adaptive import FORMS, Inputs, grown_mb

NETWORKS = ('semantic_resnet18', 'semantic_packnet')
SIZE = (192, 640)
ROUNDS = 9
MODULE = 'test.benchmarks.pixel_adaptive_levels'

Level = tuple[int, int, int, int, int]
"""Channels in and out and of the guide, height, width."""


def levels(name: str) -> list[Level]:
    """The guided levels of a network, as they run."""
    with torch.device('meta'):
        model = create_model(name, pretrained=False).eval()
    found: list[Level] = []

    def note(_: PixelAdaptiveConv2d, given: tuple[Tensor, ...], answer: Tensor) -> None:
        x, guide = given[:2]
        found.append((x.shape[1], answer.shape[1], guide.shape[1], *answer.shape[-2:]))

    for layer in model.modules():
        if isinstance(layer, PixelAdaptiveConv2d):
            layer.register_forward_hook(note)
    with torch.inference_mode():
        model(torch.zeros(1, 3, *SIZE, device='meta'))
    return found


def inputs_of(level: Level) -> Inputs:
    """Random numbers of the sizes of a level."""
    ins, outs, guides, height, width = level
    torch.manual_seed(0)
    x = torch.randn(1, ins, height, width)
    guide = torch.randn(1, guides, height, width) / guides**0.5
    weight = torch.randn(outs, ins, 3, 3) / (9 * ins) ** 0.5
    return x, guide, weight, torch.randn(outs), torch.rand(outs) + 0.5


def ordinary(
    x: Tensor, guide: Tensor, weight: Tensor, bias: Tensor, sigma: Tensor | None
) -> Tensor:
    """A convolution that no guide changes."""
    del guide, sigma
    return F.conv2d(x, weight, bias, padding=1)


@torch.inference_mode()
def median_ms(level: Level) -> list[float]:
    """Time of each form and of an ordinary convolution."""
    torch.set_num_threads(1)
    inputs = inputs_of(level)
    torch.testing.assert_close(
        FORMS['by_taps'](*inputs), FORMS['unfolded'](*inputs), rtol=0.0, atol=1e-4
    )
    runs: list[Callable[[], Tensor]] = [
        partial(form, *inputs) for form in (*FORMS.values(), ordinary)
    ]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


def peak_mb(form: str, level: Level) -> float:
    """By how much a process of its own grows at most while a form runs."""
    arguments = [sys.executable, '-m', MODULE, form, *map(str, level)]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print a table of each network."""
    for name in NETWORKS:
        print(f'\n{name} at {SIZE[0]}x{SIZE[1]}')
        print('| level | laid out | by taps | ordinary | faster | at most | memory | leaner |')
        print('|---|---|---|---|---|---|---|---|')
        total = [0.0, 0.0, 0.0]
        for level in levels(name):
            slow, fast, plain = median_ms(level)
            large, small = (peak_mb(form, level) for form in FORMS)
            total = [total[0] + slow, total[1] + fast, total[2] + plain]
            print(
                f'| {level[0]} to {level[1]}, {level[3]}x{level[4]} | {slow:.1f} ms | {fast:.1f} '
                f'| {plain:.1f} | {slow / fast:.1f} | {slow / plain:.1f} '
                f'| {large:.0f}, {small:.0f} MB | {large / max(small, 0.1):.1f} |',
                flush=True,
            )
        slow, fast, plain = total
        print(
            f'| all | {slow:.1f} ms | {fast:.1f} | {plain:.1f} | {slow / fast:.1f} '
            f'| {slow / plain:.1f} | | |'
        )


if __name__ == '__main__':
    if len(sys.argv) > 1:
        ins, outs, guides, height, width = map(int, sys.argv[2:])
        print(grown_mb(sys.argv[1], inputs_of((ins, outs, guides, height, width))))
    else:
        main()
