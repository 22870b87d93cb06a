# SPDX-License-Identifier: Apache-2.0
"""The chunks of an MCAP file, as its index states them: none twice, not too many at a time.

The reader unpacks all chunks of the same time together, and one chunk as often as it is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rosbags.rosbag2.storage_mcap import ChunkInfo

MOST_OPEN_BYTES: Final = 256 << 20
"""Of the chunks that overlap in time, unpacked; recorders close a chunk after a megabyte or a few.
"""


class ChunkError(Exception):
    """The index of a file lists chunks that are not read."""


def check_chunks(chunks: Sequence[ChunkInfo]) -> None:
    """Refuse an index by which a small file becomes much to read.

    Raises:
        ChunkError: Two chunks share bytes of the file, or those of one time are too large.
    """
    places = sorted((one.chunk_start_offset, one.chunk_length) for one in chunks)
    for (start, length), (following, _) in pairwise(places):
        if start + length > following:
            message = f'its index lists the chunk at byte {following} within another'
            raise ChunkError(message)
    ends = [(one.message_start_time, 0, one.uncompressed_size) for one in chunks]
    ends += [(one.message_end_time, 1, -one.uncompressed_size) for one in chunks]
    open_bytes = 0
    for _, _, size in sorted(ends):
        open_bytes += size
        if open_bytes > MOST_OPEN_BYTES:
            message = (
                f'its chunks of the same time unpack to more than {MOST_OPEN_BYTES >> 20} MiB; '
                'sort its messages by time (mcap sort)'
            )
            raise ChunkError(message)
