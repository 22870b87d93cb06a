# SPDX-License-Identifier: Apache-2.0
"""What runtimes compile graphs to and find again by themselves, beside the engines.

Each has a folder of its own in that of the engines, and in it one for each graph.
"""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

OPENVINO: Final = 'openvino'
ONNXRUNTIME_TENSORRT: Final = 'onnxruntime-tensorrt'


def delete_compiled(folder: Path, *, older_than: timedelta = timedelta(0)) -> tuple[int, int]:
    """Delete what was compiled; a process that has it loaded goes on with it.

    Args:
        folder: Of the engines.
        older_than: Only what was written so long ago.

    Returns:
        How many files were deleted, and how many bytes they had.
    """
    files = size = 0
    newest = time.time() - older_than.total_seconds()
    for runtime in (OPENVINO, ONNXRUNTIME_TENSORRT):
        for file in (folder / runtime).glob('*/*'):
            with contextlib.suppress(OSError):  # another process may delete it too
                status = file.lstat()
                if older_than and status.st_mtime > newest:
                    continue
                file.unlink()
                files, size = files + 1, size + status.st_size
        for graph in (folder / runtime).glob('*'):
            with contextlib.suppress(OSError):  # it is not empty
                graph.rmdir()
    return files, size
