# SPDX-License-Identifier: Apache-2.0
"""How fast recordings are converted and scored, and in how much memory.

    python -m test.benchmarks.recordings --ray --drive DRIVE --json recordings.json

Scoring: frames a second of `--copies` copies of a bag by one worker and by two, on a pool and on
Ray, next to the bare predictor on the same images, with as many threads as a worker gives it.
`start` is what comes before two parts a worker are done, by the clock and in CPU time, which is
mostly the start of processes, one of which may begin when another has done a part; `steady` is
what comes after it, and `of_predictor` its ratio to the bare predictor. CPU time is that of all
processes below this one, Ray's own included. A worker reads, predicts and scores at the same time:
where three cores are free for each worker, its rate is that of the slowest of the three, else that
of all three together on the cores there are. `stages` is the CPU time of each, medians over the
images one after the other, and what these allow at best, in shares of the predictor's rate, on two
cores and on three.

Memory: the peak of a process that scores the bag once, and one that scores it `--times` times in a
row. Conversion: payload a second of `kitti_to_bag`, with compressed images and lidar, and with
projected truth. On a busy machine the CPU time says more than the clock; both are written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depth_core.data.bag.dataset import BagDataset
from depth_core.data.sample import known_camera, sample_to_score
from depth_core.evaluate.bags import BagRequest, evaluate_bags
from depth_core.evaluate.bags.executors import Execute, in_processes, in_this_process
from depth_core.evaluate.bags.part import open_model
from depth_core.evaluate.bags.ray_cluster import on_ray
from depth_core.evaluate.scoring import Scorer
from depth_core.metrics import PROTOCOLS
from depth_core.shipped import find_model
from depth_ros.kitti_to_bag.__main__ import main as kitti_to_bag

ROOT = Path(__file__).resolve().parents[2]
_MEMORY = """
import resource, sys
from pathlib import Path
from test.benchmarks.recordings import request_of, scored
import tempfile
for _ in range(int(sys.argv[3])):
    with tempfile.TemporaryDirectory() as folder:
        scored(Path(sys.argv[1]), request_of(sys.argv[2]), Path(folder))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    """Run the command."""
    options = _parser().parse_args()
    bag, request = options.bag, request_of(options.model)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        found['predictor'] = bare(bag, request)
        found['stages'] = stages(bag, request)
        for name in ('predictor', 'stages'):
            print(name, found[name], flush=True)
        bags = copies(bag, options.copies, work)
        executors: dict[str, Callable[[], Execute]] = {
            'one worker': lambda: in_this_process,
            'pool of 2': lambda: in_processes(2),
        }
        if options.ray:
            executors['ray, 2 workers'] = lambda: on_ray(2)
        for name, execute in executors.items():
            workers = 1 if name == 'one worker' else 2
            found[name] = rate(bags, request, work / name, execute(), workers)
            steady = found[name]['steady_images_per_s']
            found[name]['of_predictor'] = steady / found['predictor']['images_per_s']
            print(name, found[name], flush=True)
        found['peak_mib'] = {
            str(times): peak_mib(bag, options.model, times) for times in (1, options.times)
        }
        if options.drive is not None:
            for truth in ('none', 'velodyne'):
                found[f'kitti_to_bag, truth {truth}'] = converted(
                    options.drive, work / truth, truth
                )
    text = json.dumps(found, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(f'{text}\n', encoding='utf-8')


def request_of(model: str) -> BagRequest:
    """Every image, on one thread."""
    return BagRequest(
        model=find_model(model), protocol=PROTOCOLS['none'], backend=('onnxruntime',)
    )


def copies(bag: Path, number: int, folder: Path) -> list[Path]:
    """The bag some times, each a recording of its own."""
    bags = [folder / f'{bag.stem}_{place}{bag.suffix}' for place in range(number)]
    for copy in bags:
        (shutil.copytree if bag.is_dir() else shutil.copyfile)(bag, copy)
    return bags


def rate(
    bags: Sequence[Path], request: BagRequest, kept: Path, execute: Execute, workers: int
) -> dict[str, float]:
    """Images a second, over all of the time and without the start of the workers.

    Raises:
        ValueError: There are too few parts to tell.
    """
    done: list[tuple[float, float]] = []
    begun_s, begun_cpu_s = time.perf_counter(), _cpu_s()
    run = evaluate_bags(
        bags, request, kept=kept, execute=execute, pictures=0,
        on_part=lambda _done, _all: done.append((time.perf_counter(), _cpu_s())),
    )  # fmt: skip
    parts = len(done) - 1  # it is called once before the first
    first = 2 * workers
    if parts < 2 * first:
        message = f'{parts} parts are too few for {workers} workers; give more --copies.'
        raise ValueError(message)
    images = len(run.inference_s)  # others have no truth and are not predicted
    steady = images * (parts - first) / parts
    (start_s, start_cpu_s), (end_s, end_cpu_s) = done[first], done[-1]
    return {
        'images': images,
        'wall_s': end_s - begun_s,
        'images_per_s': images / (end_s - begun_s),
        'start_s': start_s - begun_s,
        'start_cpu_s': start_cpu_s - begun_cpu_s,
        'steady_images_per_s': steady / (end_s - start_s),
        'steady_cpu_ms': 1e3 * (end_cpu_s - start_cpu_s) / steady,
    }


def scored(bag: Path, request: BagRequest, kept: Path, execute: Execute = in_this_process) -> int:
    """Score a bag without pictures; return how many images it has."""
    run = evaluate_bags([bag], request, kept=kept, execute=execute, pictures=0)
    return run.evaluation.images


def bare(bag: Path, request: BagRequest) -> dict[str, float]:
    """The predictor alone, on images that are in memory."""
    dataset, predictor = BagDataset(bag), open_model(request)
    samples = [dataset[index] for index in range(len(dataset))]
    images = [
        (sample.image.numpy().transpose(1, 2, 0) * 255.0).round().astype('uint8')
        for sample in samples
    ]
    camera = known_camera(samples[0])
    predictor.predict(images[0], camera)
    with measured() as taken:
        for image in images:
            predictor.predict(image, camera)
    cpu_ms = 1e3 * taken['cpu_s'] / len(images)
    return taken | {'cpu_ms': cpu_ms, 'images_per_s': len(images) / taken['wall_s']}


def stages(bag: Path, request: BagRequest) -> dict[str, float]:
    """CPU time of reading, predicting and scoring an image, and the rates that they allow."""
    dataset, scorer = BagDataset(bag), Scorer(open_model(request), request.protocol)
    taken_s = []
    for index in filter(dataset.has_depth, range(len(dataset))):
        times_s = [time.thread_time()]
        view = scorer.look(sample_to_score(dataset, index), dataset.place(index))
        times_s.append(time.thread_time())
        answered = scorer.predict(view)
        times_s.append(time.thread_time())
        scorer.score(answered)
        taken_s.append(np.diff([*times_s, time.thread_time()]))
    read_ms, predict_ms, score_ms = (1e3 * np.median(taken_s, axis=0)).tolist()
    slowest_ms, all_ms = max(read_ms, predict_ms, score_ms), read_ms + predict_ms + score_ms
    return {
        'read_ms': read_ms,
        'predict_ms': predict_ms,
        'score_ms': score_ms,
        'at_best_on_2_cores': predict_ms / max(slowest_ms, all_ms / 2.0),
        'at_best_on_3_cores': predict_ms / max(slowest_ms, all_ms / 3.0),
    }


def converted(drive: Path, output: Path, truth: str) -> dict[str, float]:
    """Convert a drive; megabytes of the bag by the clock and by CPU time."""
    with measured() as taken:
        kitti_to_bag([str(drive), '--output', str(output), '--truth', truth])
    megabytes = sum(path.stat().st_size for path in output.iterdir()) / 1e6
    return taken | {
        'megabytes': megabytes,
        'mb_per_s': megabytes / taken['wall_s'],
        'mb_per_cpu_s': megabytes / taken['cpu_s'],
    }


def peak_mib(bag: Path, model: str, times: int) -> int:
    """Largest memory of a new process that scores a bag some times."""
    command = [sys.executable, '-c', _MEMORY, str(bag), model, str(times)]
    finished = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(finished.stdout.split()[-1])


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Give the seconds of a block, by the clock and of the CPUs, of ended children too."""
    taken: dict[str, float] = {}
    begun_s, cpu_s = time.perf_counter(), _cpu_s()
    yield taken
    taken |= {'wall_s': time.perf_counter() - begun_s, 'cpu_s': _cpu_s() - cpu_s}


def _cpu_s() -> float:
    """CPU time of this process and of all below it, those that have ended included."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # it has ended
            fields = stat.read_text().rpartition(')')[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            ticks[int(stat.parent.name)] = sum(map(int, fields[11:15]))  # own, and of ended ones
    own, found = {os.getpid()}, 0
    while len(own) > found:
        found = len(own)
        own |= {process for process, parent in parents.items() if parent in own}
    return sum(ticks[process] for process in own) / os.sysconf('SC_CLK_TCK')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    add = parser.add_argument
    add('--model', default='densedepth_small', help='shipped model or file')
    add('--bag', type=Path, default=ROOT / 'recordings/street', help='recording with truth')
    add('--copies', type=int, default=12, help='of the bag, to score')
    add('--drive', type=Path, help='drive of KITTI raw to convert; left out, none is')
    add('--times', type=int, default=4, help='for the memory: scored so often in one process')
    add('--ray', action='store_true', help='measure a local Ray cluster too')
    add('--json', type=Path, help='file to write the numbers to')
    return parser


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    main()
