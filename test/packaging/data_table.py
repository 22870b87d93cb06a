# SPDX-License-Identifier: Apache-2.0
"""Renew the table of data sets in docs/data.md, and nothing else there; `make docs` calls it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from depth_core.data.registry import dataset_table

PAGE: Final = Path(__file__).resolve().parents[2] / 'docs' / 'data.md'
_TABLE: Final = re.compile(r'^\| name \| reads \|.*?(?=\n\n|\Z)', re.MULTILINE | re.DOTALL)


def renewed(text: str) -> str:
    """The page with the table of the code in place of the one that it has."""
    return _TABLE.sub(lambda _: dataset_table().strip(), text, count=1)


def main() -> None:
    """Renew the page."""
    PAGE.write_text(renewed(PAGE.read_text(encoding='utf-8')), encoding='utf-8')


if __name__ == '__main__':
    main()
