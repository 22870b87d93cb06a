# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from depth_core.errors import BackendError, ConfigError, DepthError, ModelError
from depth_core.manifest import manifest_path, read_manifest, write_manifest
from depth_core.runtime import BACKENDS, Predictor, backends
from depth_core.runtime.backends import describe_backends
from depth_core.runtime.backends.onnxruntime import OnnxRuntimeBackend
from depth_core.runtime.engine import BuildCancelledError, EngineRefusedError
from test.standin import write_standin_onnx

pytestmark = pytest.mark.numeric

HAS_CUDA = 'CUDAExecutionProvider' in onnxruntime.get_available_providers()


@pytest.fixture(scope='module')
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin_onnx(tmp_path_factory.mktemp('model') / 'standin.onnx')


def test_importing_the_room_loads_no_runtime(repository: Path) -> None:
    code = (
        'import sys, depth_core.runtime\n'
        "heavy = {'torch', 'onnxruntime', 'openvino', 'onnx', 'timm', 'PIL'}\n"
        "heavy |= {'tensorrt', 'tensorrt_rtx', 'pycuda', 'cuda'}\n"
        'print(sorted(heavy & set(sys.modules)))'
    )
    found = subprocess.run(
        [sys.executable, '-c', code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == '[]'


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_backends_give_the_known_numbers(standin: Path, name: str) -> None:
    predictor = Predictor.open(standin, backend=name, strict=True, threads=1)
    assert predictor.backend == name
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, 48:] = (51, 102, 153)
    answer = predictor.predict(image, stamp_ns=7)
    assert (answer.backend, answer.stamp_ns) == (name, 7)
    assert answer.inference_s > 0.0
    np.testing.assert_allclose(answer.depth_m[:, :48], 2.0, rtol=1e-6)
    np.testing.assert_allclose(answer.depth_m[:, 48:], 6.0, rtol=1e-6)
    np.testing.assert_allclose(answer.sigma_m, 0.1 * answer.depth_m, rtol=1e-6)


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_a_model_may_have_a_name_that_is_no_text(standin: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / os.fsdecode(b'caf\xe9.onnx')
    path.write_bytes(standin.read_bytes())
    assert Predictor.open(path, backend=name, threads=1).backend == name


def test_left_alone_the_fastest_is_taken_silently(
    standin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert Predictor.open(standin).backend == 'openvino'
    assert caplog.messages == []
    assert Predictor.open(standin, backend='auto').backend == 'openvino'


@pytest.mark.skipif(HAS_CUDA, reason='here the CUDA provider would run')
def test_the_chain_is_followed_and_the_reason_logged(
    standin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        predictor = Predictor.open(standin, backend=('onnxruntime-cuda', 'onnxruntime'))
    assert predictor.backend == 'onnxruntime'
    (message,) = caplog.messages
    assert 'onnxruntime-cuda is passed over' in message
    assert 'CUDAExecutionProvider' in message


@pytest.mark.skipif(HAS_CUDA, reason='here the CUDA provider would run')
def test_strict_forbids_the_next(standin: Path) -> None:
    with pytest.raises(BackendError, match='strict forbids another: onnxruntime-cuda'):
        Predictor.open(standin, backend=('onnxruntime-cuda', 'onnxruntime'), strict=True)


def test_a_backend_that_opens_and_cannot_compute_is_passed_over(
    standin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: OnnxRuntimeBackend, __: object) -> None:
        message = 'onnxruntime failed while computing: out of memory.'
        raise BackendError(message)

    monkeypatch.setattr(OnnxRuntimeBackend, 'run', run)
    predictor = Predictor.open(standin, backend=('onnxruntime', 'openvino'), threads=1)
    assert predictor.backend == 'openvino'
    ((name, why),) = predictor.passed_over
    assert (name, 'out of memory' in why) == ('onnxruntime', True)


@pytest.mark.parametrize('chain', [None, 'auto'])
def test_strict_without_a_name_is_refused_with_the_names(standin: Path, chain: str | None) -> None:
    with pytest.raises(ConfigError, match=r'name the one to use \(tensorrt, .*onnxruntime'):
        Predictor.open(standin, backend=chain, strict=True)


@pytest.mark.skipif(HAS_CUDA, reason='here the CUDA provider would run')
@pytest.mark.filterwarnings('ignore:Specified provider:UserWarning')
def test_a_provider_that_falls_back_on_its_own_is_refused(
    standin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As ONNX Runtime built with CUDA on a machine without: only the session shows it.
    available = ['CUDAExecutionProvider', 'CPUExecutionProvider']
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: available)
    with pytest.raises(BackendError, match='CPUExecutionProvider would compute'):
        Predictor.open(standin, backend='onnxruntime-cuda')


@pytest.mark.parametrize(
    ('options', 'error', 'words'),
    [
        ({'backend': 'opnvino'}, BackendError, ("did you mean 'openvino'", 'onnxruntime-cuda')),
        ({'backend': ('openvino', 'x')}, BackendError, ("unknown backend 'x'",)),
        ({'backend': ()}, ConfigError, ('empty',)),
        ({'backend': 'torch'}, BackendError, ('runs .ckpt files, not .onnx',)),
        ({'precision': 'fp64'}, ConfigError, ("unknown precision 'fp64'", 'fp32')),
        ({'threads': 0}, ConfigError, ('threads is 0',)),
        (
            {'backend': 'onnxruntime', 'precision': 'fp16'},
            BackendError,
            ('fp32 or int8, not fp16',),
        ),
    ],
)
def test_what_cannot_be_is_refused(
    standin: Path, options: dict[str, Any], error: type[DepthError], words: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        Predictor.open(standin, **options)
    for word in words:
        assert word in str(caught.value)


def test_a_precision_the_processor_lacks_is_refused_not_replaced(standin: Path) -> None:
    able = openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    for precision, capability in (('fp16', 'FP16'), ('bf16', 'BF16')):
        if capability in able:
            opened = Predictor.open(standin, backend='openvino', precision=precision)  # type: ignore[arg-type]  # mypy widens the literal
            assert opened.precision == precision
        else:
            with pytest.raises(BackendError, match=f'does not compute in {precision}'):
                Predictor.open(standin, backend='openvino', precision=precision)  # type: ignore[arg-type]  # as above


def test_openvino_computes_in_fp32_unless_asked(standin: Path) -> None:
    image = np.full((64, 96, 3), 77, np.uint8)
    exact = 2.0 + 10.0 * 77 / 255
    answer = Predictor.open(standin, backend='openvino').predict(image)
    np.testing.assert_allclose(answer.depth_m, exact, rtol=1e-6)  # bf16 would be off by 1e-3


@pytest.mark.parametrize('name', BACKENDS)
def test_a_row_of_the_table_is_complete(name: str) -> None:
    entry = BACKENDS[name]
    module, _, kind = entry.implementation.partition(':')
    source = Path(backends.__file__).with_name(f'{module}.py').read_text(encoding='utf-8')
    assert f'class {kind}' in source
    assert 'pip install' in entry.install
    assert f'{name} ({entry.summary}, {" ".join(entry.suffixes)})' in describe_backends()


def test_no_other_file_names_a_backend_of_the_table() -> None:
    folder = Path(backends.__file__).parent
    quoted = re.compile('|'.join(rf"'{re.escape(name)}'" for name in BACKENDS))
    # The engine room calls the two kinds of TensorRT by the same names.
    own = {folder, folder.with_name('engine')}
    others = [path for path in folder.parent.rglob('*.py') if path.parent not in own]
    assert others
    assert [str(path) for path in others if quoted.search(path.read_text())] == []


def test_a_row_is_all_that_a_backend_needs(standin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = dataclasses.replace(BACKENDS['onnxruntime'], summary='a stand-in', any_size=True)
    monkeypatch.setattr(backends, 'BACKENDS', {'another': row})
    assert backends.default_chain(standin) == ('another',)
    name, opened, *_ = backends.open_backend(backends.BackendRequest(path=standin), ('auto',))
    assert (name, type(opened).__name__) == ('another', 'OnnxRuntimeBackend')
    assert backends.describe_backends() == 'another (a stand-in, .onnx)'


class GivenUp:
    """A backend whose engine the caller gives up."""

    def __init__(self, _request: backends.BackendRequest) -> None:
        message = 'given up'
        raise BuildCancelledError(message)


def test_after_a_build_that_was_given_up_no_other_backend_is_tried(
    standin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = dataclasses.replace(BACKENDS['onnxruntime'], implementation='given_up:GivenUp')
    monkeypatch.setitem(sys.modules, f'{backends.__name__}.given_up', sys.modules[__name__])
    monkeypatch.setattr(backends, 'BACKENDS', {'slow': row, **BACKENDS})
    with pytest.raises(BuildCancelledError):
        Predictor.open(standin, backend=('slow', 'onnxruntime'))


class Refused:
    """A backend whose engine does not answer as its graph."""

    def __init__(self, _request: backends.BackendRequest) -> None:
        message = 'depth differs by 0.5'
        raise EngineRefusedError(message)


def test_an_engine_that_is_wrong_is_a_warning_even_where_nobody_asked_for_it(
    standin: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = dataclasses.replace(BACKENDS['onnxruntime'], implementation='refused:Refused')
    monkeypatch.setitem(sys.modules, f'{backends.__name__}.refused', sys.modules[__name__])
    rows = {'wrong': row, 'onnxruntime': BACKENDS['onnxruntime']}
    monkeypatch.setattr(backends, 'BACKENDS', rows)
    with caplog.at_level(logging.WARNING):
        assert Predictor.open(standin).backend == 'onnxruntime'
    assert 'wrong is passed over' in caplog.text
    assert 'depth differs by 0.5' in caplog.text


def test_the_reasons_of_those_passed_over_are_known(standin: Path) -> None:
    predictor = Predictor.open(standin, backend=('torch', 'torch-cuda', 'onnxruntime'))
    assert [name for name, _ in predictor.passed_over] == ['torch', 'torch-cuda']
    assert 'runs .ckpt files, not .onnx' in predictor.passed_over[0][1]
    assert predictor.engine is None
    assert Predictor.open(standin, backend='onnxruntime').passed_over == ()


def test_an_absent_runtime_is_answered_with_what_installs_it(
    standin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = dataclasses.replace(BACKENDS['openvino'], implementation='absent:AbsentBackend')
    monkeypatch.setattr(backends, 'BACKENDS', {'openvino': row})
    with pytest.raises(BackendError, match=r'is not installed .* pip install') as caught:
        Predictor.open(standin, backend='openvino')
    assert "'depth_ros[openvino]'" in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('a.pt', "a.pt ends in '.pt'; models that can be run end in .ckpt or .onnx"),
        ('model', 'model has no ending; models that can be run end in .ckpt or .onnx'),
    ],
)
def test_other_files_are_no_models(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b'x')
    with pytest.raises(ConfigError, match=re.escape(words)):
        Predictor.open(tmp_path / name)


def test_a_checkpoint_for_a_backend_of_graphs_is_answered_with_both_ways(tmp_path: Path) -> None:
    (tmp_path / 'a.ckpt').write_bytes(b'x')
    with pytest.raises(
        BackendError, match=r'torch-cuda, torch, torch-compiled.* depth_core\.export'
    ):
        Predictor.open(tmp_path / 'a.ckpt', backend='openvino')


def test_a_graph_with_a_broken_middle_is_one_clear_error(standin: Path, tmp_path: Path) -> None:
    content = bytearray(standin.read_bytes())
    middle = content.index(b'ReduceMean')
    content[middle - 40 : middle + 10] = bytes(50)
    path = tmp_path / 'broken.onnx'
    path.write_bytes(content)
    # The inputs are read before a runtime is asked, which need not see the damage.
    with pytest.raises(DepthError, match=r'broken\.onnx .* is not a whole ONNX file: .* again'):
        Predictor.open(path)


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ('width', ('[1, 64, 96, 3]', '[1, 64, 100, 3]')),
        ('input', ("takes 'image' uint8", "says 'picture' uint8")),
        ('dtype', ("'image' uint8 [1, 64, 96, 3]", "'image' float32 [1, 3, 64, 96]")),
        ('depth', ("gives 'depth' float32 [1, 64, 96]", "depth.output is 'distance'")),
        ('sigma', ("confidence.output is 'spread'",)),
    ],
)
def test_a_graph_that_is_not_its_manifest_names_both(
    standin: Path, tmp_path: Path, name: str, change: str, words: tuple[str, ...]
) -> None:
    path = with_manifest(standin, tmp_path, change)
    with pytest.raises(ModelError, match='is not what its manifest describes') as caught:
        Predictor.open(path, backend=name)
    for word in words:
        assert word in str(caught.value)


def with_manifest(standin: Path, folder: Path, change: str) -> Path:
    """The stand-in, with a manifest beside it that is wrong in one place."""
    model = onnx.load(standin)
    del model.metadata_props[:]
    onnx.save(model, folder / 'a.onnx')
    manifest = read_manifest(standin)
    spec, output = manifest.input, manifest.output
    fields: dict[str, dict[str, Any]] = {
        'width': {'input': dataclasses.replace(spec, width=100)},
        'input': {'input': dataclasses.replace(spec, name='picture')},
        'dtype': {'input': dataclasses.replace(spec, dtype='float32', layout='NCHW')},
        'depth': {'output': dataclasses.replace(output, depth='distance')},
        'sigma': {'output': dataclasses.replace(output, sigma='spread')},
    }
    write_manifest(
        manifest_path(folder / 'a.onnx'), dataclasses.replace(manifest, **fields[change])
    )
    return folder / 'a.onnx'


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_signals_are_handled_after_predictors_have_come_and_gone(
    standin: Path, name: str, repository: Path
) -> None:
    program = (
        'import os, signal, sys\n'
        'from depth_core.runtime import Predictor\n'
        'signal.signal(signal.SIGUSR1, lambda number, frame: print("handled"))\n'
        'first, second = (Predictor.open(sys.argv[1], backend=sys.argv[2]) for _ in range(2))\n'
        'del first\n'
        'del second\n'
        'os.kill(os.getpid(), signal.SIGUSR1)\n'
    )
    finished = subprocess.run(
        [sys.executable, '-c', program, standin, name],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ['handled']
