# SPDX-License-Identifier: Apache-2.0
"""Hostile pictures and arrays: sizes that are declared and not there, and what unpacks to more."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import h5py
import numpy as np

_LARGE: Final = 30_000


def _bytes(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def _png(width: int, height: int, *, bits: int = 8, colour: int = 0, data: bytes = b'') -> bytes:
    head = _chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + _chunk(b'IDAT', data) + _chunk(b'IEND', b'')


def _real(ending: str) -> bytes:
    return cv2.imencode(ending, np.full((32, 48, 3), 120, np.uint8))[1].tobytes()


def _jpeg_declaring(width: int, height: int) -> bytes:
    content = _real('.jpg')
    place = content.index(b'\xff\xc0') + 5
    return content[:place] + struct.pack('>HH', height, width) + content[place + 4 :]


def _bmp_declaring(width: int, height: int) -> bytes:
    content = _real('.bmp')
    return content[:18] + struct.pack('<ii', width, height) + content[26:]


def _tiff_declaring(width: int, height: int) -> bytes:
    entries = [(0x100, 4, width), (0x101, 4, height), (0x102, 3, 8), (0x103, 3, 1), (0x106, 3, 1)]
    entries += [(0x111, 4, 200), (0x115, 3, 1), (0x116, 4, height), (0x117, 4, 4)]
    packed = b''.join(struct.pack('<HHII', tag, kind, 1, value) for tag, kind, value in entries)
    return b'II*\0' + struct.pack('<IH', 8, len(entries)) + packed + bytes(200)


_BOMB: Final = zlib.compress(bytes(4 << 20), 6)

IMAGES: Final[Mapping[str, Callable[[Path], None]]] = {
    'huge.png': _bytes(_png(_LARGE, _LARGE, data=_BOMB)),
    'widest.png': _bytes(_png(2**31 - 1, 1, data=_BOMB)),
    'largest.png': _bytes(_png(2**31 - 1, 2**31 - 1)),
    'no_pixels.png': _bytes(_png(0, 0)),
    'few_bytes.png': _bytes(_png(7000, 7000, bits=16, colour=6, data=b'x' * 100)),
    'no_head.png': _bytes(b'\x89PNG\r\n\x1a\n' + _chunk(b'IEND', b'')),
    'huge.jpg': _bytes(_jpeg_declaring(65_535, 65_535)),
    'few_bytes.jpg': _bytes(_jpeg_declaring(7000, 7000)),
    'many_scans.jpg': _bytes(_real('.jpg')[:-2] + b'\xff\xda\x00\x03\x00' * 500 + b'\xff\xd9'),
    'huge.bmp': _bytes(_bmp_declaring(_LARGE, _LARGE)),
    'negative.bmp': _bytes(_bmp_declaring(-5, 10)),
    'huge.tiff': _bytes(_tiff_declaring(1 << 20, 1 << 20)),
    'huge.webp': _bytes(b'RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0' + b'\xff' * 6 + bytes(8)),
    'text.png': _bytes(b'#EXTM3U\nhttp://127.0.0.1:9/a'),
    'empty.jpg': _bytes(b''),
    'half.jpg': _bytes(_real('.jpg')[:300]),
}

VIDEOS: Final[Mapping[str, Callable[[Path], None]]] = {
    'playlist.mp4': _bytes(b'#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n'),
    'concatenation.mkv': _bytes(b'ffconcat version 1.0\nfile /etc/hostname\n'),
    'empty.mp4': _bytes(b''),
    'box.mp4': _bytes(b'\xff\xff\xff\xffftypisom' + bytes(100)),
    'riff.avi': _bytes(b'RIFF\xff\xff\xff\x7fAVI LIST' + b'\xff' * 100),
}


def _npy(shape: str, kind: str = '<f4', data: bytes = b'', order: str = 'False') -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    head += b' ' * (63 - (len(head) + 10) % 64) + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(head)) + head + data


DEPTHS: Final[Mapping[str, Callable[[Path], None]]] = {
    'huge.npy': _bytes(_npy('(1000000, 1000000)', data=bytes(100))),
    'overflow.npy': _bytes(_npy('(9223372036854775807, 9223372036854775807)')),
    'negative.npy': _bytes(_npy('(-1, 4)', data=bytes(16))),
    'negative_twice.npy': _bytes(_npy('(-2, -2)', data=bytes(16))),
    'objects.npy': _bytes(_npy('(1,)', kind='|O', data=b'cos\nsystem\n.')),
    'code.npy': _bytes(_npy('(__import__("os").getpid(),)')),
    'nested.npy': _bytes(_npy('(' * 500 + ')' * 500)),
    'longer.npy': _bytes(_npy('(2, 2)', data=bytes(1000))),
    'text.npy': _bytes(_npy('(2, 2)', kind='<U4', data=bytes(64))),
    'many_axes.npy': _bytes(_npy('(' + '1, ' * 60 + ')', data=bytes(4))),
    'depth.png': _bytes(_png(_LARGE, _LARGE, bits=16, data=_BOMB)),
    'no_depth.png': _bytes(_real('.png')),
}


def _npz(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('velodyne_depth.npy', content)

    return make


def _bomb_npz(path: Path) -> None:
    """A plane that is declared, packed, and larger than any image."""
    with (
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open('velodyne_depth.npy', 'w', force_zip64=True) as member,
    ):
        member.write(_npy('(20000, 20000)'))
        for _ in range(31):
            member.write(bytes(16 << 20))


PROJECTED: Final[Mapping[str, Callable[[Path], None]]] = {
    'bomb.npz': _bomb_npz,
    'declared.npz': _npz(_npy('(1000000, 1000000)', data=bytes(1000))),
    'objects.npz': _npz(_npy('(1,)', kind='|O', data=b'cos\nsystem\n.')),
    'volume.npz': _npz(_npy('(2, 2, 2)', data=bytes(32))),
    'no_zip.npz': _bytes(b'hello'),
    'other.npz': lambda path: np.savez(path, other=np.zeros(1)),
}


def _hdf5(fill: Callable[[Any], object]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with h5py.File(path, 'w') as file:
            fill(file)

    return make


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(4, 4), dtype='f4')
    layout[:] = h5py.VirtualSource('/etc/elsewhere.h5', 'dataset', shape=(4, 4))
    file.create_virtual_dataset('dataset', layout)


def _external_values(file: Any) -> None:
    file.create_dataset('dataset', (4, 4), 'f4', external=[('/etc/hostname', 0, 64)])


def _deflated_zeros(size: int) -> bytes:
    """What zlib makes of so many zeros, without packing each: one block again and again."""
    step = 16 << 20
    packer = zlib.compressobj(6)
    start = packer.compress(bytes(step)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(step)) + packer.flush(zlib.Z_FULL_FLUSH)
    blocks, rest = divmod(size - step, step)
    end = packer.compress(bytes(rest)) + packer.flush(zlib.Z_FINISH)
    checksum = 1 | (size % 65_521) << 16  # Adler-32 of zeros: sums of ones
    return start + block * blocks + end[:-4] + struct.pack('>I', checksum)


def _parts(file: Any) -> None:
    side = 16_000
    stored = file.create_dataset(
        'dataset', (4, 4), 'f4', maxshape=(None, None), chunks=(side, side), compression='gzip'
    )
    stored.id.write_direct_chunk((0, 0), _deflated_zeros(4 * side * side))


def _part_beyond_its_size(file: Any) -> None:
    """A gigabyte in a part that declares one megabyte."""
    stored = file.create_dataset(
        'dataset', (512, 512), 'f4', chunks=(512, 512), compression='gzip'
    )
    stored.id.write_direct_chunk((0, 0), _deflated_zeros(1 << 30))


def _packed_twice(file: Any) -> None:
    """A thousand times a thousand: a part that is packed, and packed again."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((512, 512))
    plan.set_deflate(6)
    plan.set_deflate(6)
    space = h5py.h5s.create_simple((512, 512))
    made = h5py.h5d.create(file.id, b'dataset', h5py.h5t.IEEE_F32LE, space, plan)
    made.write_direct_chunk((0, 0), zlib.compress(_deflated_zeros(1 << 28)))


HDF5: Final[Mapping[str, Callable[[Path], None]]] = {
    'huge.h5': _hdf5(lambda file: file.create_dataset('dataset', (1 << 20, 1 << 20), 'f4')),
    'parts.h5': _hdf5(_parts),
    'part_beyond_its_size.h5': _hdf5(_part_beyond_its_size),
    'packed_twice.h5': _hdf5(_packed_twice),
    'not_stored.h5': _hdf5(lambda file: file.create_dataset('dataset', (512, 512), 'f4')),
    'parts_not_stored.h5': _hdf5(
        lambda file: file.create_dataset('dataset', (512, 512), 'f4', chunks=(16, 16))
    ),
    'external.h5': _hdf5(
        lambda file: file.__setitem__('dataset', h5py.ExternalLink('/etc/elsewhere.h5', 'a'))
    ),
    'soft.h5': _hdf5(lambda file: file.__setitem__('dataset', h5py.SoftLink('/dataset'))),
    'virtual.h5': _hdf5(_virtual),
    'values_elsewhere.h5': _hdf5(_external_values),
    'group.h5': _hdf5(lambda file: file.create_group('dataset')),
    'text.h5': _hdf5(lambda file: file.create_dataset('dataset', data=b'text')),
    'none.h5': _hdf5(lambda file: file.flush()),
    'no_hdf5.h5': _bytes(b'\x89HDF\r\n\x1a\n' + b'\xff' * 500),
}
