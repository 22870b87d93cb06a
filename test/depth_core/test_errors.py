# SPDX-License-Identifier: Apache-2.0
"""How commands end: by one line for what a user can cause, and one word for Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depth_core.errors import ConfigError, run_command


@pytest.mark.parametrize(
    ('raised', 'status', 'said'),
    [
        (None, 0, ''),
        (
            ConfigError('rate is -1; give one above 0.'),
            2,
            'error: rate is -1; give one above 0.\n',
        ),
        (KeyboardInterrupt(), 130, 'interrupted\n'),
    ],
)
def test_what_a_command_answers(
    raised: BaseException | None, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        if raised is not None:
            raise raised

    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8'])
def test_text_that_a_terminal_lacks_is_written_escaped(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = {
        name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ('stdout', 'stderr')
    }
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def main() -> None:
        sys.stdout.write('caf\udce9.jpg')
        message = 'caf\udce9.jpg is no image'
        raise ConfigError(message)

    with pytest.raises(SystemExit):
        run_command(main)
    monkeypatch.undo()
    said = {}
    for name, stream in streams.items():
        stream.seek(0)
        said[name] = stream.read()
    assert said == {
        'stdout': r'caf\udce9.jpg',
        'stderr': 'error: caf\\xe9.jpg is no image\n',
    }


def test_a_defect_keeps_its_traceback() -> None:
    def main() -> None:
        message = 'a defect'
        raise ZeroDivisionError(message)

    with pytest.raises(ZeroDivisionError):
        run_command(main)


@pytest.mark.parametrize('command', ['depth_core.train', 'depth_core.bench', 'depth_ros.demo'])
def test_ctrl_c_while_a_command_is_still_imported(
    command: str, tmp_path: Path, repository: Path
) -> None:
    # The libraries that it needs first of all are interrupted, as by a key at that moment.
    for library in ('rich', 'numpy'):
        (tmp_path / f'{library}.py').write_text('raise KeyboardInterrupt\n')
    finished = subprocess.run(
        [sys.executable, '-m', command],
        cwd=repository,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stderr == 'interrupted\n'
    assert finished.returncode == -signal.SIGINT


def test_importing_the_package_leaves_the_hook_of_others_alone() -> None:
    program = 'import sys, depth_core; print(sys.excepthook is sys.__excepthook__)'
    finished = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert finished.stdout == 'True\n'
