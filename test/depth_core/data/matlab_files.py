# SPDX-License-Identifier: Apache-2.0
"""Files as MATLAB 5 to 7 writes them, and a tree of iBims-1 of such."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

HEIGHT, WIDTH = 2, 4


def element(kind: int, content: bytes) -> bytes:
    """An element of a MATLAB file."""
    return struct.pack('<2I', kind, len(content)) + content + b'\0' * (-len(content) % 8)


def matrix(values: Any, name: bytes = b'') -> bytes:
    """An array of bytes or doubles as MATLAB stores it, columns before rows."""
    array = np.asarray(values)
    class_, kind = (9, 2) if array.dtype == np.uint8 else (6, 9)
    plain = array if kind == 2 else array.astype('<f8')
    return element(
        14,
        element(6, struct.pack('<2I', class_, 0))
        + element(5, np.array(array.shape, '<i4').tobytes())
        + element(1, name)
        + element(kind, plain.tobytes(order='F')),
    )


def structure(fields: dict[str, Any], name: bytes = b'data') -> bytes:
    """A structure of arrays; its length of names is a small element."""
    return element(
        14,
        element(6, struct.pack('<2I', 2, 0))
        + element(5, np.array((1, 1), '<i4').tobytes())
        + element(1, name)
        + struct.pack('<2Hi', 5, 4, 32)
        + element(1, b''.join(key.encode().ljust(32, b'\0') for key in fields))
        + b''.join(matrix(value) for value in fields.values()),
    )


def write_matlab(path: Path, *variables: bytes) -> None:
    packed = (zlib.compress(variable) for variable in variables)
    content = b''.join(struct.pack('<2I', 15, len(item)) + item for item in packed)
    head = b'MATLAB 5.0 MAT-file'.ljust(124) + struct.pack('<H', 0x0100) + b'IM'
    path.write_bytes(head + content)


def ibims_matlab(root: Path) -> None:
    root.mkdir(parents=True)
    invalid, transparent = np.ones((2, HEIGHT, WIDTH), np.uint8)
    invalid[0, 2], transparent[0, 3] = 0, 0
    fields = {
        'rgb': np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
        'depth': [[0.0, 50.0, 10.0, 10.0], [10.0] * 4],
        'mask_invalid': invalid,
        'mask_transp': transparent,
        'calib': [[550.5, 0.0, 0.0], [0.0, 551.5, 0.0], [316.5, 239.5, 1.0]],
    }
    write_matlab(root / 'corridor_01.mat', matrix([[1.0]], b'other'), structure(fields))
    (root / 'imagelist.txt').write_text('corridor_01\n')
