# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import depth_core  # noqa: F401 before any test imports a runtime: it switches statistics off

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / 'shared'


def pytest_configure() -> None:
    """Undo what a shell does to its background jobs: what they start never hears Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
