# SPDX-License-Identifier: Apache-2.0
"""The metadata of a bag, parsed once in a process: a recording is opened for each of its parts.

`rosbags` reads it by a parser in Python, which takes most of the time of opening: milliseconds for
each topic. No other thread of the process gets on meanwhile.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from rosbags.rosbag2 import metadata as rosbag2_metadata
from rosbags.rosbag2 import reader as rosbag2_reader

_METADATA: Final[Any] = rosbag2_metadata
_READER: Final[Any] = rosbag2_reader
_YAML: Final[Any] = _READER.YAML
_KEPT: Final = 32
"""So many texts: of a bag, and of what its topics ask of a network."""


class _ParsedOnce(_YAML):  # type: ignore[misc]  # whatever parser rosbags has
    def load(self, text: str) -> Any:  # noqa: ANN401  whatever YAML can say
        """The values of a text; whoever gets them leaves them as they are."""
        return _parsed(text)


@functools.lru_cache(maxsize=_KEPT)
def _parsed(text: str) -> Any:  # noqa: ANN401  as above
    return _YAML(typ='safe').load(text)


def parse_once() -> None:
    """Let `rosbags` parse no metadata twice from now on, in this process."""
    _READER.YAML = _METADATA.YAML = _ParsedOnce
