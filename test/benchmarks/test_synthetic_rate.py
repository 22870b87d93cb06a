# SPDX-License-Identifier: Apache-2.0
"""How many synthetic frames a second two CPU cores give.

Run `pytest test/benchmarks/test_synthetic_rate.py -s`; the ordinary test run leaves it out. The
work is fixed (the same 24 scenes of 640x192), and the median over rounds is printed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.data import DataLoader

from depth_core.data.sample import Sample
from depth_core.data.synthetic import SyntheticDataset

FRAMES = 24
CORES = 2
ASKED_FRAMES_PER_S = 30.0


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch use two threads, as on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    yield
    torch.set_num_threads(before)


def scenes(name: str) -> SyntheticDataset:
    return SyntheticDataset(
        seed=1, length=FRAMES, height=192, width=640, scenes=name, camera='kitti'
    )


def as_is(sample: Sample) -> Sample:
    return sample


def report(benchmark: BenchmarkFixture, what: str) -> None:
    seconds = statistics.median(benchmark.stats.stats.data)
    rate = FRAMES / seconds
    benchmark.extra_info['frames_per_s'] = rate
    print(f'\n{what}: median {rate:.1f} frames/s at 640x192 (asked: {ASKED_FRAMES_PER_S:.0f})')


@pytest.mark.parametrize('name', ['mixed', 'indoor', 'outdoor'])
@pytest.mark.usefixtures('two_threads')
def test_rate_of_one_process_with_two_threads(benchmark: BenchmarkFixture, name: str) -> None:
    dataset = scenes(name)
    benchmark.pedantic(
        lambda: [dataset[index] for index in range(FRAMES)], rounds=5, warmup_rounds=1
    )
    report(benchmark, f'{name}, one process, two threads')


@pytest.mark.parametrize('name', ['mixed', 'outdoor'])
def test_rate_of_two_workers(benchmark: BenchmarkFixture, name: str) -> None:
    loader: DataLoader[Sample] = DataLoader(
        scenes(name),  # type: ignore[arg-type]  # torch names a class where it needs two methods
        batch_size=None,
        num_workers=CORES,
        persistent_workers=True,
        collate_fn=as_is,
    )
    benchmark.pedantic(lambda: list(loader), rounds=5, warmup_rounds=1)
    report(benchmark, f'{name}, two workers of one thread')
