# SPDX-License-Identifier: Apache-2.0
"""What an encoded image says about itself, read before anything is allocated.

Decoders fill what a truncated file lacks with grey, and allocate what a header declares. So the
container is walked to its end, and the size taken from it, before a decoder gets it. Bytes after
the end are accepted: drivers send buffers larger than their image, phones append films.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from depth_core.images.errors import ImageError, ImageProblem
from depth_core.images.exif import TIFF_STARTS, orientation_of, tiff_numbers

Encoded: TypeAlias = bytes | memoryview
"""An encoded image, as it came."""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What an encoded image declares."""

    format: str
    """JPEG, PNG, WebP, BMP or TIFF."""
    height: int
    """Rows as stored, before the orientation is applied."""
    width: int
    """Columns as stored."""
    orientation: int = 1
    """How the stored pixels are to be turned, as in EXIF; 1 where they are upright, or where the
    decoder turns them."""
    exif: Encoded = b''
    """EXIF data, from their byte order mark on; empty where there are none."""


def read_header(content: Encoded) -> ImageHeader:
    """Read what an encoded image declares, and check that it is whole.

    Raises:
        ImageError: It is of another format, truncated, or its container is corrupt.
    """
    for place, start, read in _READERS:
        if content[place : place + len(start)] == start:
            try:
                return read(content)
            except (struct.error, IndexError):
                _truncated('image')
    found = bytes(content[:8]).hex(' ')
    begins = f'begins with {found}, which is' if found else 'is empty:'
    message = f'{begins} no JPEG, PNG, WebP, BMP or TIFF'
    raise ImageError(ImageProblem.DAMAGED, message)


def _with_exif(name: str, size: tuple[int, int], exif: Encoded) -> ImageHeader:
    height, width = size
    return ImageHeader(
        format=name, height=height, width=width, orientation=orientation_of(exif), exif=exif
    )


def _truncated(what: str) -> NoReturn:
    message = f'is a truncated {what} file: its end is missing'
    raise ImageError(ImageProblem.DAMAGED, message)


def _corrupt(what: str, problem: str) -> NoReturn:
    raise ImageError(ImageProblem.DAMAGED, f'is a corrupt {what} file: {problem}')


def _too_few(size: int, height: int, width: int) -> str:
    return f'{size} bytes cannot hold the {width}x{height} pixels it declares'


_JPEG_START: Final = b'\xff\xd8'
_JPEG_MARKER: Final = re.compile(rb'\xff[^\x00\x01\xd0-\xd8\xff]')
"""Markers but stuffed bytes, fill bytes, restarts and starts, which have no segment."""
_JPEG_END: Final = 0xD9
_JPEG_APP1: Final = 0xE1
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_HUFFMAN: Final = range(0xC0, 0xC8)
_JPEG_MOST_PIXELS: Final = 8 * 64
"""In a byte: each block of 8 x 8 pixels has at least one Huffman code, of one bit."""
_JPEG_SCAN: Final = 0xDA
_JPEG_MOST_SCANS: Final = 100
"""Progressive files have about ten; each costs as much time as a whole image."""
_EXIF: Final = b'Exif\0\0'


def _jpeg(content: Encoded) -> ImageHeader:
    """Walk the segments and scans to the end marker; a thumbnail lies inside a segment."""
    size: tuple[int, int] | None = None
    exif: Encoded = b''
    huffman, scans, position = False, 0, len(_JPEG_START)
    while found := _JPEG_MARKER.search(content, position):
        marker, start = content[found.start() + 1], found.end()
        if marker == _JPEG_END:
            break
        length = max(int.from_bytes(content[start : start + 2], 'big'), 2)
        segment = content[start + 2 : start + length]
        scans += marker == _JPEG_SCAN
        if marker in _JPEG_FRAMES and size is None:
            size = struct.unpack_from('>HH', segment, 1)
            huffman = marker in _JPEG_HUFFMAN
        elif marker == _JPEG_APP1 and segment[:6] == _EXIF and orientation_of(exif) == 1:
            exif = segment[6:]
        position = start + length
    else:
        _truncated('JPEG')
    if size is None:
        _corrupt('JPEG', 'it has no frame header')
    if scans > _JPEG_MOST_SCANS:
        _corrupt('JPEG', f'it has {scans} scans, and at most {_JPEG_MOST_SCANS} are read')
    height, width = size
    if huffman and height * width > len(content) * _JPEG_MOST_PIXELS:
        _corrupt('JPEG', _too_few(len(content), height, width))
    return _with_exif('JPEG', (height, width), exif)


_PNG_START: Final = b'\x89PNG\r\n\x1a\n'
_PNG_MOST_RATIO: Final = 1032
"""Of deflate: no byte of it stands for more."""
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _png(content: Encoded) -> ImageHeader:
    """Walk the chunks, with their check sums, to IEND."""
    exif: Encoded = b''
    size, bits, stored = (0, 0), 0, 0
    for kind, data in _png_chunks(content):
        if kind == b'IHDR':
            width, height, depth, colour = struct.unpack_from('>IIBB', data)
            size, bits = (height, width), depth * _PNG_CHANNELS.get(colour, 4)
        elif kind == b'IDAT':
            stored += len(data)
        elif kind == b'eXIf':
            exif = data
    height, width = size
    if height * width * bits > 8 * _PNG_MOST_RATIO * stored:
        _corrupt('PNG', _too_few(stored, height, width))
    return _with_exif('PNG', size, exif)


def _png_chunks(content: Encoded) -> Iterator[tuple[bytes, Encoded]]:
    position = len(_PNG_START)
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], 'big')
        end = position + 8 + length
        if end + 4 > len(content):
            break
        kind = bytes(content[position + 4 : position + 8])
        expected = int.from_bytes(content[end : end + 4], 'big')
        if zlib.crc32(content[position + 4 : end]) != expected:
            _corrupt('PNG', f'the check sum of its {kind.decode("latin-1")} chunk is wrong')
        if kind == b'IEND':
            return
        yield kind, content[position + 8 : end]
        position = end + 4
    _truncated('PNG')


def _webp(content: Encoded) -> ImageHeader:
    """Walk the chunks of the RIFF container (developers.google.com, WebP container)."""
    if struct.unpack_from('<I', content, 4)[0] + 8 > len(content):
        _truncated('WebP')
    size: tuple[int, int] | None = None
    exif: Encoded = b''
    position = 12
    while position + 8 <= len(content):
        kind = bytes(content[position : position + 4])
        length = struct.unpack_from('<I', content, position + 4)[0]
        data = content[position + 8 : position + 8 + length]
        if kind == b'VP8X':
            size = size or (_uint24(data, 7) + 1, _uint24(data, 4) + 1)
        elif kind == b'VP8L':
            packed = struct.unpack_from('<I', data, 1)[0]
            size = size or ((packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1)
        elif kind == b'VP8 ':
            width, height = struct.unpack_from('<HH', data, 6)
            size = size or (height & 0x3FFF, width & 0x3FFF)
        elif kind == b'EXIF':
            exif = data[6:] if data[:6] == _EXIF else data
        position += 8 + length + length % 2
    if size is None:
        _corrupt('WebP', 'it holds no picture')
    return _with_exif('WebP', size, exif)


def _uint24(data: Encoded, place: int) -> int:
    return int.from_bytes(data[place : place + 3], 'little')


_BMP_CORE_BYTES: Final = 12
_BMP_UNCOMPRESSED: Final = (0, 3)


def _bmp(content: Encoded) -> ImageHeader:
    pixels, header_bytes = struct.unpack_from('<II', content, 10)
    if header_bytes == _BMP_CORE_BYTES:
        width, height, _, bits = struct.unpack_from('<HHHH', content, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from('<iiHHI', content, 18)
    row_bytes = (width * bits + 31) // 32 * 4
    if compression in _BMP_UNCOMPRESSED and pixels + row_bytes * abs(height) > len(content):
        _truncated('BMP')
    return ImageHeader(format='BMP', height=abs(height), width=width)


_TIFF_WIDTH, _TIFF_HEIGHT = 0x0100, 0x0101
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 0x0142, 0x0143
_TIFF_BITS = 0x0102
_MOST_BITS: Final = 16


def _tiff(content: Encoded) -> ImageHeader:
    numbers = tiff_numbers(content)
    if _TIFF_WIDTH not in numbers or _TIFF_HEIGHT not in numbers:
        _truncated('TIFF')
    bits = numbers.get(_TIFF_BITS, 1)  # three numbers, and so left out, where it has colours
    if bits > _MOST_BITS:
        message = (
            f'has {bits} bits a channel, as depth has; images have 8 or 16: convert it, or give '
            'the colour image'
        )
        raise ImageError(ImageProblem.ENCODING, message)
    # A decoder allocates whole tiles. It also turns the image, in every version of OpenCV.
    height = max(numbers[_TIFF_HEIGHT], numbers.get(_TIFF_TILE_HEIGHT, 0))
    width = max(numbers[_TIFF_WIDTH], numbers.get(_TIFF_TILE_WIDTH, 0))
    return ImageHeader(format='TIFF', height=height, width=width, exif=content)


_READERS: Final[tuple[tuple[int, bytes, Callable[[Encoded], ImageHeader]], ...]] = (
    (0, _JPEG_START, _jpeg),
    (0, _PNG_START, _png),
    (8, b'WEBP', _webp),
    (0, b'BM', _bmp),
    *((0, start, _tiff) for start in TIFF_STARTS),
)
"""Where each format has which bytes, and what reads its header."""
