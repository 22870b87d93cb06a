# SPDX-License-Identifier: Apache-2.0
"""Which folders engines may be kept in, and what does not stay in one."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path

import pytest

from depth_core.errors import DepthError
from depth_core.runtime.engine import plan_files
from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.entry import stem_of
from depth_core.runtime.engine.folder import UnavailableError, UnsafeError, default_folder
from depth_core.runtime.engine.key import key_of


@pytest.mark.parametrize('mode', [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / 'open'
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(UnsafeError, match=f'mode {mode:04o}.*chmod 700'):
        EngineCache(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_below_one_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    above = tmp_path / 'open'
    above.mkdir()
    above.chmod(0o777)
    with pytest.raises(UnsafeError, match=r'mode 0777.*chmod go-w'):
        EngineCache(above / 'engines')
    assert list(above.iterdir()) == []
    above.chmod(0o1777)  # as /tmp: only the owner of an entry may rename it
    EngineCache(above / 'engines')


def test_a_link_to_a_private_folder_is_followed_and_one_to_an_open_one_refused(
    tmp_path: Path,
) -> None:
    for name, mode in (('private', 0o700), ('open', 0o777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
        (tmp_path / f'to_{name}').symlink_to(tmp_path / name)
    assert EngineCache(tmp_path / 'to_private').folder == tmp_path / 'private'
    with pytest.raises(UnsafeError, match='mode 0777'):
        EngineCache(tmp_path / 'to_open')


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(DepthError, match='name another'):
        EngineCache(tmp_path / 'file')
    with pytest.raises(DepthError, match='name another'):
        EngineCache(tmp_path / 'file' / 'engines')


def test_the_folder_is_in_the_cache_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('ROS_HOME', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')  # to be ignored, says the specification
    assert default_folder() == tmp_path / 'home/.cache/depth_ros/engines'
    monkeypatch.setenv('ROS_HOME', str(tmp_path / 'ros'))
    assert default_folder() == tmp_path / 'ros/depth_ros/engines'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert default_folder() == tmp_path / 'xdg/depth_ros/engines'


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('XDG_CACHE_HOME', 'ROS_HOME'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('os.path.expanduser', str)  # as where the user is in no list
    with pytest.raises(DepthError, match=r'no home folder.*XDG_CACHE_HOME'):
        default_folder()


def test_the_locks_of_builds_that_failed_go_and_those_that_are_held_stay(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / 'engines')
    failed, building = (key_of({'graph': name}) for name in ('failed', 'building'))
    with cache.locked(failed):
        pass  # the graph was refused
    assert (cache.folder / f'{stem_of(failed)}.lock').exists()
    with cache.locked(building):
        cache.clear(older_than=timedelta(days=1))
        locks = {path.stem for path in cache.folder.glob('*.lock')}
    assert locks == {stem_of(building)}


def test_what_cannot_be_deleted_is_not_called_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EngineCache(tmp_path / 'engines', limit_bytes=1)
    fields = [{'schema': 1, 'graph_sha256': name} for name in ('one', 'two')]
    first, second = map(key_of, fields)
    cache.store(first, b'plan', fields[0])

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr(plan_files, 'try_lock', read_only)
    with pytest.raises(UnavailableError, match=r'cannot be deleted: Read-only.*make the disk'):
        cache.clear()
    cache.store(second, b'plan', fields[1])  # the first stays beyond the limit
    assert {entry.key for entry in cache.entries()} == {first, second}
