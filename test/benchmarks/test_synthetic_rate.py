# SPDX-License-Identifier: Apache-2.0
"""How many synthetic frames a second two CPU cores give.

Run `pytest test/benchmarks/test_synthetic_rate.py -s`; the ordinary test run leaves it out. The
work is fixed (the same 24 scenes of 640x192), and the median over rounds is printed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

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


def as_is(sample: Any) -> Any:
    return sample


def measure(benchmark: BenchmarkFixture, what: str, work: Callable[[], object]) -> None:
    benchmark.pedantic(work, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]  # theirs
    assert benchmark.stats is not None
    rate = FRAMES / statistics.median(benchmark.stats.stats.data)
    benchmark.extra_info['frames_per_s'] = rate
    print(f'\n{what}: median {rate:.1f} frames/s at 640x192 (asked: {ASKED_FRAMES_PER_S:.0f})')


@pytest.mark.parametrize('name', ['mixed', 'indoor', 'outdoor'])
@pytest.mark.usefixtures('two_threads')
def test_rate_of_one_process_with_two_threads(benchmark: BenchmarkFixture, name: str) -> None:
    dataset = scenes(name)
    measure(
        benchmark,
        f'{name}, one process, two threads',
        lambda: [dataset[index] for index in range(FRAMES)],
    )


@pytest.mark.parametrize('name', ['mixed', 'outdoor'])
def test_rate_of_two_workers(benchmark: BenchmarkFixture, name: str) -> None:
    loader: DataLoader[Sample] = DataLoader(
        scenes(name),  # type: ignore[arg-type]  # torch names a class where it needs two methods
        batch_size=None,
        num_workers=CORES,
        persistent_workers=True,
        collate_fn=as_is,
    )
    measure(benchmark, f'{name}, two workers of one thread', lambda: list(loader))


@pytest.mark.parametrize('name', ['mixed', 'indoor', 'outdoor'])
def test_processor_time_of_a_frame(benchmark: BenchmarkFixture, name: str) -> None:
    """Of one thread, whatever else runs on the machine."""
    dataset = scenes(name)
    spent: list[float] = []

    def work() -> None:
        start = time.process_time()
        for index in range(FRAMES):
            dataset[index]
        spent.append(time.process_time() - start)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measure(benchmark, f'{name}, one process, one thread', work)
    torch.set_num_threads(threads)
    median_ms = 1e3 * statistics.median(spent) / FRAMES
    benchmark.extra_info['processor_ms'] = median_ms
    print(f'{name}: median {median_ms:.1f} ms of processor time a frame')
