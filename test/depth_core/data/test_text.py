# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from depth_core.data.text import numbers_of, read_entries, read_lines, rotation_of
from depth_core.errors import DataError
from depth_core.files import is_hidden, read_text

ENCODINGS = ('utf-8', 'utf-8-sig', 'utf-16', 'utf-32')


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('ending', ['\n', '\r\n'])
def test_lines_of_any_system_are_the_same(tmp_path: Path, encoding: str, ending: str) -> None:
    content = ending.join(('Küche/1', '', ' b ', '')).encode(encoding)
    (tmp_path / 'list.txt').write_bytes(content)
    (tmp_path / 'list.txt.gz').write_bytes(gzip.compress(content))
    for name in ('list.txt', 'list.txt.gz'):
        assert read_lines(tmp_path / name) == [(1, 'Küche/1'), (3, 'b')]


@pytest.mark.parametrize('encoding', ['utf-16-le', 'utf-16-be'])
def test_both_byte_orders_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / 'a').write_bytes(('\ufeff' + 'a: 1').encode(encoding))
    assert read_text(tmp_path / 'a') == 'a: 1'


def test_entries_keep_their_names_behind_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / 'calib.txt').write_bytes('R: 1 2\r\nT: 3\r\n'.encode('utf-8-sig'))
    assert read_entries(tmp_path / 'calib.txt') == {'R': ' 1 2', 'T': ' 3'}


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / 'list.txt').write_bytes('Küche'.encode('latin-1'))
    with pytest.raises(DataError, match=r'list.txt cannot be read: .*UTF-8 text file'):
        read_lines(tmp_path / 'list.txt')
    with pytest.raises(DataError, match=r'calibration .*list.txt cannot be read'):
        read_entries(tmp_path / 'list.txt')


def test_a_line_without_end_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    (tmp_path / 'list.txt').write_text('a\n' + 'b' * 100_000)
    with pytest.raises(DataError, match=r'line 2 of list .* has 100000 characters') as caught:
        read_lines(tmp_path / 'list.txt')
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize('content', ['a: 1'.encode('utf-16-le'), b'\0\1\2'])
def test_zero_bytes_are_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'list.txt').write_bytes(content)
    with pytest.raises(DataError, match='it has zero bytes, as UTF-16 without a byte order mark'):
        read_lines(tmp_path / 'list.txt')


def test_numbers_are_read() -> None:
    assert numbers_of('1 -2.5\n3e1', 3, source='a').tolist() == [1.0, -2.5, 30.0]


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('1 2', 'T of c has 2 numbers; it must have 3'),
        ('1 7,215377e+02 3', r"T of c has .*'7,215377e\+02' with a decimal comma.*7.215377e\+02"),
        ('1 nan 3', "T of c has 'nan' where a finite number is expected"),
        ('1 2 -inf', "T of c has '-inf' where a finite number"),
        ('1 2 x', "T of c has 'x' where a finite number"),
    ],
)
def test_what_is_no_number_is_named_with_its_entry(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        numbers_of(text, 3, source='T of c')


@pytest.mark.parametrize('text', ['0 0 0 0 0 0 0 0 0', '1 0 0 0 1 0 0 0 -1', '2 0 0 0 2 0 0 0 2'])
def test_a_matrix_that_does_not_turn_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r'R of c is .* no rotation'):
        rotation_of(text, source='R of c')
    assert rotation_of('0 -1 0 1 0 0 0 0 1', source='R of c')[1, 0] == 1.0


@pytest.mark.parametrize('name', ['._a.jpg', '.DS_Store', 'Thumbs.db', 'desktop.ini', '__MACOSX'])
def test_files_of_the_system_are_hidden(name: str) -> None:
    assert is_hidden(Path('folder') / name)
    assert not is_hidden(Path('.hidden') / 'a.jpg')
