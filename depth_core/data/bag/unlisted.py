# SPDX-License-Identifier: Apache-2.0
"""A split recording whose recorder died, so that no metadata.yaml says what belongs together.

Its files are numbered; `rosbags` is given the metadata that the recorder would have written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rosbags.rosbag2.reader import DirectoryReader

from depth_core.data.bag.cut_off import BagReader, count_again
from depth_core.data.bag.storage import METADATA

_PLUGINS: Final = {'.mcap': 'mcap', '.db3': 'sqlite3'}


class UnlistedFolder:
    """The path of such a folder, as `rosbags` takes one; its metadata is made when it is read.

    Args:
        path: The folder.
        files: What belongs together, in the order of recording.
    """

    suffix = ''

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self._path = path
        self._files = files

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, name: Any) -> Any:  # noqa: ANN401  what stands for a path
        return self if name == METADATA else self._path / name

    def exists(self) -> bool:
        """Whether it is there."""
        return self._path.is_dir()

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return True

    def read_text(self) -> str:
        """The metadata: the topics of all files; JSON is YAML."""
        topics: dict[tuple[str, str], dict[str, Any]] = {}
        for file in self._files:
            with BagReader(file) as reader:
                for item in reader.connections:
                    described = {'name': item.topic, 'type': item.msgtype}
                    described |= {'serialization_format': 'cdr', 'offered_qos_profiles': ''}
                    topic = {'topic_metadata': described, 'message_count': 0}
                    topics.setdefault((item.topic, item.msgtype), topic)
        content = {
            'version': 5,
            'storage_identifier': _PLUGINS[self._files[0].suffix],
            'relative_file_paths': [file.name for file in self._files],
            'duration': {'nanoseconds': 0},
            'starting_time': {'nanoseconds_since_epoch': 0},
            'message_count': 0,
            'topics_with_message_count': list(topics.values()),
        }
        return json.dumps({'rosbag2_bagfile_information': content})


def describe_as_files(folder: DirectoryReader) -> None:
    """Let such a folder, once open, state what its files state of topics and messages."""
    stored = [item for part in folder.storages for item in part.connections]
    first = {(item.topic, item.msgtype): item.ext for item in reversed(stored)}
    folder.connections = [
        item._replace(ext=first[item.topic, item.msgtype]) for item in folder.connections
    ]
    count_again(folder)
