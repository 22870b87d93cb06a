# SPDX-License-Identifier: Apache-2.0
"""Files are read up to a bound, and what has no end is not waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from depth_core.files import read_text, read_whole


def test_what_has_no_end_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.txt')
    for path in (tmp_path / 'pipe.txt', Path('/dev/zero')):
        with pytest.raises(OSError, match=r'^it is a device or a named pipe, and not a file$'):
            read_text(path)


def test_a_pipe_of_the_shell_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b'a list\n')
    os.close(writing)
    try:
        assert read_text(Path(f'/dev/fd/{reading}')) == 'a list\n'
    finally:
        os.close(reading)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / 'list.txt'
    path.write_bytes(b'abcde')
    assert read_whole(path, 5) == b'abcde'
    with pytest.raises(OSError, match=r'^it has more than 4 bytes'):
        read_whole(path, 4)
