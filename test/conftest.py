# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

import depth_core  # noqa: F401 before any test imports a runtime: it switches statistics off
from test.fakes.gpu import Gpu
from test.fakes.installation import installed

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / 'shared'


def pytest_configure() -> None:
    """Settle what differs between ways of starting the tests, before torch is imported.

    A shell has its background jobs ignore Ctrl-C, and what they start would never hear it.
    """
    if 'PYTEST_XDIST_WORKER' in os.environ:  # as many workers as cores, so a thread for each
        os.environ.setdefault('OMP_NUM_THREADS', '1')
    # Which backend runs when none is named must not depend on how busy the machine is.
    os.environ.setdefault('DEPTH_ROS_MEASURE', '0')
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what is there before the first test out of every later look for garbage.

    The libraries and the tests are millions of objects that stay, and each look goes through them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Let everything go again: some libraries complain of what is left when Python ends."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _levels_of_loggers() -> None:
    """Start each test with the levels of a fresh process: a command sets those it shows.

    What a test logs is compared, and goes into its report.
    """
    logging.getLogger().setLevel(logging.WARNING)
    for name in ('depth_core', 'depth_ros'):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope='session')
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """The folder of recorded data and reference arrays that may stand beside the checkout.

    It is too large, or not ours, to be in the repository. A test that uses it has a twin on
    synthetic data, so that nothing goes untested where it is absent.
    """
    if not SHARED.is_dir():
        pytest.skip('recorded data: there is no folder shared/ beside the checkout')
    return SHARED


@pytest.fixture
def fake_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """Fakes of TensorRT 10.3, TensorRT-RTX, PyCUDA and cuda-python, here and in child processes.

    Engines are kept with the files of the test where no other folder is named.

    `test.fakes.installation.installed` gives other versions, or fewer of them.
    """
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'user_cache'))
    with installed() as gpu:
        yield gpu
