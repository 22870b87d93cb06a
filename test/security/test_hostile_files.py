# SPDX-License-Identifier: Apache-2.0
"""Every hostile file is refused in words, quickly, within bounded memory, by a living process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from test.security.attack import Outcome, attack
from test.security.hostile import CASES, FORMATS


@pytest.mark.parametrize('format_', FORMATS)
def test_hostile_files_are_survived(format_: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.format == format_]
    outcomes = attack(cases, tmp_path)
    assert [outcome.name for outcome in outcomes] == [case.name for case in cases]
    assert _faults(outcomes) == {}


def _faults(outcomes: Sequence[Outcome]) -> Mapping[str, list[str]]:
    return {outcome.name: outcome.faults for outcome in outcomes if outcome.faults}
