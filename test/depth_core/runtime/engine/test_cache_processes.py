# SPDX-License-Identifier: Apache-2.0
"""The engine cache between processes: two that build, one that is killed, one without space."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.entry import stem_of
from depth_core.runtime.engine.key import key_of

FIELDS = {'schema': 1}
KEY = key_of(FIELDS)
PLAN = b'a plan' * 1000
PROLOGUE = """
import os, pathlib, resource, sys
from depth_core.errors import DepthError
from depth_core.runtime.engine.cache import EngineCache
from depth_core.runtime.engine.plan_files import PlanFiles

FIELDS, KEY, PLAN = {fields!r}, {key!r}, b'a plan' * 1000
cache = EngineCache(pathlib.Path({folder!r}))

def say(word):
    print(word, flush=True)

def pause(*_, **__):
    say('paused')
    sys.stdin.readline()
"""

Start = Callable[[str], 'subprocess.Popen[str]']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / 'engines'


@pytest.fixture
def start(folder: Path, repository: Path) -> Iterator[Start]:
    """Start a Python process on the cache; those still running at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def run(script: str) -> subprocess.Popen[str]:
        prologue = PROLOGUE.format(fields=FIELDS, key=KEY, folder=str(folder))
        process = subprocess.Popen(
            [sys.executable, '-c', prologue + textwrap.dedent(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=repository,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> str:
    """Let a paused process go on to its end, and return what it said."""
    out, _ = process.communicate('\n', timeout=300)
    assert process.returncode == 0
    return out.strip()


def test_of_two_that_build_at_once_one_waits_and_loads(start: Start, folder: Path) -> None:
    first = start("""
        with cache.locked(KEY):
            say(cache.load(KEY))
            pause()
            cache.store(KEY, PLAN, FIELDS)
    """)
    assert (line(first), line(first)) == ('None', 'paused')
    second = start("""
        said = []
        def waiting(seconds):
            if not said:
                said.append(say('waits'))
        with cache.locked(KEY, waiting=waiting):
            say(cache.load(KEY) == PLAN)
    """)
    assert line(second) == 'waits'
    go_on(first)
    assert go_on(second) == 'True'
    assert [entry.key for entry in EngineCache(folder).entries()] == [KEY]


KILLED_AT = {
    'while it builds': 'build = pause',
    'when the plan is written and has not its name': 'os.fsync = pause',
    'between the plan and its record': 'PlanFiles.write_record = pause',
}


@pytest.mark.parametrize('setup', KILLED_AT.values(), ids=KILLED_AT)
def test_a_process_that_is_killed_leaves_nothing_that_is_seen(
    start: Start, folder: Path, setup: str
) -> None:
    killed = start(f"""
        build = lambda: PLAN
        {setup}
        with cache.locked(KEY):
            cache.store(KEY, build(), FIELDS)
    """)
    assert line(killed) == 'paused'
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    cache = EngineCache(folder)
    assert cache.entries() == []
    assert cache.load(KEY) is None
    with cache.locked(KEY):
        left = {path.suffix for path in folder.iterdir()}
        assert left <= {'.lock'}, 'whoever has the lock next clears what was left'
        cache.store(KEY, PLAN, FIELDS)
    assert cache.load(KEY) == PLAN


def test_what_another_process_writes_now_is_not_swept(start: Start, folder: Path) -> None:
    writes = start("""
        os.fsync = pause
        with cache.locked(KEY):
            cache.store(KEY, PLAN, FIELDS)
    """)
    assert line(writes) == 'paused'
    cache, other = EngineCache(folder), key_of({'schema': 1, 'other': 1})
    with cache.locked(other):
        assert [path for path in folder.iterdir() if path.name.startswith(f'.{stem_of(KEY)}')]
    cache.clear()
    writes.stdin.write('\n' * 9)  # type: ignore[union-attr]
    go_on(writes)
    assert cache.load(KEY) == PLAN


def test_a_full_disk_leaves_nothing_of_the_plan_and_all_of_others(
    start: Start, folder: Path
) -> None:
    other = {'schema': 1, 'other': 1}
    EngineCache(folder).store(key_of(other), PLAN, other)
    full = start("""
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        with cache.locked(KEY):
            try:
                cache.store(KEY, PLAN, FIELDS)
            except DepthError as error:
                say(error)
    """)
    said = go_on(full)
    assert 'cannot write' in said
    assert 'free space' in said
    cache = EngineCache(folder)
    assert {path.name for path in folder.iterdir()} == {
        f'{stem_of(key_of(other))}.plan',
        f'{stem_of(key_of(other))}.json',
        f'{stem_of(KEY)}.lock',
    }
    assert cache.load(key_of(other)) == PLAN
    assert cache.load(KEY) is None


def test_a_full_disk_takes_no_record_that_is_there(start: Start, folder: Path) -> None:
    EngineCache(folder).store(KEY, PLAN, FIELDS)
    full = start("""
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        with cache.locked(KEY):
            say(cache.load(KEY) == PLAN)
    """)
    assert go_on(full) == 'True'
    assert EngineCache(folder).load(KEY) == PLAN


def test_an_engine_in_use_elsewhere_is_not_deleted_until_that_process_ends(
    start: Start, folder: Path
) -> None:
    cache = EngineCache(folder)
    cache.store(KEY, PLAN, FIELDS)
    uses = start("""
        release = cache.keep(KEY)
        pause()
    """)
    assert line(uses) == 'paused'
    assert [len(entries) for entries in cache.clear()] == [0, 1]
    uses.kill()
    uses.wait()
    assert [len(entries) for entries in cache.clear()] == [1, 0]
