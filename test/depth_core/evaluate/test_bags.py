# SPDX-License-Identifier: Apache-2.0
"""Recordings scored part by part: their numbers, and what becomes of workers that die."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_core.contracts import DepthMap, Intrinsics, Uint8Array
from depth_core.data import open_dataset
from depth_core.errors import ConfigError, DataError, DepthError
from depth_core.evaluate import ReportContext, evaluate_dataset, write_report
from depth_core.evaluate.__main__ import main as evaluate_command
from depth_core.evaluate.bags import BagRequest, evaluate_bags
from depth_core.evaluate.bags.executors import Outcome, in_processes, in_this_process
from depth_core.evaluate.bags.part import evaluate_part, score_part
from depth_core.evaluate.bags.ray_cluster import on_ray
from depth_core.evaluate.bags.request import Part, plan
from depth_core.evaluate.run import Run
from depth_core.metrics import PROTOCOLS, MetricAccumulator, Totals
from depth_core.metrics.totals import BASELINE_VALUES
from depth_core.runtime import Predictor
from test.depth_core.data.bag.mcap_files import Layout, Message
from test.depth_core.data.bag.mcap_files import write as write_mcap
from test.depth_core.data.bag.recording import (
    BOTH_FRAMES,
    CLOUD,
    F_PX,
    HEIGHT,
    IMAGE,
    INFO,
    START_NS,
    STEP_NS,
    STORE,
    WIDTH,
    Recording,
    camera_info,
    cloud,
    lidar_points,
    pixels_of,
    raw_image,
    record,
    transforms,
)
from test.standin import NEAREST_M, SPAN_M, write_standin_onnx

CONTEXT = ReportContext(
    command='c', model='m', model_sha256='0', manifest=None, dataset='bag', data='b', split=None,
    limit=None,
)  # fmt: skip


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('model') / 'standin.onnx'
    return write_standin_onnx(path, height=HEIGHT, width=WIDTH)


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images; the first and the last have scans."""
    return Path(record().write(tmp_path_factory.mktemp('bag') / 'b'))


needs_ray = pytest.mark.skipif(
    importlib.util.find_spec('ray') is None, reason='ray is an optional extra'
)


def requested(model: Path, **options: Any) -> BagRequest:
    return BagRequest(
        model=model, protocol=PROTOCOLS['none'], backend=('onnxruntime',), part_frames=1, **options
    )


def answer_m(frame: int, column: int, row: int) -> float:
    """What the stand-in says of a pixel, by its definition."""
    return NEAREST_M + SPAN_M * float(pixels_of(frame)[row, column].mean()) / 255.0


def report_of(folder: Path, run: Run) -> bytes:
    write_report(folder, run, CONTEXT)
    return (folder / 'metrics.json').read_bytes()


def test_the_numbers_are_those_of_the_lidar(model: Path, bag: Path, tmp_path: Path) -> None:
    run = evaluate_bags([bag], requested(model), kept=tmp_path / 'kept')
    assert (run.evaluation.images, run.evaluation.images_scored) == (3, 2)
    errors = [
        np.mean([abs(answer_m(frame, *pixel) - true_m) / true_m for pixel, true_m in seen])
        for frame in (0, 2)
        for seen in [(((4, 3), 5.0 + frame), ((15, 8), 20.0))]
    ]
    assert run.evaluation.mean is not None
    assert run.evaluation.mean.abs_rel == pytest.approx(np.mean(errors), rel=1e-5)
    assert run.frame_abs_rel == pytest.approx(errors, rel=1e-5)
    (recording,) = run.recordings
    assert not recording.is_partial
    logs = [
        np.mean([np.log(answer_m(f, 4, 3) / (5.0 + f)), np.log(answer_m(f, 15, 8) / 20.0)])
        for f in (0, 2)
    ]
    assert recording.flicker == pytest.approx(abs(logs[1] - logs[0]), rel=1e-4)
    # The same engine as of any data set, number by number.
    predictor = Predictor.open(model, backend='onnxruntime', threads=1)
    other = evaluate_dataset(predictor, open_dataset('bag', root=bag), protocol=PROTOCOLS['none'])
    assert other.evaluation == run.evaluation


class Seen:
    """A predictor that keeps the cameras it is given."""

    def __init__(self, model: Path) -> None:
        self.predictor = Predictor.open(model, backend='onnxruntime', threads=1)
        self.focals_px: list[float] = []

    def predict(self, image: Uint8Array, intrinsics: Intrinsics | None = None) -> DepthMap:
        assert intrinsics is not None
        self.focals_px.append(intrinsics.fx_px)
        return self.predictor.predict(image, intrinsics)


def test_cameras_are_those_of_the_recording_to_the_last_bit(model: Path, tmp_path: Path) -> None:
    """As the node has them: float32 would move every depth that goes by the focal length."""
    f_px = F_PX + 0.1
    bag = record(info=camera_info(START_NS, f_px=f_px)).write(tmp_path / 'b')
    seen, request = Seen(model), requested(model)
    for part in plan(bag, request).parts:
        score_part(request, part, seen)
    evaluate_dataset(seen, open_dataset('bag', root=bag), protocol=PROTOCOLS['none'])
    assert float(np.float32(f_px)) != f_px
    assert seen.focals_px == [f_px] * 5, 'two images have scans; the data set predicts all three'


def test_a_second_run_computes_nothing_again_and_says_the_same(
    model: Path, bag: Path, tmp_path: Path
) -> None:
    request = requested(model)
    parts = plan(bag, request).parts
    assert len(parts) == 3
    assert [part.start_ns for part in parts[1:]] == [part.stop_ns for part in parts[:-1]]

    def loses_its_workers(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
        yield parts[0], evaluate_part(request, parts[0])
        message = 'the workers are gone'
        raise DepthError(message)

    kept = tmp_path / 'kept'
    first = evaluate_bags([bag], request, kept=kept, execute=loses_its_workers)
    assert first.recordings[0].is_partial
    assert (first.recordings[0].parts_done, first.recordings[0].parts) == (1, 3)
    assert first.recordings[0].error == 'the workers are gone'
    page = write_report(tmp_path / 'partial', first, CONTEXT).read_text(encoding='utf-8')
    assert 'These numbers are partial' in page
    assert json.loads((tmp_path / 'partial/metrics.json').read_text())['is_partial'] is True

    computed: list[Part] = []

    def counted(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
        computed.extend(parts)
        return in_this_process(request, parts)

    second = evaluate_bags([bag], request, kept=kept, execute=counted)
    assert [part.number for part in computed] == [1, 2]
    third = evaluate_bags([bag], request, kept=kept, execute=counted)
    assert len(computed) == 2
    assert report_of(tmp_path / 'a', second) == report_of(tmp_path / 'b', third)


def dies_once(request: BagRequest, part: Part) -> bytes:
    """Kill the worker at the second part, the first time."""
    mark = Path(os.environ['TEST_BAGS_MARK'])
    if part.number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate_part(request, part)


def test_a_killed_worker_loses_nothing(
    model: Path, bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TEST_BAGS_MARK', str(tmp_path / 'died'))
    request = requested(model)
    alone = evaluate_bags([bag], request, kept=tmp_path / 'alone')
    together = evaluate_bags(
        [bag], request, kept=tmp_path / 'together', execute=in_processes(2, dies_once)
    )
    assert (tmp_path / 'died').exists()
    assert report_of(tmp_path / 'a', together) == report_of(tmp_path / 'b', alone)
    assert (tmp_path / 'a/frames.csv').read_bytes() == (tmp_path / 'b/frames.csv').read_bytes()


@needs_ray
def test_a_ray_cluster_says_the_same_and_stays_on_this_machine(
    model: Path, bag: Path, tmp_path: Path
) -> None:
    request = requested(model)
    alone = evaluate_bags([bag], request, kept=tmp_path / 'alone')
    addresses = []

    def note_address(done: int, _all: int) -> None:
        if done:
            addresses.append(importlib.import_module('ray').util.get_node_ip_address())

    cluster = evaluate_bags(
        [bag], request, kept=tmp_path / 'ray', execute=on_ray(2), on_part=note_address
    )
    assert set(addresses) == {'127.0.0.1'}  # of any other, Ray listens on all interfaces
    assert report_of(tmp_path / 'a', cluster) == report_of(tmp_path / 'b', alone)


@needs_ray
def test_a_ray_cluster_that_cannot_be_reached_is_said(
    model: Path, bag: Path, tmp_path: Path
) -> None:
    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{unused.getsockname()[1]}'
        with pytest.raises(DataError, match=f'cluster at {address} cannot be reached .*refused'):
            evaluate_bags([bag], requested(model), kept=tmp_path, execute=on_ray(1, address))
    with pytest.raises(ConfigError, match="ray_address is 'head'; give host:port"):
        evaluate_bags([bag], requested(model), kept=tmp_path, execute=on_ray(1, 'head'))


def serialized() -> list[Message]:
    """The messages of the same recording."""
    return [
        Message(topic, item.__msgtype__, ns, bytes(STORE.serialize_cdr(item, item.__msgtype__)))
        for topic, ns, item in record().messages
    ]


@pytest.fixture(scope='module')
def chunks(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[tuple[int, int]]]:
    """The recording as three chunks: file, and where each ends with how many messages."""
    path = tmp_path_factory.mktemp('chunks') / 'b.mcap'
    ends = write_mcap(path, serialized(), Layout('zstd', per_chunk=3))
    return path.read_bytes(), ends


def test_a_damaged_recording_does_not_stop_the_others(
    model: Path, bag: Path, chunks: tuple[bytes, list[tuple[int, int]]], tmp_path: Path
) -> None:
    damaged = tmp_path / 'damaged.mcap'
    content, ends = chunks
    (third, _) = ends[3]
    damaged.write_bytes(content[: third - 9] + bytes(9) + content[third:])
    run = evaluate_bags([damaged, bag], requested(model), kept=tmp_path / 'kept')
    assert run.recordings[0].is_partial
    assert 'mcap recover' in str(run.recordings[0].error)
    assert not run.recordings[1].is_partial
    page = write_report(tmp_path / 'two', run, CONTEXT).read_text(encoding='utf-8')
    assert '<h1>m on 2 recordings</h1>' in page

    def backwards(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
        return in_this_process(request, parts[::-1])

    other = evaluate_bags(
        [damaged, bag], requested(model), kept=tmp_path / 'other', execute=backwards
    )
    assert other.recordings == run.recordings, 'whichever part came first'


def test_what_stands_before_a_cut_is_scored_and_marked(
    model: Path, chunks: tuple[bytes, list[tuple[int, int]]], tmp_path: Path
) -> None:
    content, ends = chunks
    (third, _) = ends[3]
    cut, shorter = tmp_path / 'cut.mcap', tmp_path / 'shorter.mcap'
    cut.write_bytes(content[: third - 1])
    write_mcap(shorter, serialized()[:6], Layout(''))
    request = requested(model)
    run = evaluate_bags([cut], request, kept=tmp_path / 'kept')
    assert run.evaluation == evaluate_bags([shorter], request, kept=tmp_path / 'kept').evaluation
    assert (run.evaluation.images, run.evaluation.images_scored) == (2, 1)
    (recording,) = run.recordings
    assert recording.is_partial
    assert recording.parts_done == recording.parts
    said = f'Of its {third - 1} bytes the first '
    assert said in str(recording.error)
    page = write_report(tmp_path / 'page', run, CONTEXT).read_text(encoding='utf-8')
    assert 'These numbers are partial' in page
    assert said in page
    given = f'--onnx {model} --data {cut} --protocol none --backend onnxruntime --output'
    with pytest.raises(DataError, match='the report is marked partial'):
        evaluate_command([*given.split(), str(tmp_path / 'alone')])
    metrics = json.loads((tmp_path / 'alone/metrics.json').read_text())
    assert metrics['is_partial'] is True
    assert said in metrics['recordings'][0]['error']
    assert metrics['counts']['images'] == 2


def test_a_recording_that_is_not_there_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'there is no bag .*gone; give a rosbag2 folder'):
        evaluate_bags([tmp_path / 'gone'], requested(model), kept=tmp_path / 'kept')


BEHIND = transforms(
    ('velo', 'optical', (0.3, 0.1, -0.2), (0.5, 0.5, -0.5, -0.5)),  # it looks the other way
)


def lidar_bag(path: Path, *, clock_ns: int = 0, unit: float = 1.0, tf: Any = BOTH_FRAMES) -> Path:
    """Two images with scans whose clock, unit or place is another."""
    recording = Recording()
    recording.add('/tf_static', START_NS, tf)
    for frame in range(2):
        stamp_ns = START_NS + frame * STEP_NS
        recording.add(IMAGE, stamp_ns, raw_image(stamp_ns, pixels_of(frame)))
        recording.add(INFO, stamp_ns, camera_info(stamp_ns))
        points = unit * lidar_points((4.0, 3.0, 5.0), (15.0, 8.0, 20.0))
        recording.add(CLOUD, stamp_ns, cloud(stamp_ns + clock_ns, points))
    return Path(recording.write(path))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'clock_ns': 37 * 10**9}, 'stamped 36.900 s apart: camera and this topic have different'),
        ({'unit': 1000.0}, 'seems to hold millimetres'),
        ({'tf': BEHIND}, 'none of their points lies in an image: look at /tf_static'),
    ],
)
def test_what_makes_truth_useless_is_said(
    changes: dict[str, Any], words: str, model: Path, tmp_path: Path
) -> None:
    path = lidar_bag(tmp_path / 'b', **changes)
    with pytest.raises(DataError, match=words):
        evaluate_bags([path], requested(model), kept=tmp_path / 'kept')


def test_memory_does_not_grow_with_the_images() -> None:
    accumulator = MetricAccumulator()
    target = np.linspace(1.0, 9.0, 4096, dtype=np.float32).reshape(64, 64)
    score = accumulator.update(target * np.float32(1.1), target)
    sums = Totals(PROTOCOLS['none'])
    for _ in range(600):
        sums.add(score)
    assert sum(kept.size for kept in sums._baseline.targets) <= BASELINE_VALUES
    result = sums.result()
    assert result.mean is not None
    assert result.mean.abs_rel == pytest.approx(0.1, rel=1e-4)
    # The constant of least error, 1/t weighed: half of the mass of ln t lies below it.
    assert result.constant_depth_m == pytest.approx(3.0, rel=0.01)
