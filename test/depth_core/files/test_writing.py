# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all, whatever ends the writing, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from depth_core.errors import DataError, DepthError
from depth_core.files import (
    read_unchanged,
    replaced_atomically,
    replaced_folder,
    replaced_together,
    sweep,
    unfinished_folder,
    writing,
)

PAUSED = """
import sys, time
from pathlib import Path
from depth_core import files
path = Path(sys.argv[1])
with getattr(files, sys.argv[2])(path) as temporary:
    (temporary if temporary.is_file() else temporary / path.name).write_text('half')
    print('paused', flush=True)
    time.sleep(600.0)
"""


def killed_while_writing(path: Path, how: str) -> None:
    """Leave what a process leaves that is killed while it writes `path`."""
    command = [sys.executable, '-c', PAUSED, str(path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'paused\n'
        sweep(path.parent)
        assert any(path.parent.glob('.*')), 'a living process keeps what it fills'
        process.send_signal(signal.SIGKILL)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / 'answer.txt'
    path.write_text('former')

    def fill_the_disk() -> None:
        with replaced_atomically(path) as temporary:
            temporary.write_text('half')
            raise OSError(28, 'No space left on device')

    with pytest.raises(DepthError, match=r'cannot write .*answer\.txt: No space left'):
        fill_the_disk()
    assert path.read_text() == 'former'
    assert names(tmp_path) == ['answer.txt']


def test_files_that_belong_together_come_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / 'graph.onnx'
    path.write_text('former')

    def write(*, fail: bool) -> None:
        with replaced_together(path) as folder:
            (folder / 'graph.onnx').write_text('new')
            (folder / 'graph.data').write_text('weights')
            if fail:
                raise OSError(28, 'No space left on device')

    with pytest.raises(DepthError, match='cannot write'):
        write(fail=True)
    assert path.read_text() == 'former'
    assert names(tmp_path) == ['graph.onnx']
    write(fail=False)
    assert path.read_text() == 'new'
    assert names(tmp_path) == ['graph.data', 'graph.onnx']


_KILLED = """
import os, pathlib, signal, sys
from depth_core.files import replaced_together

left = int(sys.argv[1])
rename = os.replace

def replace(one, other):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    rename(one, other)

pathlib.Path.replace = replace
with replaced_together(pathlib.Path('graph.onnx'), after=['graph.json']) as folder:
    for name in ('graph.json', 'graph.onnx', 'graph.answers.npz', 'graph.new.data'):
        (folder / name).write_text('new')
"""


@pytest.mark.parametrize('moves', range(5))
def test_a_kill_between_two_moves_leaves_no_description_of_another_file(
    moves: int, tmp_path: Path
) -> None:
    for name in ('graph.json', 'graph.onnx', 'graph.answers.npz'):
        (tmp_path / name).write_text('former')
    command = [sys.executable, '-c', _KILLED, str(moves)]
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == (0 if moves == 4 else -signal.SIGKILL)
    found = {name: (tmp_path / name).read_text() for name in ('graph.json', 'graph.onnx')}
    # What the graph names is there before it is; what tells of it comes when it is there.
    assert found['graph.onnx'] == ('new' if moves >= 3 else 'former')
    assert found['graph.json'] == ('new' if moves == 4 else 'former')
    assert (tmp_path / 'graph.new.data').exists() == (moves >= 2)
    subprocess.run([*command[:3], '9'], cwd=tmp_path, env=environment, check=True)
    assert {path.read_text() for path in tmp_path.glob('graph.*')} == {'new'}
    assert not list(tmp_path.glob('.*'))


@pytest.mark.parametrize('how', ['replaced_atomically', 'replaced_together', 'replaced_folder'])
def test_a_killed_process_leaves_the_former_content_and_the_next_one_sweeps(
    how: str, tmp_path: Path
) -> None:
    path = tmp_path / 'model.onnx'
    if how == 'replaced_folder':
        path.mkdir()
    else:
        path.write_text('former')
    killed_while_writing(path, how)
    left = [name for name in names(tmp_path) if name != 'model.onnx']
    assert [name.startswith('.model.onnx.') for name in left] == [True]
    with replaced_atomically(tmp_path / 'other') as temporary:
        temporary.write_text('next')
    assert names(tmp_path) == ['model.onnx', 'other']
    assert path.is_dir() or path.read_text() == 'former'


def test_what_only_looks_like_a_rest_stays(tmp_path: Path) -> None:
    (tmp_path / '.hidden').mkdir()
    (tmp_path / '.notes.abcd1234.unfinished').write_text('a file of the user')
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / '.link.abcd1234.unfinished').symlink_to(tmp_path / 'elsewhere')
    before = names(tmp_path)
    sweep(tmp_path)
    assert names(tmp_path) == before


def test_a_folder_is_there_at_every_moment_of_its_replacement(tmp_path: Path) -> None:
    report = tmp_path / 'report'
    missing, done = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            if not os.path.lexists(report):  # the quicker it looks, the more it sees
                missing.set()

    def write(text: str) -> None:
        with replaced_folder(report) as fresh:
            (fresh / 'page').write_text(text)

    write('first')
    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(50):
        write(str(number))
    done.set()
    watcher.join()
    assert not missing.is_set()
    assert (report / 'page').read_text() == '49'
    assert names(tmp_path) == ['report']


def test_a_kill_between_two_renames_is_put_right_by_the_next_process(tmp_path: Path) -> None:
    # As on a file system that cannot exchange names.
    left = tmp_path / '.report.abcd1234.unfinished'
    (left / 'former' / 'report').mkdir(parents=True)
    (left / 'report').mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == ['report']


@pytest.mark.parametrize('fails', [False, True])
def test_folders_change_places_where_names_cannot_be_exchanged(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, '_exchanged', lambda _one, _other: False)
    report = tmp_path / 'report'
    report.mkdir()
    (report / 'page').write_text('former')

    def write() -> None:
        with replaced_folder(report) as fresh:
            (fresh / 'page').write_text('new')
            if fails:
                monkeypatch.setattr(writing, '_exchanged', refused)

    def refused(one: Path, _other: Path) -> bool:
        one.rename(one.with_name('gone'))  # so that it cannot take the place either
        return False

    if fails:
        with pytest.raises(DepthError, match='was there before, if anything, is untouched'):
            write()
    else:
        write()
    assert (report / 'page').read_text() == ('former' if fails else 'new')
    assert names(tmp_path) == ['report']


Replaces = Callable[[Path], AbstractContextManager[Path]]


def test_a_link_stays_and_the_file_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / 'store').mkdir()
    link, file = tmp_path / 'link.json', tmp_path / 'store' / 'file.json'
    link.symlink_to(file)
    for content in ('made', 'replaced'):  # at first the link leads nowhere
        with replaced_atomically(link) as temporary:
            temporary.write_text(content)
        assert link.is_symlink()
        assert file.read_text() == content
    with replaced_together(link) as folder:
        (folder / 'link.json').write_text('together')
    assert link.is_symlink()
    assert file.read_text() == 'together'
    assert names(tmp_path / 'store') == ['file.json']


def test_a_link_to_a_report_stays(tmp_path: Path) -> None:
    (tmp_path / 'store').mkdir()
    (tmp_path / 'report').symlink_to(tmp_path / 'store')
    with replaced_folder(tmp_path / 'report') as fresh:
        (fresh / 'page').write_text('new')
    assert (tmp_path / 'report').is_symlink()
    assert names(tmp_path / 'store') == ['page']


@pytest.mark.parametrize('replaces', [replaced_atomically, replaced_together, replaced_folder])
def test_devices_pipes_and_circles_are_refused_before_anything_is_written(
    replaces: Replaces, tmp_path: Path
) -> None:
    pipe, circle = tmp_path / 'pipe', tmp_path / 'circle'
    os.mkfifo(pipe)
    circle.symlink_to(circle)
    for path, why in (
        (Path('/dev/null'), '/dev/null: it is a device'),
        (pipe, 'it is a pipe'),
        (circle, 'Too many levels of symbolic links'),
    ):
        with pytest.raises(DepthError, match=why), replaces(path):
            pytest.fail('it is refused before the work')
    assert Path('/dev/null').is_char_device()
    assert names(tmp_path) == ['circle', 'pipe']


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    file = tmp_path / 'file'
    file.touch()
    with pytest.raises(DepthError, match='it is a folder'), replaced_atomically(tmp_path):
        pass
    with pytest.raises(DepthError, match='it is a file'), replaced_folder(file):
        pass


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ('n' * 250 + '.json')
    with replaced_atomically(path) as temporary:
        temporary.write_text('{}')
    assert names(tmp_path) == [path.name]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    path.write_bytes(b'one')
    with read_unchanged(path):
        path.read_bytes()
    with (
        pytest.raises(DataError, match='was changed while it was read'),
        read_unchanged(path),
        replaced_atomically(path) as temporary,
    ):
        temporary.write_bytes(b'two')


def test_two_may_fill_the_same_name_and_the_later_one_counts(tmp_path: Path) -> None:
    path = tmp_path / 'numbers'
    with replaced_atomically(path) as one, replaced_atomically(path) as other:
        one.write_text('one')
        other.write_text('other')
    assert path.read_text() == 'one'  # the outer block ends later
    assert names(tmp_path) == ['numbers']
    with unfinished_folder(tmp_path, 'x') as folder:
        sweep(tmp_path)
        assert folder.is_dir(), 'a process does not take its own for a rest'
