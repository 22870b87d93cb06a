# SPDX-License-Identifier: Apache-2.0
"""Files: reading text as any system writes it, and writing so that nothing is seen half or lost.

Whatever this package writes is made in a hidden folder beside its place and renamed; both are on
the disk before the next step. The folder is locked by the process that fills it, so that the next
process to write there can tell what a killed one left, and removes it.
"""

from depth_core.files.locks import give_back, try_lock
from depth_core.files.reading import (
    FileState,
    decode_text,
    gunzipped,
    is_hidden,
    is_utf8,
    read_text,
    read_unchanged,
    read_whole,
    sha256_of,
    state_of,
    visible_paths,
)
from depth_core.files.unfinished import scratch_folder, sweep, unfinished_folder
from depth_core.files.writing import (
    check_absent,
    check_file_writable,
    check_writable,
    replaced_atomically,
    replaced_folder,
    replaced_together,
    sync_folder,
    write_text_atomically,
)

__all__ = [
    'FileState',
    'check_absent',
    'check_file_writable',
    'check_writable',
    'decode_text',
    'give_back',
    'gunzipped',
    'is_hidden',
    'is_utf8',
    'read_text',
    'read_unchanged',
    'read_whole',
    'replaced_atomically',
    'replaced_folder',
    'replaced_together',
    'scratch_folder',
    'sha256_of',
    'state_of',
    'sweep',
    'sync_folder',
    'try_lock',
    'unfinished_folder',
    'visible_paths',
    'write_text_atomically',
]
