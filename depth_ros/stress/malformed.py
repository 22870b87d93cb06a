# SPDX-License-Identifier: Apache-2.0
"""Messages of images and cameras that contradict themselves or are damaged, by a seed.

Each kind is a function of chance alone, so that the same seed gives the same messages. A few come
out whole: bits of a picture may rot without its decoder being able to tell.
"""

from __future__ import annotations

import array
import math
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_core.contracts import Uint8Array
from depth_core.images import ENCODINGS
from depth_ros.messages.conversions import image_message

HEIGHT: Final = 120
WIDTH: Final = 160
"""Of the images that are spoilt."""

LARGEST_UINT32: Final = 2**32 - 1
LARGEST_INT32: Final = 2**31 - 1

_STRANGE_NAMES: Final = (
    '',
    ' ',
    'rgb',
    'RGB8',
    'rgb8\n',
    '32FC1',
    '16UC1',
    'x' * 4000,
    '\N{BOMB}',
)
_STRANGE_NUMBERS: Final = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-320, 1e308, -1e308)
_NOT_PLAIN: Final = tuple(name for name in ENCODINGS if name not in {'rgb8', 'bgr8'})
_CONTAINERS: Final = ('.jpg', '.png', '.webp', '.bmp', '.tiff')

Spoil: TypeAlias = Callable[[random.Random, Uint8Array], Image]
SpoilBytes: TypeAlias = Callable[[random.Random, bytes], bytes]
SpoilInfo: TypeAlias = Callable[[random.Random, CameraInfo], None]


def picture(number: int, *, height: int = HEIGHT, width: int = WIDTH) -> Uint8Array:
    """Return a smooth [H, W, 3] RGB picture that differs from number to number."""
    rows, columns = np.mgrid[:height, :width]
    channels = [
        127.0 + 120.0 * np.sin(columns / width * waves + rows / height * 2.0 + 0.7 * number)
        for waves in (3.0, 4.0, 5.0)
    ]
    return np.stack(channels, axis=-1).astype(np.uint8)


def camera_info(height: int, width: int) -> CameraInfo:
    """Return the calibration of a camera of 53 degrees without distortion."""
    middle = (width - 1) / 2.0, (height - 1) / 2.0
    matrix = np.array([[width, 0.0, middle[0]], [0.0, width, middle[1]], [0.0, 0.0, 1.0]])
    return CameraInfo(
        height=height,
        width=width,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=matrix.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([matrix, np.zeros((3, 1))]).ravel(),
    )


def malformed_images(seed: int, count: int) -> Iterator[Image]:
    """Yield raw images that are no images, without header."""
    chance = random.Random(seed)  # noqa: S311 no secret
    pixels = picture(seed)
    for number in range(count):
        yield _RAW[number % len(_RAW)](chance, pixels)


def malformed_compressed(seed: int, count: int) -> Iterator[CompressedImage]:
    """Yield compressed images that are no images, without header."""
    chance = random.Random(seed)  # noqa: S311 no secret
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    whole = [cv2.imencode(ending, pixels)[1].tobytes() for ending in _CONTAINERS]
    for number in range(count):
        content = whole[number // len(_ENCODED) % len(whole)]
        content = _ENCODED[number % len(_ENCODED)](chance, content)
        message = CompressedImage(format=_format(chance, number))
        message.data.frombytes(content)
        yield message


def malformed_infos(seed: int, count: int) -> Iterator[CameraInfo]:
    """Yield calibrations that cannot be, of images of `HEIGHT` x `WIDTH`, without header."""
    chance = random.Random(seed)  # noqa: S311 no secret
    for number in range(count):
        info = camera_info(HEIGHT, WIDTH)
        _INFOS[number % len(_INFOS)](chance, info)
        yield info


def strange_header(chance: random.Random) -> Header:
    """Return a header whose stamp or frame is none."""
    header = Header(frame_id=chance.choice(('', '/', 'a' * 3000, '\N{SNOWMAN}', '../..')))
    header.stamp.sec = chance.choice((-LARGEST_INT32 - 1, -1, 0, LARGEST_INT32))
    header.stamp.nanosec = chance.choice((0, 999_999_999, LARGEST_UINT32))
    return header


def _encoding(chance: random.Random, pixels: Uint8Array) -> Image:
    letters = ''.join(chance.choices('abgr8631CUF_', k=chance.randrange(1, 12)))
    name = chance.choice((*_STRANGE_NAMES, letters))
    return image_message(pixels, name, Header())


def _bytes(chance: random.Random, pixels: Uint8Array) -> Image:
    message = image_message(pixels, chance.choice(ENCODINGS), Header())
    kept = chance.choice((0, 1, chance.randrange(pixels.size), pixels.size + 1))
    message.data = array.array('B', pixels.tobytes()[:kept].ljust(kept, b'\0'))
    return message


def _step(chance: random.Random, pixels: Uint8Array) -> Image:
    message = image_message(pixels, 'rgb8', Header())
    message.step = chance.choice((0, 1, 3 * WIDTH - 1, 3 * WIDTH + 1, 2**31, LARGEST_UINT32))
    return message


def _size(chance: random.Random, pixels: Uint8Array) -> Image:
    message = image_message(pixels, chance.choice(ENCODINGS), Header())
    sizes = (0, 1, HEIGHT + 1, 2**16, 2**31, LARGEST_UINT32)
    message.height, message.width = chance.choice(sizes), chance.choice(sizes)
    return message


def _other_encoding(chance: random.Random, pixels: Uint8Array) -> Image:
    odd = np.ascontiguousarray(pixels[1:, 1:])  # no pattern and no plane of colours fits
    message = image_message(odd, chance.choice(_NOT_PLAIN), Header())
    message.is_bigendian = chance.randrange(256)
    return message


_RAW: Final[Sequence[Spoil]] = (_encoding, _bytes, _step, _size, _other_encoding)


def _truncated(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content))]


def _rotten(chance: random.Random, content: bytes) -> bytes:
    rotten = bytearray(content)
    for _ in range(chance.randrange(1, 20)):
        rotten[chance.randrange(len(rotten))] = chance.randrange(256)
    return bytes(rotten)


def _noise(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.choice((0, 4, 12))] + chance.randbytes(chance.randrange(2000))


def _huge(chance: random.Random, content: bytes) -> bytes:
    """The same picture, with a header that states another size; whole or cut."""
    height, width = chance.choice(((8000, 8000), (65535, 65535), (1, 65535), (4000, 3999)))
    if content.startswith(b'\xff\xd8'):
        at = content.index(b'\xff\xc0') + 5
        content = content[:at] + struct.pack('>HH', height, width) + content[at + 4 :]
    elif content.startswith(b'\x89PNG'):
        chunk = b'IHDR' + struct.pack('>II', width, height) + content[24:29]
        content = content[:12] + chunk + struct.pack('>I', zlib.crc32(chunk)) + content[33:]
    elif content.startswith(b'BM'):
        content = content[:18] + struct.pack('<ii', width, height) + content[26:]
    else:
        return _rotten(chance, content)
    return content[: chance.choice((675, len(content)))]


def _spliced(chance: random.Random, content: bytes) -> bytes:
    """A part taken out of the middle, as a lost packet does."""
    first = chance.randrange(20, len(content) - 1)
    return content[:first] + content[chance.randrange(first + 1, len(content)) :]


_ENCODED: Final[Sequence[SpoilBytes]] = (_truncated, _rotten, _noise, _huge, _spliced)


def _format(chance: random.Random, number: int) -> str:
    if number % 7:
        return 'rgb8; jpeg compressed bgr8'
    names = ('', 'jpeg', 'png', '16UC1; compressedDepth png', 'bayer_rggb8; jpeg compressed ')
    return chance.choice((*names, 'x' * 4000, '\N{BOMB}'))


def _matrix(chance: random.Random, info: CameraInfo) -> None:
    for name in chance.sample(('k', 'p', 'r'), chance.randrange(1, 4)):
        numbers = np.array(getattr(info, name))
        numbers[chance.randrange(len(numbers))] = chance.choice(_STRANGE_NUMBERS)
        setattr(info, name, numbers)


def _zeros(chance: random.Random, info: CameraInfo) -> None:
    for name in chance.sample(('k', 'p', 'r'), chance.randrange(1, 4)):
        setattr(info, name, np.zeros(len(getattr(info, name))))


def _distortion(chance: random.Random, info: CameraInfo) -> None:
    models = ('plumb_bob', 'rational_polynomial', 'equidistant', 'fisheye', 'double_sphere', '')
    info.distortion_model = chance.choice((*models, 'x' * 1000))
    numbers = (*_STRANGE_NUMBERS, 0.1, -0.3, 5.0)
    info.d = [chance.choice(numbers) for _ in range(chance.randrange(20))]


def _info_size(chance: random.Random, info: CameraInfo) -> None:
    sizes = (0, 1, HEIGHT, 7 * WIDTH, 2**31, LARGEST_UINT32)
    info.height, info.width = chance.choice(sizes), chance.choice(sizes)


def _region(chance: random.Random, info: CameraInfo) -> None:
    numbers = (0, 1, HEIGHT, WIDTH, 2**31, LARGEST_UINT32)
    info.roi.x_offset, info.roi.y_offset = chance.choice(numbers), chance.choice(numbers)
    info.roi.width, info.roi.height = chance.choice(numbers), chance.choice(numbers)
    info.binning_x, info.binning_y = chance.choice(numbers), chance.choice(numbers)


_INFOS: Final[Sequence[SpoilInfo]] = (_matrix, _zeros, _distortion, _info_size, _region)
