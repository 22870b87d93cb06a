# SPDX-License-Identifier: Apache-2.0
"""The Fast DDS profile that camera images need, cut to the shared memory there is."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

from depth_core.files import write_text_atomically
from depth_core.shipped import shipped_file

SHARED_MEMORY: Final = Path('/dev/shm')  # noqa: S108 where Fast DDS keeps its segments
PROFILE: Final = 'config/fastdds.xml'

_SIZES: Final = re.compile(r'(<(?:segment_size|maxMessageSize)>)(\d+)(<)')
_OVERHEAD: Final = 1.25
"""A segment takes this much more than its size, queues and reserve included."""


def profile_variable() -> str:
    """Name of the variable that points Fast DDS to a profile: Humble has the former one."""
    vendor = 'FASTRTPS' if os.environ.get('ROS_DISTRO') == 'humble' else 'FASTDDS'
    return f'{vendor}_DEFAULT_PROFILES_FILE'


def fitting_profile(folder: Path, *, processes: int, free_bytes: int | None = None) -> Path:
    """Return a profile whose segments all fit into shared memory.

    A container has 64 MB there by default. The shipped profile asks for more in each
    process, and a process that does not get it sends its images as UDP fragments.

    Args:
        folder: Where a smaller profile is written, when one is needed.
        processes: How many processes will use it at once.
        free_bytes: Size of the shared memory that is free; looked up when None.

    Returns:
        The shipped profile, or a copy of it in `folder` with smaller segments.
    """
    shipped = shipped_file(PROFILE)
    if free_bytes is None:
        free_bytes = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    share = int(free_bytes / (processes * _OVERHEAD))
    text = shipped.read_text(encoding='utf-8')
    largest = max(int(size) for _, size, _ in _SIZES.findall(text))
    if share >= largest or share == 0:
        return shipped
    smaller = folder / 'fastdds.xml'
    write_text_atomically(smaller, _SIZES.sub(rf'\g<1>{share}\g<3>', text))
    return smaller
