# SPDX-License-Identifier: Apache-2.0
"""The numeric tests are run under what this processor can do, and no setting is misspelt."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from test.processors import SETTINGS, main, settings_of

NAMES = {setting.partition('=')[0] for setting in SETTINGS}


def test_a_processor_gets_the_settings_it_can_run() -> None:
    assert settings_of('AVX512') == list(SETTINGS)
    without = [setting for setting in SETTINGS if setting != 'ATEN_CPU_CAPABILITY=avx512']
    assert settings_of('AVX2') == without
    assert 'ATEN_CPU_CAPABILITY=avx2' not in settings_of('DEFAULT')


def test_a_setting_that_nobody_reads_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='2'):
        main(['ONEDNN_MAX_CPU_ISA=sse'])
    assert 'ONEDNN_MAX_CPU_ISA=sse is none of ATEN_CPU_CAPABILITY=default' in (
        capsys.readouterr().err
    )
    with pytest.raises(SystemExit, match='2'):
        main(['ATEN_CPU_CAPABILITY=default,MKL_CBWR=none'])
    assert 'MKL_CBWR=none is none of' in capsys.readouterr().err


def test_settings_of_several_libraries_are_tried_in_one_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, str]] = []
    files: list[Sequence[str]] = []

    def start(
        command: Sequence[str], *, env: dict[str, str], **_: object
    ) -> subprocess.CompletedProcess[str]:
        seen.append({key: env[key] for key in sorted(env) if key in NAMES})
        files.append([Path(item).name for item in command if item.endswith('.py')])
        return subprocess.CompletedProcess(command, 0, stdout='1 passed\n')

    monkeypatch.setenv('MKL_CBWR', 'AVX')
    monkeypatch.setattr(subprocess, 'run', start)
    assert main(['ATEN_CPU_CAPABILITY=default,ONEDNN_MAX_CPU_ISA=SSE41', 'OMP_NUM_THREADS=2']) == 0
    assert seen == [
        {'ATEN_CPU_CAPABILITY': 'default', 'ONEDNN_MAX_CPU_ISA': 'SSE41'},
        {'OMP_NUM_THREADS': '2'},
    ]
    assert all({'test_contract.py', 'test_conformance_networks.py'} <= {*item} for item in files)
    assert not any('test_house_rules.py' in item for item in files)
