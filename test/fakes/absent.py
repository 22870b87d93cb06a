# SPDX-License-Identifier: Apache-2.0
"""Fakes of packages that are not installed."""

from __future__ import annotations

import os


def refuse_if_absent(name: str) -> None:
    """Answer the import of a package that FAKE_ABSENT names as Python does."""
    if name in os.environ.get('FAKE_ABSENT', '').split():
        message = f'No module named {name!r}'
        raise ModuleNotFoundError(message, name=name)
