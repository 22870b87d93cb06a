# SPDX-License-Identifier: Apache-2.0
"""`colcon build` sees a ROS package and installs what ros2 run and ros2 launch look for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = (
    'depth_core',
    'depth_ros',
    'config',
    'foxglove',
    'launch',
    'recordings',
    'resource',
    'rviz',
    'trt_engines',
)
FILES = ('package.xml', 'setup.py', 'setup.cfg', 'README.md', 'LICENSE')
EXECUTABLES = {
    'demo',
    'evaluate_bag',
    'running_error',
    'kitti_to_bag',
    'mono_depth',
    'play_bag',
    'snapshot',
    'stress',
    'synthetic_camera',
}


@pytest.fixture(scope='module')
def workspace(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colcon workspace in which a copy of this package has been built."""
    workspace = tmp_path_factory.mktemp('workspace')
    source = workspace / 'src' / 'depth_ros'
    source.mkdir(parents=True)
    for part in PARTS:
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(repository / part, source / part, ignore=ignored)
    for file in FILES:
        shutil.copy(repository / file, source)
    built = subprocess.run(
        [Path(sys.executable).with_name('colcon'), 'build'],
        cwd=workspace,
        env={**os.environ, 'COLCON_DEFAULTS_FILE': os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return workspace


@pytest.fixture(scope='module')
def installed(workspace: Path) -> Path:
    return workspace / 'install' / 'depth_ros'


def test_colcon_recognises_an_ament_python_package(workspace: Path) -> None:
    log = (workspace / 'log' / 'latest_build' / 'logger_all.log').read_text(encoding='utf-8')
    assert "Package 'src/depth_ros' with type 'ros.ament_python' and name 'depth_ros'" in log


def test_ros_can_find_the_package(installed: Path) -> None:
    index = installed / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'depth_ros'
    assert index.is_file()
    assert (installed / 'share' / 'depth_ros' / 'package.xml').is_file()


def test_both_packages_are_installed_whole(repository: Path, installed: Path) -> None:
    (site_packages,) = installed.glob('lib/python*/site-packages')
    for package in ('depth_core', 'depth_ros'):
        for kind in ('*.py', '*.json'):  # the manifests of public graphs among them
            ours = {path.relative_to(repository) for path in (repository / package).rglob(kind)}
            theirs = {
                path.relative_to(site_packages) for path in (site_packages / package).rglob(kind)
            }
            assert theirs == ours


@pytest.mark.parametrize(
    'folder', ['launch', 'config', 'foxglove', 'recordings', 'rviz', 'trt_engines']
)
def test_the_files_a_robot_needs_are_installed(
    repository: Path, installed: Path, folder: str
) -> None:
    kept = {path for path in (repository / folder).rglob('*') if path.is_file()}
    ours = {path.relative_to(repository) for path in kept if '__pycache__' not in path.parts}
    share = installed / 'share' / 'depth_ros'
    theirs = {path.relative_to(share) for path in (share / folder).rglob('*') if path.is_file()}
    assert theirs == ours
    assert ours, f'{folder} is empty'


def test_the_executables_are_where_ros2_run_looks(installed: Path) -> None:
    scripts = installed / 'lib' / 'depth_ros'
    assert {path.name for path in scripts.iterdir()} == EXECUTABLES
    assert all(os.access(path, os.X_OK) for path in scripts.iterdir())
    first_lines = {path.read_text(encoding='utf-8').splitlines()[0] for path in scripts.iterdir()}
    assert first_lines == {'#!/usr/bin/env python3'}, 'not the python that happened to build it'


@pytest.mark.parametrize('name', sorted(EXECUTABLES))
def test_an_installed_executable_runs_the_installed_code(
    installed: Path, tmp_path: Path, name: str
) -> None:
    (site_packages,) = installed.glob('lib/python*/site-packages')
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    finished = subprocess.run(
        [installed / 'lib' / 'depth_ros' / name, '--help'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(site_packages), 'PATH': path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert 'usage:' in finished.stdout.lower()
