# SPDX-License-Identifier: Apache-2.0
"""`make demo` and `make test` share one .venv, which is complete, unfinished or absent.

A stand-in takes the place of Python and pip: it writes down what it was asked to install, and
fails or is killed where a test wants that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

PYTHON = """#!/bin/sh
case "$*" in
  "-m venv --clear .venv")
    rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >> log ;;
  "-m pip install"*"[ros,openvino]") what=demo ;;
  "-m pip install"*"[ros,train,onnx,openvino,dev]") what=all ;;
  "-m depth_ros.demo"*) shift 2; echo "demo run${1:+ }$*" >> log ;;
  "-m pytest"*) echo 'tests run' >> log ;;
esac
[ -n "$what" ] || exit 0
case "$(cat behaviour 2> /dev/null)" in
  fail) echo "$what fails" >> log; exit 1 ;;
  kill) echo "$what killed" >> log; kill -9 0 ;;
  slow) echo "$what begins" >> log; sleep 0.3; echo "$what ends" >> log ;;
  *) echo "$what" >> log ;;
esac
"""


def _without_make(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what a make that runs the tests passes on: its flags and its ARGS."""
    return {
        name: value
        for name, value in environment.items()
        if 'MAKE' not in name and name not in {'ARGS', 'PYTHON', 'PIP_ARGS'}
    }


class Project:
    """A folder with our Makefile and a stand-in for Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start make in a process group of its own."""
        return subprocess.Popen(
            ['make', f'PYTHON={self.folder / "python"}', *arguments],
            cwd=self.folder,
            env=_without_make(os.environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def make(self, *arguments: str) -> list[str]:
        """Run make to its end; what the stand-in did meanwhile."""
        before = len(self.log())
        self.start(*arguments).wait()
        return self.log()[before:]

    def behave(self, how: str) -> None:
        """Say what becomes of the next installations."""
        (self.folder / 'behaviour').write_text(how)

    def log(self) -> list[str]:
        file = self.folder / 'log'
        return file.read_text().splitlines() if file.exists() else []

    def change(self) -> None:
        """Change what is to be installed."""
        later_s = max(path.stat().st_mtime for path in (self.folder / '.venv').glob('.setup*')) + 1
        os.utime(self.folder / 'setup.py', (later_s, later_s))


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Project:
    folder = tmp_path / 'project'
    folder.mkdir()
    shutil.copy(repository / 'Makefile', folder)
    for name in ('package.xml', 'setup.py', 'constraints.txt'):
        (folder / name).touch()
    (folder / 'python').write_text(PYTHON)
    (folder / 'python').chmod(0o755)
    return Project(folder)


def test_the_demo_installs_little_and_the_tests_complete_it(project: Project) -> None:
    assert project.make('demo') == ['venv', 'demo', 'demo run']
    assert project.make('demo') == ['demo run']
    assert project.make('test') == ['all', 'tests run']
    assert project.make('test') == ['tests run']
    assert project.make('demo') == ['demo run'], 'what is complete serves the demo too'


def test_the_live_camera_needs_everything(project: Project) -> None:
    assert project.make('demo', 'ARGS=--live') == ['venv', 'all', 'demo run --live']


def test_a_complete_environment_is_renewed_as_a_whole(project: Project) -> None:
    project.make('setup')
    project.change()
    assert project.make('demo') == ['all', 'demo run']


@pytest.mark.parametrize('first', ['demo', 'test'])
def test_an_environment_that_was_good_stays_good_when_pip_fails(
    project: Project, first: str
) -> None:
    project.make(first)
    project.change()
    project.behave('fail')
    assert project.make('test') == ['all fails']
    project.behave('')
    assert project.make('test') == ['all', 'tests run'], 'and no new .venv'


def test_a_failed_completion_leaves_the_demo(project: Project) -> None:
    project.make('demo')
    project.behave('fail')
    assert project.make('test') == ['all fails']
    assert project.make('demo') == ['demo run']


@pytest.mark.parametrize('target', ['demo', 'test'])
def test_what_was_killed_begins_afresh(project: Project, target: str) -> None:
    project.behave('kill')
    assert project.make(target)[-1].endswith(' killed')
    project.behave('')
    assert project.make('demo') == ['venv', 'demo', 'demo run']


def test_a_completion_that_was_killed_begins_afresh(project: Project) -> None:
    project.make('demo')
    project.behave('kill')
    assert project.make('test') == ['all killed']
    project.behave('')
    assert project.make('test') == ['venv', 'all', 'tests run']


def test_a_first_installation_that_fails_begins_afresh(project: Project) -> None:
    project.behave('fail')
    assert project.make('demo') == ['venv', 'demo fails']
    project.behave('')
    assert project.make('demo') == ['venv', 'demo', 'demo run']


@pytest.mark.parametrize('target', ['demo', 'test'])
def test_a_copy_makes_its_own(project: Project, target: str) -> None:
    project.make(target)
    elsewhere = project.folder.with_name('copy')
    shutil.copytree(project.folder, elsewhere, symlinks=True)
    assert Project(elsewhere).make('demo') == ['venv', 'demo', 'demo run']


def test_two_makes_at_once_install_one_after_the_other(project: Project) -> None:
    project.behave('slow')
    makes = [project.start('demo'), project.start('test'), project.start('demo')]
    assert [make.wait() for make in makes] == [0, 0, 0]
    log = project.log()
    installed = [line for line in log if line.endswith((' begins', ' ends'))]
    assert installed[0::2] == [line.replace('ends', 'begins') for line in installed[1::2]]
    assert log.count('venv') == 1
    assert log.count('all ends') == 1
    assert log.count('demo run') == 2
