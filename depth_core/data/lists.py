# SPDX-License-Identifier: Apache-2.0
"""Text lists of samples, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from depth_core.errors import DataError


def read_lines(path: Path) -> Sequence[tuple[int, str]]:
    """Read the lines that are not blank, with their numbers from 1.

    Raises:
        DataError: The file is missing, not text, truncated, or has no line.
    """
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == '.gz' else content).decode('utf-8')
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        message = f'list {path} cannot be read: {error}; give a text file, plain or .gz.'
        raise DataError(message) from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        message = f'list {path} is empty; it must name at least one sample, one a line.'
        raise DataError(message)
    return lines
