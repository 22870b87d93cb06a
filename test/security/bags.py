# SPDX-License-Identifier: Apache-2.0
"""Hostile recordings, put together byte by byte: chunks, definitions and metadata."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from rosbags.rosbag2 import storage_mcap

_MAGIC: Final = b'\x89MCAP0\r\n'
_ZSTD: Final[Any] = storage_mcap.__dict__['zstd']
_MANY: Final = 1 << 29


@functools.cache
def _zeros() -> bytes:
    """Half a gigabyte of zeros, packed."""
    return bytes(_ZSTD.compress(bytes(_MANY)))


def _string(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return struct.pack('<I', len(content)) + content


def _record(code: int, content: bytes) -> bytes:
    return bytes([code]) + struct.pack('<Q', len(content)) + content


def _mcap(
    *,
    definition: str = 'uint8 data',
    packed: bytes | None = None,
    stated: int | None = None,
    compression: str = 'zstd',
    metadata: bytes = b'',
    data: bytes = b'\0\1\0\0\x07',
    name: str = 'x_msgs/msg/X',
    topic: str = '/x',
    encoding: str = 'ros2msg',
    copies: int = 1,
    listed: int = 1,
) -> Callable[[Path], None]:
    """A recording of one message in one chunk, there so many times and listed as often."""
    message = _record(5, struct.pack('<HIQQ', 1, 0, 5, 5) + data)
    size = len(message) if stated is None else stated
    content = _ZSTD.compress(message) if packed is None else packed
    head = _MAGIC + _record(1, _string('ros2') + _string('attack'))
    chunk = _record(
        6,
        struct.pack('<QQQI', 5, 5, size, 0)
        + _string(compression)
        + struct.pack('<Q', len(content))
        + content,
    )
    places = [len(head) + number * len(chunk) for number in range(copies)] * listed
    index = b''.join(
        _record(
            8,
            struct.pack('<QQQQ', 5, 5, place, len(chunk))
            + _string(struct.pack('<HQ', 1, place - 31))  # one message in its index
            + struct.pack('<Q', 0)
            + _string(compression)
            + struct.pack('<QQ', len(content), size),
        )
        for place in places
    )
    schema = _record(
        3, struct.pack('<H', 1) + _string(name) + _string(encoding) + _string(definition)
    )
    channel = _record(
        4, struct.pack('<HH', 1, 1) + _string(topic) + _string('cdr') + _string(metadata)
    )
    statistics = _record(
        0x0B, struct.pack('<QHIIIIQQ', 1, 1, 1, 0, 0, 1, 5, 5) + _string(struct.pack('<HQ', 1, 1))
    )
    summary = schema + channel + index + statistics
    foot = _record(2, struct.pack('<QQI', len(head) + copies * len(chunk), 0, 0)) + _MAGIC

    def make(path: Path) -> None:
        path.write_bytes(head + chunk * copies + summary + foot)

    return make


def _bomb(stated: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        _mcap(packed=_zeros(), stated=stated)(path)

    return make


def _zero_file(path: Path) -> None:
    path.write_bytes(bytes(100))


def _metadata(text: str) -> Callable[[Path], None]:
    """A folder with such a metadata.yaml."""

    def make(path: Path) -> None:
        path.mkdir()
        _mcap()(path / 'bag.mcap')
        (path / 'metadata.yaml').write_text(text, encoding='utf-8')

    return make


def _file_bomb(path: Path) -> None:
    """A folder whose storage file is compressed as a whole, from half a gigabyte of zeros."""
    path.mkdir()
    (path / 'bag.mcap.zstd').write_bytes(_zeros())
    text = """rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  relative_file_paths: [bag.mcap.zstd]
  duration: {nanoseconds: 1}
  starting_time: {nanoseconds_since_epoch: 5}
  message_count: 1
  topics_with_message_count: []
  compression_format: zstd
  compression_mode: FILE
"""
    (path / 'metadata.yaml').write_text(text, encoding='utf-8')


def _doubled(levels: int) -> str:
    """A type of two of a type of two of a type, `levels` times."""
    parts = [f'T{number + 1} a\nT{number + 1} b' for number in range(levels)] + ['uint8 a']
    text = parts[0]
    for number, part in enumerate(parts[1:], 1):
        text += f'\n{"=" * 80}\nMSG: x_msgs/T{number}\n{part}'
    return text


def _qos(text: str) -> bytes:
    return _string('offered_qos_profiles') + _string(text)


_LAUGHS: Final = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{new}: &{new} [{", ".join([f"*{old}"] * 9)}]\n'
    for old, new in zip('abcdefghi', 'bcdefghij', strict=True)
)

BAGS: Final[Mapping[str, Callable[[Path], None]]] = {
    'zeros.mcap': _zero_file,
    'bomb.mcap': _bomb(_MANY),
    'stated_small.mcap': _bomb(100),
    'stated_huge.mcap': _mcap(stated=1 << 62),
    'no_zstd.mcap': _mcap(packed=b'hello'),
    'other_compression.mcap': _mcap(compression='\x1b[2J\n'),
    'no_lz4.mcap': _mcap(compression='lz4', packed=b'hello'),
    'chunk_in_chunk.mcap': _mcap(data=bytes(8 << 20), definition='uint8[] a', listed=2000),
    'chunks_of_one_time.mcap': _mcap(data=bytes(60 << 20), definition='uint8[] a', copies=10),
    'thousands_of_fields.mcap': _mcap(
        definition='\n'.join(f'uint8 a{number}' for number in range(20_000))
    ),
    'doubled_types.mcap': _mcap(definition=_doubled(60)),
    'holds_itself.mcap': _mcap(definition='x_msgs/X a'),
    'holds_itself_in_lists.mcap': _mcap(definition='x_msgs/X[] a'),
    'empty_lists.mcap': _mcap(
        definition=f'E[4294967295] a\n{"=" * 80}\nMSG: x_msgs/E\n', data=b'\0\1\0\0' + bytes(8)
    ),
    'long_array.mcap': _mcap(
        definition=f'E[4294967295] a\n{"=" * 80}\nMSG: x_msgs/E\nuint8 a', data=bytes(12)
    ),
    'long_plain_array.mcap': _mcap(definition='float64[4294967295] a', data=bytes(12)),
    'long_string.mcap': _mcap(definition='string a', data=b'\0\1\0\0\xff\xff\xff\xff'),
    'long_list.mcap': _mcap(definition='float64[] a', data=b'\0\1\0\0\xff\xff\xff\x7f' + bytes(8)),
    'code.mcap': _mcap(definition='uint8 a"); __import__("os")._exit(3); ("'),
    'code_in_constant.mcap': _mcap(definition='string A=__import__("os")._exit(3)\nuint8[9] a'),
    'code_in_name.mcap': _mcap(
        name='x_msgs/msg/X(__import__("os")._exit(3))', definition='uint8[9] a'
    ),
    'comments.mcap': _mcap(definition='# a\n' * 500_000),
    'idl_braces.mcap': _mcap(encoding='ros2idl', definition='module a {' * 5000),
    'idl_noise.mcap': _mcap(encoding='ros2idl', definition='}' * 10_000),
    'qos_nested.mcap': _mcap(metadata=_qos('[' * 20_000)),
    'qos_laughs.mcap': _mcap(metadata=_qos(_LAUGHS), definition='uint8[9] a'),
    'topic_escapes.mcap': _mcap(topic='/\x1b[2J\nx', definition='uint8[9] a'),
    'laughs': _metadata(_LAUGHS),
    'nested': _metadata('[' * 50_000),
    'dashes': _metadata('- ' * 20_000),
    'itself': _metadata('rosbag2_bagfile_information: &a {version: *a}'),
    'object': _metadata('rosbag2_bagfile_information: !!python/object/apply:os._exit [3]'),
    'digits': _metadata('rosbag2_bagfile_information: {version: ' + '9' * 5000 + '}'),
    'elsewhere': _metadata(
        'rosbag2_bagfile_information: {version: 5, relative_file_paths: [/etc/hostname], '
        'storage_identifier: mcap}'
    ),
    'file_bomb': _file_bomb,
}
