# SPDX-License-Identifier: Apache-2.0
"""Names from outside cannot speak to a terminal, a table or a page."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys

import pytest
from rich.table import Table

from depth_core.errors import DataError
from depth_core.names import printable, printable_html, printable_lines, show_log
from depth_core.terminal import open_console


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('Straße 1/[bold]a.png', 'Straße 1/[bold]a.png'),
        ('\x1b[2J\x07', r'\x1b[2J\x07'),
        ('a\nerror: b\r', r'a\nerror: b\r'),
        ('caf\udce9.png', r'caf\xe9.png'),
        ('\ud800', r'\ud800'),
        ('gnp.\u202eexe', r'gnp.\u202eexe'),
        ('\x9b31m', r'\x9b31m'),
    ],
)
def test_what_a_terminal_obeys_is_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown
    shown.encode()


def test_a_message_keeps_its_own_lines_and_no_others() -> None:
    error = DataError('two problems:\n  a\nerror: forged\n  b\x1b[0m')
    assert str(error) == 'two problems:\n  a\\nerror: forged\n  b\\x1b[0m'


def test_a_long_message_is_cut_in_its_middle() -> None:
    name = 'begin' + 'x' * 100_000 + 'end'
    values = '1, ' * 100_000
    for said in (printable_lines(f'{name} is unknown'), printable_lines(f'{values} are given')):
        assert len(said) <= 2000
        assert printable_lines(said) == said, 'a message inside another is cut once'
    assert printable_lines(name) == 'begin' + 'x' * 175 + '[... 99648 characters ...]' + (
        'x' * 177 + 'end'
    )
    assert len(printable_lines('\x1b' * 1000)) <= 400, 'as it is shown, escaped'


def test_many_lines_of_a_message_are_counted() -> None:
    said = printable_lines('many:' + ''.join(f'\n  line {number}' for number in range(100)))
    assert len(said.splitlines()) == 30
    assert said.endswith('  line 26\n  [... 72 lines ...]\n  line 99')


def test_a_page_gets_no_tags() -> None:
    assert printable_html('<b>"\x1b\'') == '&lt;b&gt;&quot;\\x1b&#x27;'


def test_a_log_shows_names_escaped() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    former, root.handlers = root.handlers, []
    try:
        show_log(logging.WARNING, stream=stream)
        logging.getLogger('depth_core.here').warning('%s is left out', 'a\n\x1b[1mb')
    finally:
        root.handlers = former
    assert stream.getvalue() == 'a\\n\\x1b[1mb is left out\n'


def test_a_stream_of_a_command_obeys_nothing() -> None:
    script = (
        'import sys\n'
        'from depth_core.errors import run_command\n'
        "run_command(lambda: sys.stdout.write('a\\x1b[2J\\u202e\\r\\tb\\n'))\n"
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, check=True)
    assert done.stdout == b'a\\x1b[2J\\u202e\\r\tb\n'


def test_a_table_shows_names_as_they_are_without_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('COLUMNS', raising=False)
    table = Table(title='[red]\x1b[2J')
    table.add_column('[b]')
    table.add_row('[bold]a[/bold]\nb:bug:\x1b]0;x\x07')
    table.add_row(100 * 'w')
    console = open_console()
    console.print(table)
    console.print('[i]Report\x9b[/i]')
    shown = capsys.readouterr().out
    for text in (
        '[red]\\x1b[2J',
        '[b]',
        '[bold]a[/bold]\\nb:bug:\\x1b]0;x\\x07',
        '[i]Report\\x9b',
        100 * 'w',  # no terminal is as narrow as that
    ):
        assert text in shown
    assert '\x1b' not in shown


def test_a_terminal_still_gets_the_colours_of_a_table() -> None:
    script = (
        'import sys\n'
        'from depth_core.errors import run_command\n'
        'from depth_core.terminal import open_console\n'
        "run_command(lambda: open_console().print('a\\x1b[2J', style='red'))\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, 'FORCE_COLOR': '1', 'TERM': 'xterm'},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b'\x1b[31ma\\x1b[2J\x1b[0m\n'
