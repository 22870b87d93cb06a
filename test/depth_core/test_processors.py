# SPDX-License-Identifier: Apache-2.0
"""The numeric tests are run under what this processor can do, and no setting is misspelt."""

from __future__ import annotations

import pytest

from test.processors import SETTINGS, main, settings_of


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
