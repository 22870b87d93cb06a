# SPDX-License-Identifier: Apache-2.0
"""Encoded images are decoded when they are whole, whatever follows them, and else refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Iterable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from depth_core.images import (
    MAX_PIXELS,
    ImageError,
    ImageProblem,
    read_header,
    rgb_from_compressed,
    rgb_from_encoded,
)

FORMATS = ('.jpg', '.png', '.webp', '.bmp', '.tiff')
HEIGHT, WIDTH = 120, 160
SECTOR = 4096


def photo() -> np.ndarray:
    """Smooth and noisy, in RGB, so that every encoder has something to do."""
    generator = np.random.default_rng(0)
    smooth = cv2.resize(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    noise = generator.integers(0, 60, smooth.shape, dtype=np.uint8)
    return np.asarray(smooth // 2 + noise, np.uint8)


def encoded(suffix: str, *options: int, pixels: np.ndarray | None = None) -> bytes:
    rgb = photo() if pixels is None else pixels
    stored = rgb[..., ::-1] if rgb.ndim == 3 else rgb
    return cv2.imencode(suffix, np.ascontiguousarray(stored), options)[1].tobytes()


def refused(content: bytes, *, max_pixels: int = MAX_PIXELS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        rgb_from_encoded(content, max_pixels=max_pixels)
    return caught.value


TAILS = [
    bytes(63),
    bytes(64),
    bytes(50_000),
    b'\r\n--frame\r\n',
    b'\x01\x02\x03\x04',
    b'\xff' * 100,
    b'\xff\xd8\xff\xe0 the next frame',
]


@pytest.mark.parametrize('tail', TAILS)
@pytest.mark.parametrize('suffix', FORMATS)
def test_bytes_after_the_end_are_accepted(suffix: str, tail: bytes) -> None:
    content = encoded(suffix)
    np.testing.assert_array_equal(rgb_from_encoded(content + tail), rgb_from_encoded(content))


@pytest.mark.parametrize('tail', [b'', *TAILS])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_an_image_without_its_end_is_truncated_whatever_follows(suffix: str, tail: bytes) -> None:
    content = encoded(suffix)
    for length in (len(content) // 2, len(content) - 2):
        error = refused(content[:length] + tail)
        assert error.problem is ImageProblem.DAMAGED


def exif(orientation: int, order: str = '<', thumbnail: bytes = b'') -> bytes:
    mark = b'II*\0' if order == '<' else b'MM\0*'
    directory = struct.pack(f'{order}IHHHIHH', 8, 1, 0x0112, 3, 1, orientation, 0)
    return mark + directory + bytes(4) + thumbnail


def with_segment(jpeg: bytes, data: bytes, marker: int = 0xE1) -> bytes:
    """Put a segment behind the start of a JPEG."""
    return jpeg[:2] + struct.pack('>BBH', 0xFF, marker, len(data) + 2) + data + jpeg[2:]


def test_a_thumbnail_does_not_pass_for_the_image() -> None:
    thumbnail = encoded('.jpg', pixels=photo()[::4, ::4])
    content = with_segment(encoded('.jpg'), b'Exif\0\0' + exif(1, thumbnail=thumbnail))
    assert (read_header(content).height, read_header(content).width) == (HEIGHT, WIDTH)
    assert rgb_from_encoded(content).shape == (HEIGHT, WIDTH, 3)
    assert 'truncated JPEG' in str(refused(content[:-500]))


@pytest.mark.parametrize('suffix', FORMATS)
def test_the_header_states_the_stored_size(suffix: str) -> None:
    header = read_header(encoded(suffix))
    assert (header.height, header.width, header.orientation) == (HEIGHT, WIDTH, 1)


def stored_as(kind: str, orientation: int) -> bytes:
    """A picture whose three corners have different colours, with an orientation."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:8, :8], pixels[:8, -8:], pixels[-8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    tags = Image.Exif()
    tags[0x0112] = orientation
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == 'TIFF':
        image.save(file, kind, tiffinfo={0x0112: orientation})
    else:
        image.save(file, kind, exif=tags, quality=100)
    return file.getvalue()


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_each_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    content = stored_as(kind, orientation)
    theirs = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert('RGB')
    ours = rgb_from_encoded(content, turn_upright=True)
    assert ours.shape == (40, 24, 3) if orientation > 4 else (24, 40, 3)
    np.testing.assert_allclose(ours.astype(int), np.asarray(theirs), atol=70)


@pytest.mark.parametrize('order', ['<', '>'])
def test_orientation_is_read_in_both_byte_orders(order: str) -> None:
    jpeg = encoded('.jpg')
    assert read_header(with_segment(jpeg, b'Exif\0\0' + exif(6, order))).orientation == 6
    for odd in (exif(0, order), exif(9, order), exif(6, order)[:9], b'', b'II*\0\xff\xff\xff\xff'):
        assert read_header(with_segment(jpeg, b'Exif\0\0' + odd)).orientation == 1


def test_the_pixels_of_a_message_belong_to_its_camera_info() -> None:
    content = stored_as('JPEG', 6)
    assert rgb_from_compressed(content, format_name='jpeg').shape == (24, 40, 3)


JPEG_KINDS = {
    'plain': (),
    'progressive': (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'restarts': (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    'best': (cv2.IMWRITE_JPEG_QUALITY, 100),
}


@pytest.mark.parametrize('kind', JPEG_KINDS)
@pytest.mark.parametrize('place', [0.3, 0.5, 0.7])
def test_a_jpeg_that_lost_data_is_damaged(
    kind: str, place: float, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = cv2.resize(photo(), (640, 480), interpolation=cv2.INTER_NEAREST)
    content = bytearray(encoded('.jpg', *JPEG_KINDS[kind], pixels=pixels))
    start = int(len(content) * place)
    content[start : start + SECTOR] = bytes(SECTOR)
    error = refused(bytes(content))
    assert error.problem is ImageProblem.DAMAGED
    assert 'is a damaged JPEG file' in str(error)
    assert capfd.readouterr().err == '', 'a line of a library names no file'


def test_a_few_bytes_before_a_marker_are_what_webcams_write() -> None:
    plain = encoded('.jpg', *JPEG_KINDS['restarts'])
    restart = plain.index(b'\xff\xd0', plain.index(b'\xff\xda'))
    for place in (restart, len(plain) - 2):
        for count, accepted in ((1, True), (14, True), (200, False)):
            content = plain[:place] + b'\x55' * count + plain[place:]
            if accepted:
                np.testing.assert_array_equal(rgb_from_encoded(content), rgb_from_encoded(plain))
            else:
                assert 'extraneous bytes' in str(refused(content))


def test_warnings_about_labels_are_no_damage() -> None:
    plain = encoded('.jpg')
    odd_version = plain.replace(b'JFIF\0\x01', b'JFIF\0\x07', 1)
    assert odd_version != plain
    np.testing.assert_array_equal(rgb_from_encoded(odd_version), rgb_from_encoded(plain))


def test_a_jpeg_of_a_motion_stream_may_lack_its_huffman_tables() -> None:
    plain = encoded('.jpg')
    bare = plain
    while (start := bare.find(b'\xff\xc4')) >= 0:
        length = int.from_bytes(bare[start + 2 : start + 4], 'big')
        bare = bare[:start] + bare[start + 2 + length :]
    assert len(bare) < len(plain)
    np.testing.assert_array_equal(rgb_from_encoded(bare), rgb_from_encoded(plain))


def png(width: int, height: int, rows: bytes, *, bits: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    stored = zlib.compress(rows, 9)
    parts = (chunk(b'IHDR', header), chunk(b'IDAT', stored), chunk(b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def declaring(jpeg: bytes, height: int, width: int) -> bytes:
    """A JPEG with another size in its frame header."""
    frame = jpeg.index(b'\xff\xc0')
    return jpeg[: frame + 5] + struct.pack('>HH', height, width) + jpeg[frame + 9 :]


def oversized() -> Iterable[tuple[str, bytes, ImageProblem]]:
    small = encoded('.jpg', pixels=np.full((16, 16, 3), 90, np.uint8))
    size, damaged = ImageProblem.SIZE, ImageProblem.DAMAGED
    yield 'JPEG of 8000x8000 in 600 bytes', declaring(small, 8000, 8000), damaged
    yield 'JPEG of 65535x65535', declaring(small + bytes(9_000_000), 65535, 65535), size
    yield (
        'PNG of 20000x20000, one bit',
        png(20000, 20000, bytes(2501 * 20000), bits=1, colour=0),
        size,
    )
    yield 'PNG of 7000x7000 without its data', png(7000, 7000, bytes(100)), damaged
    yield 'PNG of 2^31 columns', png(2**31 - 1, 1, bytes(100)), damaged
    webp = encoded('.webp', cv2.IMWRITE_WEBP_QUALITY, 50)
    yield 'WebP', webp[:26] + struct.pack('<HH', 16383, 16383) + webp[30:], size
    tiff = bytearray(encoded('.tiff'))
    place = tiff.index(struct.pack('<HHI', 0x0101, 3, 1))
    tiff[place : place + 12] = struct.pack('<HHII', 0x0101, 4, 1, 10_000_000)
    yield 'TIFF', bytes(tiff), size
    bmp = encoded('.bmp')
    yield (
        'BMP, compressed',
        bmp[:18] + struct.pack('<iiHHI', 30000, -30000, 1, 8, 1) + bmp[34:],
        size,
    )
    yield 'BMP', bmp[:18] + struct.pack('<ii', 6000, 6000) + bmp[26:], damaged


@pytest.mark.parametrize(
    ('content', 'problem'),
    [pytest.param(content, problem, id=name) for name, content, problem in oversized()],
)
def test_a_declared_size_allocates_nothing(content: bytes, problem: ImageProblem) -> None:
    tracemalloc.start()
    try:
        assert refused(content).problem is problem
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_jpeg_of_endless_scans_is_not_decoded() -> None:
    content = encoded('.jpg', *JPEG_KINDS['progressive'])
    scan = content[content.index(b'\xff\xda') : -2]
    assert rgb_from_encoded(content).shape == (HEIGHT, WIDTH, 3)
    assert 'scans, and at most 100 are read' in str(
        refused(content[:-2] + 20 * scan + content[-2:])
    )


def test_the_limit_is_one_of_pixels() -> None:
    for suffix in FORMATS:
        content = encoded(suffix)
        assert rgb_from_encoded(content, max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
        error = refused(content, max_pixels=HEIGHT * WIDTH - 1)
        assert error.problem is ImageProblem.SIZE
        assert 'declares 160x120 pixels, and at most 19199 are read' in str(error)


def test_a_png_without_all_its_rows_is_damaged(capfd: pytest.CaptureFixture[str]) -> None:
    content = png(40, 30, bytes(121 * 20))
    assert refused(content).problem is ImageProblem.DAMAGED
    assert rgb_from_encoded(png(40, 30, bytes(121 * 30))).shape == (30, 40, 3)
    capfd.readouterr()


def test_depth_in_a_tiff_is_named_and_not_called_damaged() -> None:
    content = encoded('.tiff', pixels=np.full((4, 6), 2.5, np.float32))
    with pytest.raises(ImageError, match='has 32 bits a channel, as depth has') as caught:
        rgb_from_encoded(content)
    assert caught.value.problem is ImageProblem.ENCODING


@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
def test_of_sixteen_bits_the_upper_eight_are_kept_or_none(suffix: str) -> None:
    deep = photo().astype(np.uint16) * 256 + 255
    for pixels in (deep, deep[..., 0]):
        content = encoded(suffix, pixels=pixels)
        expected = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
        found = rgb_from_compressed(content, format_name='mono16; png compressed ')
        np.testing.assert_array_equal(found, expected >> 8)
        with pytest.raises(ImageError, match='uint16 pixels') as caught:
            rgb_from_encoded(content, eight_bits_only=True)
        assert caught.value.problem is ImageProblem.ENCODING


@pytest.mark.parametrize(
    'format_name',
    ['rgb8; jpeg compressed bgr8', 'bgr8; png compressed bgr8', 'jpeg', 'jpg', 'png', 'mono8', ''],
)
@pytest.mark.parametrize('suffix', FORMATS)
def test_what_the_bytes_are_counts_and_not_the_format(suffix: str, format_name: str) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24] = 200, 100, 30
    found = rgb_from_compressed(encoded(suffix, pixels=pixels), format_name=format_name)
    np.testing.assert_allclose(found[16, 8].astype(int), (200, 100, 30), atol=6)
    np.testing.assert_allclose(found[16, 40].astype(int), 0, atol=6)


@pytest.mark.parametrize(
    ('format_name', 'expected'),
    [
        ('bayer_rggb8; png compressed ', [200, 100, 30]),
        ('bayer_bggr8;png compressed bayer_bggr8', [30, 100, 200]),
        ('bayer_rggb16; png compressed', [200, 100, 30]),
        ('bayer_rggb8; png compressed mono8', [200, 200, 200]),
        ('mono8; png compressed ', [200, 200, 200]),
    ],
)
def test_a_mosaic_sent_as_a_grey_image_gives_its_colours(
    format_name: str, expected: list[int]
) -> None:
    mosaic = np.tile(np.array([[200, 100], [100, 30]], np.uint8), (8, 8))
    pixels = mosaic.astype(np.uint16) * 256 if '16' in format_name else mosaic
    found = rgb_from_compressed(encoded('.png', pixels=pixels), format_name=format_name)
    assert found[4, 4].tolist() == expected


@pytest.mark.parametrize('format_name', ['16UC1; compressedDepth', '32FC1; compressedDepth png'])
def test_a_compressed_depth_image_is_refused_by_name(format_name: str) -> None:
    with pytest.raises(ImageError, match='is a depth image') as caught:
        rgb_from_compressed(bytes(12) + encoded('.png'), format_name=format_name)
    assert caught.value.problem is ImageProblem.ENCODING


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\xff',
        b'no image',
        b'\xff\xd8\xff\xd9',
        b'\xff\xd8',
        b'BM',
        b'II*\0',
        b'MM\0*\xff\xff\xff\xff',
        b'GIF89a' + bytes(99),
        b'RIFF\x04\0\0\0WEBP',
        b'\x89PNG\r\n\x1a\n',
        bytes(1000),
    ],
)
def test_bytes_that_are_no_image_are_refused(content: bytes) -> None:
    assert refused(content).problem is ImageProblem.DAMAGED
