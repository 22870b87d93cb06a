# SPDX-License-Identifier: Apache-2.0
"""Give recorded messages the stamps of now, without decoding them."""

from __future__ import annotations

import struct
from typing import Any, Final

_STAMP_OFFSET: Final = 4
"""Bytes of the encapsulation header, before the first field of a serialised message."""

_STAMP_BYTES: Final = 8
_LATEST_NS: Final = (2**31 - 1) * 1_000_000_000
"""The last stamp that fits into a header."""


def begins_with_header(message_class: type[Any]) -> bool:
    """Whether the first field of a message is its header, and so its stamp in a known place."""
    fields = list(message_class.get_fields_and_field_types().items())
    return fields[:1] == [('header', 'std_msgs/Header')]


class Restamp:
    """Moves stamps into the present; those that were equal stay equal.

    The first message has the moment at which it is due for its stamp, and every other one its
    recorded distance to that, at the speed that is played. A stamp of 0 means that there is none
    and stays.

    Args:
        rate: Speed of the playback; 2 halves the distances.
    """

    def __init__(self, *, rate: float) -> None:
        self._rate = rate
        self._first: tuple[int, int] | None = None

    def __call__(self, data: bytes, due_ns: int) -> bytes:
        """Return a message with another stamp.

        Args:
            data: Serialised message that begins with a header.
            due_ns: When it is due, by the system clock.
        """
        if len(data) < _STAMP_OFFSET + _STAMP_BYTES:
            return data
        stamp = struct.Struct(f'{"<" if data[1] & 1 else ">"}iI')
        seconds, nanoseconds = stamp.unpack_from(data, _STAMP_OFFSET)
        recorded_ns = seconds * 1_000_000_000 + nanoseconds
        if recorded_ns == 0:
            return data
        if self._first is None:
            self._first = recorded_ns, due_ns
        first_ns, begun_ns = self._first
        moved_ns = begun_ns + int((recorded_ns - first_ns) / self._rate)
        changed = bytearray(data)
        parts = divmod(min(max(moved_ns, 0), _LATEST_NS), 1_000_000_000)
        stamp.pack_into(changed, _STAMP_OFFSET, *parts)
        return bytes(changed)
