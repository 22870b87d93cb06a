# SPDX-License-Identifier: Apache-2.0
"""How commands end: by one line for what a user can cause, and one word for Ctrl-C."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from depth_core.errors import ConfigError, run_command, unknown_name


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
    assert finished.returncode == 130


def test_importing_the_package_leaves_the_hook_of_others_alone() -> None:
    program = 'import sys, depth_core; print(sys.excepthook is sys.__excepthook__)'
    finished = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert finished.stdout == 'True\n'


WRITES = "sys.stdout.write('line\\n' * 100_000)"
"""More than the buffers of Python and of a pipe hold."""
HELPS = (
    'from depth_core.arguments import CommandParser; '
    "CommandParser(prog='p', description='word ' * 20_000).parse_command(['--help'])"
)
FULL = (
    'error: cannot write to standard output: No space left on device; redirect it to where there '
    'is space.\n'
)
TERMINATED_ITSELF = 'signal.raise_signal(signal.SIGTERM)'


def ended(main: str, redirection: str, *, unbuffered: bool = False) -> tuple[int, str]:
    """Status and stderr of a command whose main function is `main`."""
    program = (
        'import signal, sys\nfrom depth_core.errors import DepthError, run_command\n'
        f'def main():\n    {main}\nrun_command(main)'
    )
    finished = subprocess.run(
        ['bash', '-c', f'"$0" -c "$1" {redirection}; exit ${{PIPESTATUS[0]}}',
         sys.executable, program],
        env=os.environ | {'PYTHONUNBUFFERED': '1' if unbuffered else ''},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return finished.returncode, finished.stderr


@pytest.mark.parametrize(
    ('main', 'redirection', 'status', 'said'),
    [
        (WRITES, '| head -1', 141, ''),
        (
            WRITES,
            '> /dev/full',
            2,
            FULL,
        ),
        (HELPS, '| head -1', 141, ''),
        (HELPS, '> /dev/full', 2, FULL),
        (WRITES, '>&-', 0, ''),
        ('sys.exit("no output")', '>&-', 1, 'no output\n'),
        ("raise DepthError('wrong')", '2> /dev/full', 2, ''),
        ("raise DepthError('wrong')", '2>&-', 2, ''),
        (TERMINATED_ITSELF, '', 143, 'terminated\n'),
        ('raise KeyboardInterrupt', '', 130, 'interrupted\n'),
    ],
)
def test_lost_streams_and_signals_end_a_command_without_a_traceback(
    main: str, redirection: str, status: int, said: str
) -> None:
    assert ended(main, redirection) == (status, said)


@pytest.mark.parametrize('unbuffered', [False, True])
def test_progress_on_stderr_is_seen_at_once(*, unbuffered: bool) -> None:
    main = "sys.stderr.write('seen\\n'); import os; os.write(2, b'and more\\n')"
    assert ended(main, '', unbuffered=unbuffered) == (0, 'seen\nand more\n')


def test_a_command_within_a_command_says_its_end_once() -> None:
    assert ended(f'run_command(lambda: {TERMINATED_ITSELF})', '') == (143, 'terminated\n')


def test_no_file_of_a_command_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    path = tmp_path / 'answer'
    main = f"file = open({str(path)!r}, 'w'); import os; os.write(1, b'of a library')"
    assert ended(main, '>&-') == (0, '')
    assert path.read_text() == ''


def test_a_name_that_has_no_end_is_shown_by_its_beginning() -> None:
    message = unknown_name('model', 'a' * 100_000, ['cliffnet'])
    assert message == f"unknown model '{'a' * 200}...'. Known: cliffnet"
