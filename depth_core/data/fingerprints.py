# SPDX-License-Identifier: Apache-2.0
"""Whether the files that samples are made from have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from depth_core.data.sample import DepthDataset, sources_of
from depth_core.files import FileState, state_of

DIGEST_BYTES: Final = 16
"""Length of a fingerprint."""

_READ_BYTES: Final = 1 << 20


class Fingerprints:
    """What is compared to see whether the files of a sample have changed."""

    def __init__(self, dataset: DepthDataset) -> None:
        self._dataset = dataset
        self._contents: dict[tuple[Path, FileState], bytes] = {}

    def state(self, index: int) -> NDArray[np.uint8]:
        """Of the sizes and times of its files, [16]; quick."""
        paths = sources_of(self._dataset, index)
        return _digest(repr([(str(path), state_of(path)) for path in paths]).encode())

    def content(self, index: int) -> NDArray[np.uint8]:
        """Of what is in its files, [16]."""
        paths = sources_of(self._dataset, index)
        return _digest(b''.join(self._content(path) for path in paths))

    def _content(self, path: Path) -> bytes:
        state = state_of(path)
        if state is None:
            return bytes(DIGEST_BYTES)
        if (path, state) not in self._contents:
            digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
            with path.open('rb') as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
            self._contents[path, state] = digest.digest()
        return self._contents[path, state]


def _digest(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(), np.uint8)
