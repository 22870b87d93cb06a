# SPDX-License-Identifier: Apache-2.0
"""`python -m depth_core.runtime.engine`: build, list, verify, clear."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from depth_core.errors import BackendError, ConfigError, DepthError
from depth_core.runtime.engine.__main__ import COMMANDS, main
from depth_core.runtime.engine.api import load_tensorrt
from test.fakes.gpu import Gpu
from test.fakes.installation import child_environment, installed
from test.standin import write_standin_onnx


@pytest.fixture
def folder(tmp_path: Path, fake_gpu: Gpu) -> Path:
    del fake_gpu  # installed
    return tmp_path / 'engines'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_standin_onnx(tmp_path / 'standin.onnx')


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_an_engine_is_built_listed_verified_and_cleared(
    capsys: pytest.CaptureFixture[str], folder: Path, model: Path
) -> None:
    place = ('--cache_dir', folder)
    assert run(capsys, 'list', *place) == f'{folder} holds no engine.\n'
    said = run(capsys, 'build', model, *place)
    assert 'fp32 engine' in said
    assert 'tensorrt 10.3.0 for Fake GPU, ready after' in said
    assert 'depth within' in said
    head, row, total = run(capsys, 'list', *place).splitlines()
    for word in ('model', 'precision', 'GPU', 'TensorRT', 'MB', 'last used', 'answers'):
        assert word in head
    for word in ('standin.onnx', 'fp32', 'Fake GPU', 'tensorrt 10.3.0', 'depth within'):
        assert word in row
    assert total.startswith(f'1 in {folder}')
    assert 'none damaged' in run(capsys, 'verify', *place)
    assert run(capsys, 'clear', *place, '--older_than_days', 1).startswith('0 engines deleted')
    assert run(capsys, 'clear', *place).startswith('1 engines deleted')
    assert run(capsys, 'list', *place) == f'{folder} holds no engine.\n'


def test_building_ahead_what_cannot_be_kept_is_refused(folder: Path, model: Path) -> None:
    folder.write_text('a file where the folder should be')
    with pytest.raises(BackendError, match=r'could not be kept.* name another folder'):
        main(['build', str(model), '--cache_dir', str(folder)])


def test_options_reach_the_build(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    free = write_standin_onnx(tmp_path / 'free.onnx', batch=0)
    said = run(
        capsys, 'build', free, '--cache_dir', folder, '--max_batch', 2, '--workspace_mb', 64,
        '--flavour', 'tensorrt-rtx', '--device', 'cuda:0',
    )  # fmt: skip
    assert 'tensorrt-rtx 1.7.1' in said


def test_the_first_tensorrt_that_is_installed_builds(
    capsys: pytest.CaptureFixture[str], folder: Path, model: Path
) -> None:
    with installed(absent=('tensorrt',)):
        assert 'tensorrt-rtx 1.7.1' in run(capsys, 'build', model, '--cache_dir', folder)
    with (
        installed(absent=('tensorrt', 'tensorrt_rtx')),
        pytest.raises(BackendError, match=r'tensorrt is not installed.*tensorrt-rtx is not'),
    ):
        main(['build', str(model), '--cache_dir', str(folder)])


def test_an_engine_that_cannot_be_kept_is_an_error(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        message = 'cannot write: No space left on device'
        raise DepthError(message)

    monkeypatch.setattr('depth_core.runtime.engine.plan_files.PlanFiles.write', full)
    with pytest.raises(BackendError, match='could not be kept'):
        main(['build', str(model), '--cache_dir', str(folder)])


def test_progress_is_written_while_it_builds(
    capsys: pytest.CaptureFixture[str], folder: Path, model: Path
) -> None:
    main(['build', str(model), '--cache_dir', str(folder)])
    lines = capsys.readouterr().err.splitlines()
    assert any('building' in line for line in lines)
    assert all(' s  ' in line for line in lines)


def test_what_is_damaged_is_named_and_ends_with_an_error(
    capsys: pytest.CaptureFixture[str], folder: Path, model: Path
) -> None:
    run(capsys, 'build', model, '--cache_dir', folder)
    (plan,) = folder.glob('*.plan')
    plan.write_bytes(plan.read_bytes()[:-1])
    with pytest.raises(BackendError, match='1 of 1 engines') as caught:
        main(['verify', '--cache_dir', str(folder)])
    assert 'clear' in str(caught.value)
    assert 'its record says' in capsys.readouterr().out
    assert plan.exists()


def test_an_engine_that_tensorrt_refuses_is_found(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(capsys, 'build', model, '--cache_dir', folder)
    monkeypatch.setenv('FAKE_GPU_CC', '9.0')
    with pytest.raises(BackendError, match='1 of 1 engines'):
        main(['verify', '--cache_dir', str(folder)])
    assert 'incompatible device' in capsys.readouterr().out
    monkeypatch.setenv('FAKE_GPU_NAME', 'Other GPU')  # not made for this one: not opened
    assert 'none damaged' in run(capsys, 'verify', '--cache_dir', folder)
    monkeypatch.setenv('FAKE_GPU_DRIVER', 'none')
    with installed():  # another process
        said = run(capsys, 'verify', '--cache_dir', folder)
    assert 'no engine is opened: ' in said
    assert 'none damaged' in said


def test_an_engine_is_opened_on_the_gpu_that_it_was_built_for(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('FAKE_GPU_COUNT', '2')
    monkeypatch.setenv('FAKE_GPU_CC', '9.0,8.6')  # no engine of one runs on the other
    run(capsys, 'build', model, '--cache_dir', folder, '--device', 'cuda:1')
    assert 'none damaged' in run(capsys, 'verify', '--cache_dir', folder)
    monkeypatch.setenv('FAKE_GPU_CC', '9.0,8.9')
    with pytest.raises(BackendError, match='1 of 1 engines'):
        main(['verify', '--cache_dir', str(folder)])


def test_what_other_runtimes_compiled_is_cleared_with_the_engines(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    run(capsys, 'list', '--cache_dir', folder)
    files = [
        folder / runtime / graph / name
        for runtime, graph, name in (
            ('openvino', 'a' * 32, 'old.blob'),
            ('openvino', 'b' * 32, 'new.blob'),
            ('onnxruntime-tensorrt', 'a' * 32, 'new.engine'),
        )
    ]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(1_500_000))
    written = files[0].stat().st_mtime - 3 * 24 * 3600
    os.utime(files[0], (written, written))
    said = run(capsys, 'clear', '--cache_dir', folder, '--older_than_days', 2)
    assert '1 files that other runtimes compiled deleted, 1.5 MB' in said
    assert [file.exists() for file in files] == [False, True, True]
    assert not files[0].parent.exists()
    said = run(capsys, 'clear', '--cache_dir', folder)
    assert '2 files that other runtimes compiled deleted, 3.0 MB' in said
    assert not any(file.exists() for file in files)


def test_engines_are_verified_as_they_are_served(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake_gpu: Gpu,
) -> None:
    run(capsys, 'build', model, '--cache_dir', folder)
    module = load_tensorrt('tensorrt').module
    with monkeypatch.context() as patch:  # where an operator comes as a plugin
        patch.setattr(module, 'init_libnvinfer_plugins', lambda *_: False)
        with pytest.raises(BackendError, match='1 of 1 engines'):
            main(['verify', '--cache_dir', str(folder)])
        assert 'cannot register its own plugins' in capsys.readouterr().out
    monkeypatch.setenv('FAKE_TENSORRT_CUDA', '13010')
    with pytest.raises(BackendError, match='1 of 1 engines'):
        main(['verify', '--cache_dir', str(folder)])
    assert 'does not start' in capsys.readouterr().out
    gc.collect()
    assert not fake_gpu.crashed


def test_a_refused_engine_is_listed_with_the_reason(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('FAKE_TENSORRT_BROKEN', '2')
    with pytest.raises(BackendError, match='does not answer as the graph'):
        main(['build', str(model), '--cache_dir', str(folder)])
    assert 'refused: depth differs by 1 on average' in run(capsys, 'list', '--cache_dir', folder)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ([], 'no command is given'),
        (['buidl'], "did you mean 'build'"),
        (['build'], 'MODEL'),
        (['build', 'absent.onnx'], 'does not exist'),
        (['build', 'densedepth_small', '--max_batch', '0'], 'at least 1'),
        (['build', 'densedepth_small', '--workspace_mb', '-5'], 'at least 1'),
        (['build', 'densedepth_small', '--precision', 'fp8'], 'invalid choice'),
        (['build', 'densedepth_small', '--workspace', '5'], "did you mean '--workspace_mb'"),
        (['clear', '--older_than_days', 'x'], 'not a number'),
        (['clear', '--older_than_days', '1e15'], 'at most 999999999'),
        (['list', 'everything'], 'unrecognized'),
    ],
)
def test_wrong_input_is_answered_in_words(
    folder: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
    with pytest.raises(DepthError) as caught:
        main(arguments)
    assert said in str(caught.value)


def test_an_engine_is_no_model(folder: Path, tmp_path: Path) -> None:
    plan = tmp_path / 'model.plan'
    plan.write_bytes(b'ftrt')
    with pytest.raises(ConfigError, match='is not loaded: an engine is a program'):
        main(['build', str(plan), '--cache_dir', str(folder)])


@pytest.mark.parametrize('command', COMMANDS)
def test_each_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, '--help'])
    assert ended.value.code == 0
    assert '--cache_dir' in capsys.readouterr().out
    main(['--help'])
    assert command in capsys.readouterr().out


def start(repository: Path, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    command: list[Any] = [sys.executable, '-m', 'depth_core.runtime.engine', *arguments]
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=repository,
        env={**os.environ, **child_environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_status_is_2_without_a_traceback(repository: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    process = start(repository, 'list', '--cache_dir', tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors.startswith('error: the engine cache')
    assert 'mode 0777' in errors
    assert 'Traceback' not in errors


def test_ctrl_c_ends_a_build_and_leaves_nothing(
    repository: Path, tmp_path: Path, model: Path
) -> None:
    folder = tmp_path / 'engines'
    process = start(repository, 'build', model, '--cache_dir', folder, FAKE_TENSORRT_BUILD_S='60')
    assert process.stderr is not None
    for line in process.stderr:
        if 'building' in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert 'Traceback' not in errors
    assert list(folder.glob('*.plan')) == []
