# SPDX-License-Identifier: Apache-2.0
"""By what a run is known when it is resumed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def identity(folder: Path) -> str:
    """Make an identifier of the folder's name and of when the run in it was first started."""
    starts = json.loads((folder / 'run.json').read_text(encoding='utf-8'))
    text = f'{folder.resolve().name} {starts[0]["started"]}'
    return hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()[:16]
