# SPDX-License-Identifier: Apache-2.0
"""The choice between runtimes of the processor, on a clock that the runtimes themselves move."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import DepthKind, Float32Array, InputSpec, OutputSpec
from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime import Predictor
from depth_core.runtime.backends import BackendRequest, fastest
from depth_core.runtime.engine.options import EngineOptions
from test.standin import write_standin_onnx

RIVALS = {'slow': ('numpy',), 'quick': ('numpy',)}
MANIFEST = Manifest(
    name='timed',
    input=InputSpec(height=2, width=3),
    output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0, sigma=None),
)


@dataclass
class Machine:
    """Runtimes that take a stated time for a batch, by name and threads."""

    takes_s: Mapping[tuple[str, int | None], float]
    now_s: float = 0.0
    opened: list[tuple[str, int | None]] = field(default_factory=list)
    fails: str = ''
    alive: WeakSet[Timed] = field(default_factory=WeakSet)
    most_alive: int = 0

    def perf_counter(self) -> float:
        return self.now_s

    def open_named(self, name: str, request: BackendRequest) -> Timed:
        self.opened.append((name, request.threads))
        if (name, request.threads) not in self.takes_s:
            message = f'{name} is not installed'
            raise BackendError(message)
        backend = Timed(self, name, request.threads)
        self.alive.add(backend)
        self.most_alive = max(self.most_alive, len(self.alive))
        return backend


@dataclass(eq=False)
class Timed:
    machine: Machine
    name: str
    threads: int | None
    manifest: Manifest = MANIFEST

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        if self.name == self.machine.fails:
            message = 'out of memory'
            raise BackendError(message)
        self.machine.now_s += self.machine.takes_s[self.name, self.threads]
        return np.zeros(images.shape[:3], np.float32), None


@pytest.fixture
def request_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackendRequest:
    monkeypatch.setenv(fastest.SWITCH, '1')
    monkeypatch.setattr(fastest, 'usable_cpus', lambda: 4)
    path = write_standin_onnx(tmp_path / 'standin.onnx')
    return BackendRequest(path=path, engine=EngineOptions(cache_dir=tmp_path / 'cache'))


def order(
    machine: Machine, request: BackendRequest, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, int | None]]:
    monkeypatch.setattr(fastest, 'time', machine)
    tried = fastest.fastest_first(RIVALS, request, machine.open_named)
    return [(name, wanted.threads) for name, wanted in tried]


@pytest.mark.parametrize(
    ('half_s', 'threads'),
    [(0.020, None), (0.0096, None), (0.0094, 2)],  # half of the cores have to be worth it
)
def test_the_fastest_comes_first_with_the_threads_it_wants(
    request_here: BackendRequest,
    monkeypatch: pytest.MonkeyPatch,
    half_s: float,
    threads: int | None,
) -> None:
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010, ('quick', 2): half_s})
    assert order(machine, request_here, monkeypatch) == [('quick', threads), ('slow', None)]


def test_threads_that_were_asked_for_are_kept(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine({('slow', 3): 0.011, ('quick', 3): 0.010})
    wanted = replace(request_here, threads=3)
    assert order(machine, wanted, monkeypatch) == [('quick', 3), ('slow', 3)]
    assert machine.opened == [('slow', 3), ('quick', 3)]


def test_no_more_than_two_are_open_at_a_time(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010, ('quick', 2): 0.004})
    order(machine, request_here, monkeypatch)
    assert len(machine.opened) == 3
    assert machine.most_alive == 2
    assert not machine.alive, 'the memory of the fastest is free before it is opened to be used'


def test_the_choice_is_remembered_and_told(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010, ('quick', 2): 0.004})
    with caplog.at_level(logging.INFO, 'depth_core'):
        first = order(machine, request_here, monkeypatch)
    text = caplog.text
    assert 'measuring which of slow, quick is the fastest' in text
    assert 'slow 11.0 ms, quick 10.0 ms, quick on 2 threads 4.0 ms' in text
    machine.opened.clear()
    assert order(machine, request_here, monkeypatch) == first == [('quick', 2), ('slow', None)]
    assert machine.opened == [], 'nothing is opened for what is known'
    other = write_standin_onnx(request_here.path.with_name('other.onnx'), max_depth=20.0)
    order(machine, replace(request_here, path=other), monkeypatch)
    assert machine.opened, 'another graph is measured anew'


@pytest.mark.parametrize(
    'content', ['{"cut": ', '[]', '\x00', '{"KEY": {"backend": 7}}', '{"KEY": []}',
                '{"KEY": {"backend": "quick", "threads": 0}}']
)  # fmt: skip
def test_what_is_remembered_wrongly_is_measured_anew(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010, ('quick', 2): 0.02})
    order(machine, request_here, monkeypatch)
    assert request_here.engine.cache_dir is not None
    file = request_here.engine.cache_dir / 'fastest.json'
    (key,) = json.loads(file.read_text(encoding='utf-8'))
    file.write_text(content.replace('KEY', key), encoding='utf-8')
    machine.opened.clear()
    assert order(machine, request_here, monkeypatch)[0] == ('quick', None)
    assert machine.opened
    assert json.loads(file.read_text(encoding='utf-8'))[key]['backend'] == 'quick'


def test_only_the_last_ones_are_remembered(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert request_here.engine.cache_dir is not None
    file = request_here.engine.cache_dir / 'fastest.json'
    request_here.engine.cache_dir.mkdir(mode=0o700)
    file.write_text(json.dumps({str(number): {} for number in range(64)}), encoding='utf-8')
    file.chmod(0o600)
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010, ('quick', 2): 0.02})
    order(machine, request_here, monkeypatch)
    kept = json.loads(file.read_text(encoding='utf-8'))
    assert len(kept) == 64
    assert '0' not in kept
    assert '63' in kept


def test_a_folder_that_cannot_be_used_is_no_obstacle(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('', encoding='utf-8')
    nowhere = replace(request_here, engine=EngineOptions(cache_dir=tmp_path / 'file' / 'cache'))
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010, ('quick', 2): 0.02})
    assert order(machine, nowhere, monkeypatch)[0] == ('quick', None)


def test_without_a_choice_the_table_decides(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_named = [('slow', None), ('quick', None)]
    assert order(Machine({}), request_here, monkeypatch) == as_named
    on_gpu = Machine({})
    assert order(on_gpu, replace(request_here, device='GPU.0'), monkeypatch) != []
    assert on_gpu.opened == []
    monkeypatch.setenv(fastest.SWITCH, '0')
    off = Machine({('slow', None): 0.011, ('quick', None): 0.010})
    assert order(off, request_here, monkeypatch) == as_named
    assert off.opened == []


@pytest.mark.parametrize(('fails', 'left'), [('slow', 'quick'), ('quick', 'slow')])
def test_a_backend_that_opens_and_cannot_compute_comes_last(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch, fails: str, left: str
) -> None:
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010, (left, 2): 1.0}, fails=fails)
    assert order(machine, request_here, monkeypatch) == [(left, None), (fails, None)]


def test_half_of_the_cores_that_fail_leave_the_first_comparison(
    request_here: BackendRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine({('slow', None): 0.011, ('quick', None): 0.010})
    assert order(machine, request_here, monkeypatch) == [('quick', None), ('slow', None)]


def test_real_runtimes_are_measured_when_none_is_named(
    request_here: BackendRequest, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, 'depth_core'):
        first = Predictor.open(request_here.path, engine=request_here.engine)
        second = Predictor.open(request_here.path, engine=request_here.engine)
    assert first.backend in {'openvino', 'onnxruntime'}
    assert second.backend == first.backend
    assert caplog.text.count('measuring which of openvino, onnxruntime') == 1
    assert caplog.text.count('was the fastest') == 1
