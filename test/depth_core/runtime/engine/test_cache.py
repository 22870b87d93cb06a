# SPDX-License-Identifier: Apache-2.0
"""The engine cache: what is kept, what is refused, who may delete what."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from depth_core.runtime.engine import plan_files
from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.entry import stem_of
from depth_core.runtime.engine.folder import UnavailableError, UnsafeError
from depth_core.runtime.engine.key import key_of
from depth_core.runtime.engine.options import BuildCancelledError
from depth_core.runtime.engine.plan_files import QUARANTINE

PLAN = bytes(range(256)) * 40
IS_ROOT = os.geteuid() == 0


def fields(name: str = 'one') -> dict[str, Any]:
    return {'schema': 1, 'graph_sha256': name}


KEY = key_of(fields())


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / 'engines')


def keep(cache: EngineCache, name: str = 'one', plan: bytes = PLAN) -> str:
    key = key_of(fields(name))
    cache.store(key, plan, fields(name), {'model': f'{name}.onnx'})
    return key


def files(cache: EngineCache, suffix: str) -> list[Path]:
    return sorted(cache.folder.glob(f'*{suffix}'))


def test_a_plan_comes_back_as_it_was(cache: EngineCache) -> None:
    assert cache.load(KEY) is None
    assert keep(cache) == KEY
    assert cache.load(KEY) == PLAN
    entry = cache.entry(KEY)
    assert entry is not None
    assert (entry.size, entry.fields, entry.notes) == (len(PLAN), fields(), {'model': 'one.onnx'})
    assert entry.parity is None
    assert not entry.is_refused
    assert cache.load(key_of(fields('two'))) is None


def test_nobody_else_may_read_or_write_what_is_kept(cache: EngineCache) -> None:
    keep(cache)
    with cache.locked(KEY):
        pass
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) >= 3  # plan, record, lock
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_a_load_is_a_use(cache: EngineCache) -> None:
    keep(cache)
    keep(cache, 'two')
    assert [entry.notes['model'] for entry in cache.entries()] == ['two.onnx', 'one.onnx']
    cache.load(KEY)
    assert [entry.notes['model'] for entry in cache.entries()] == ['one.onnx', 'two.onnx']


def cut(plan: Path) -> None:
    plan.write_bytes(PLAN[: len(PLAN) // 2])


def flip(plan: Path) -> None:
    plan.write_bytes(b'\xff' + PLAN[1:])


def lose(plan: Path) -> None:
    plan.unlink()


def empty(plan: Path) -> None:
    plan.write_bytes(b'')


def cut_record(record: Path) -> None:
    record.write_bytes(record.read_bytes()[:50])


def spoil_record(record: Path) -> None:
    record.write_bytes(b'\xff\xfe\x00[')


def list_record(record: Path) -> None:
    record.write_text('[]')


def change(record: Path, **values: Any) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), **values}))


def other_gpu(record: Path) -> None:
    change(record, fields={**fields(), 'gpu': 'another'})


def other_schema(record: Path) -> None:
    change(record, fields={**fields(), 'schema': 0})


def wrong_type(record: Path) -> None:
    change(record, size='large')


def no_time(record: Path) -> None:
    change(record, last_used='yesterday')


def not_a_key(record: Path) -> None:
    change(record, extra=1)


def link(plan: Path) -> None:
    elsewhere = plan.parent.parent / 'elsewhere'
    plan.rename(elsewhere)
    plan.symlink_to(elsewhere)


def share(plan: Path) -> None:
    plan.chmod(0o666)


def share_record(record: Path) -> None:
    record.chmod(0o620)


def fifo(plan: Path) -> None:
    plan.unlink()
    os.mkfifo(plan, 0o600)


Damage = Callable[[Path], None]

OF_THE_PLAN: list[tuple[Damage, str]] = [
    (cut, '5120 bytes, its record says 10240'),
    (flip, 'SHA-256'),
    (lose, 'the plan is missing'),
    (empty, '0 bytes'),
    (link, 'is a link'),
    (share, 'mode 0666'),
    (fifo, 'no plain file'),
]
OF_THE_RECORD: list[tuple[Damage, str]] = [
    (cut_record, 'not JSON'),
    (spoil_record, 'not JSON'),
    (list_record, 'not the keys'),
    (other_gpu, 'belongs to another plan'),
    (other_schema, 'schema 0, this version 1'),
    (wrong_type, 'size in its record is a str'),
    (no_time, 'no time'),
    (not_a_key, 'not the keys'),
    (share_record, 'mode 0620'),
]
CASES = [
    *(pytest.param('.plan', *case, id=case[0].__name__) for case in OF_THE_PLAN),
    *(pytest.param('.json', *case, id=case[0].__name__) for case in OF_THE_RECORD),
]


@pytest.mark.parametrize(('suffix', 'damage', 'said'), CASES)
def test_what_is_not_as_it_was_written_is_put_away_and_built_again(
    cache: EngineCache,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    damage: Damage,
    said: str,
) -> None:
    keep(cache)
    damage(cache.folder / f'{stem_of(KEY)}{suffix}')
    assert said in str(cache.verify()[stem_of(KEY)])
    assert files(cache, '.json'), 'verify changes nothing'
    with caplog.at_level(logging.WARNING), cache.locked(KEY):
        assert cache.load(KEY) is None
    assert said in caplog.text
    assert files(cache, '.plan') == []
    assert files(cache, '.json') == []
    assert any((cache.folder / QUARANTINE).iterdir())
    keep(cache)
    assert cache.load(KEY) == PLAN
    assert cache.verify() == {stem_of(KEY): None}


def test_a_plan_put_under_the_name_of_another_is_not_loaded(cache: EngineCache) -> None:
    keep(cache)
    other = key_of(fields('two'))
    for suffix in ('.plan', '.json'):
        source = cache.folder / f'{stem_of(KEY)}{suffix}'
        (cache.folder / f'{stem_of(other)}{suffix}').write_bytes(source.read_bytes())
    for path in cache.folder.iterdir():
        path.chmod(0o600)
    assert cache.load(other) is None
    assert cache.load(KEY) == PLAN


def test_a_disk_that_fails_condemns_no_plan(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep(cache)

    def fail(path: Path) -> bytes:
        message = f'{path} cannot be read: Input/output error'
        raise UnavailableError(message)

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(plan_files, 'read_private', fail)
        assert cache.load(KEY) is None
    assert 'Input/output error' in caplog.text
    assert cache.load(KEY) == PLAN


def test_what_killed_processes_left_is_swept_and_the_rest_stays(cache: EngineCache) -> None:
    timings = cache.folder / 'timings'
    left = [folder / '.plan.abcd1234.unfinished' for folder in (timings, cache.folder)]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / 'half').touch()
    stays = timings / '10.3.0-GPU.timings'
    stays.touch()
    with cache.locked(KEY):
        pass
    assert [path.exists() for path in left] == [False, False]
    assert stays.exists()
    assert not (cache.folder / f'{"0" * 32}.lock').exists()


def test_quarantine_is_bounded(cache: EngineCache) -> None:
    for number in range(6):
        key = keep(cache, str(number))
        cache.quarantine(key, 'a test')
    kept = {path.stem for path in (cache.folder / QUARANTINE).iterdir()}
    assert len(kept) == 3
    assert {name.partition('-')[2] for name in kept} == {
        stem_of(key_of(fields(str(number)))) for number in (3, 4, 5)
    }


@pytest.mark.skipif(not IS_ROOT, reason='only root can give a file to another user')
def test_what_another_user_owns_is_refused(cache: EngineCache, tmp_path: Path) -> None:
    keep(cache)
    os.chown(cache.folder / f'{stem_of(KEY)}.plan', 12345, -1)
    assert cache.load(KEY) is None
    os.chown(cache.folder, 12345, -1)
    with pytest.raises(UnsafeError, match=r'belongs to user 12345.*chown 0 '):
        EngineCache(cache.folder)
    above = tmp_path / 'theirs'
    above.mkdir()
    os.chown(above, 12345, -1)
    with pytest.raises(UnsafeError, match='belongs to user 12345'):
        EngineCache(above / 'engines')


def test_the_least_recently_used_goes_first_and_never_what_was_just_stored(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / 'engines', limit_bytes=2 * len(PLAN))
    first, second = keep(cache), keep(cache, 'two')
    cache.load(first)
    third = keep(cache, 'three')
    assert [cache.load(key) is not None for key in (first, second, third)] == [True, False, True]
    large = keep(cache, 'large', PLAN * 3)
    assert cache.load(large) == PLAN * 3
    assert [entry.key for entry in cache.entries()] == [large]


def test_what_is_in_use_is_not_deleted(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / 'engines', limit_bytes=len(PLAN))
    release = cache.keep(keep(cache))
    keep(cache, 'two')
    assert cache.load(KEY) == PLAN
    deleted, left = cache.clear()
    assert ([entry.key for entry in deleted], [entry.key for entry in left]) == (
        [key_of(fields('two'))],
        [KEY],
    )
    release()
    deleted, left = cache.clear()
    assert ([entry.key for entry in deleted], left) == ([KEY], [])
    assert [path.name for path in cache.folder.iterdir() if path.is_file()] == []


def test_several_may_use_a_plan_at_once(cache: EngineCache) -> None:
    keep(cache)
    first, second = cache.keep(KEY), cache.keep(KEY)
    first()
    assert cache.clear() == ([], [cache.entry(KEY)])
    second()
    assert len(cache.clear()[0]) == 1


def test_only_what_was_not_used_for_so_long_is_cleared(cache: EngineCache) -> None:
    keep(cache)
    keep(cache, 'two')
    entry = cache.entry(KEY)
    assert entry is not None
    old = dataclasses.replace(entry, last_used='2020-01-01T00:00:00+00:00')
    (cache.folder / f'{entry.stem}.json').write_text(old.to_json())
    deleted, _ = cache.clear(older_than=timedelta(days=30))
    assert [entry.key for entry in deleted] == [KEY]
    assert [entry.key for entry in cache.entries()] == [key_of(fields('two'))]


def test_what_was_used_in_the_future_is_cleared_too(cache: EngineCache) -> None:
    keep(cache)
    entry = cache.entry(KEY)
    assert entry is not None
    later = dataclasses.replace(entry, last_used='2999-01-01T00:00:00+00:00')
    (cache.folder / f'{entry.stem}.json').write_text(later.to_json())
    assert cache.clear(older_than=timedelta(days=1))[0] == []
    assert [entry.key for entry in cache.clear()[0]] == [KEY]


def test_clear_leaves_nothing_broken_behind(cache: EngineCache) -> None:
    keep(cache)
    (cache.folder / f'{stem_of(KEY)}.json').write_text('{')
    cache.quarantine(keep(cache, 'two'), 'a test')
    (cache.folder / f'{"0" * 32}.plan').write_bytes(b'left')
    (cache.folder / 'notes.txt').write_text('not ours')
    cache.clear()
    assert [path.name for path in cache.folder.rglob('*') if path.is_file()] == ['notes.txt']


def test_a_refused_engine_is_remembered_without_its_plan(cache: EngineCache) -> None:
    keep(cache)
    cache.refuse(KEY, fields(), {'passed': False, 'complaint': 'depth differs'})
    assert cache.load(KEY) is None
    entry = cache.entry(KEY)
    assert entry is not None
    assert entry.is_refused
    assert entry.parity == {'passed': False, 'complaint': 'depth differs'}
    assert files(cache, '.plan') == []
    assert cache.verify() == {entry.stem: None}
    keep(cache)  # built again on demand
    assert cache.load(KEY) == PLAN


def test_how_an_engine_answered_is_added_to_its_record(cache: EngineCache) -> None:
    cache.record(KEY, {'passed': True}, {})  # nothing there: nothing to add to
    assert cache.entry(KEY) is None
    keep(cache)
    cache.record(KEY, {'passed': True}, {'driver': '550.1'})
    entry = cache.entry(KEY)
    assert entry is not None
    assert entry.parity == {'passed': True}
    assert entry.notes == {'model': 'one.onnx', 'driver': '550.1'}
    assert cache.load(KEY) == PLAN


def test_a_number_that_json_cannot_hold_is_no_failure(cache: EngineCache) -> None:
    keep(cache)
    cache.record(KEY, {'passed': True, 'depth': float('nan')}, {})
    entry = cache.entry(KEY)
    assert entry is not None
    assert entry.parity is None
    cache.refuse(KEY, fields(), {'passed': False, 'depth': float('inf')})
    assert files(cache, '.plan') == []


def test_a_thread_waits_for_another_and_can_be_told_to_stop(cache: EngineCache) -> None:
    cancelled = threading.Event()
    waited: list[float] = []

    def waiting(seconds: float) -> None:
        waited.append(seconds)
        cancelled.set()

    with cache.locked(KEY):
        with (
            pytest.raises(BuildCancelledError, match='another process'),
            cache.locked(KEY, cancelled=cancelled, waiting=waiting),
        ):
            pytest.fail('two have the lock')
        with cache.locked(key_of(fields('two'))):
            pass  # another key is another lock
    assert len(waited) == 1
    with cache.locked(KEY):
        pass
