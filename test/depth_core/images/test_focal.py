# SPDX-License-Identifier: Apache-2.0
"""The focal length that pictures state of themselves, worked out by hand."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from depth_core.errors import DataError
from depth_core.images import read_header, read_stated_focal, stated_focal

FILM, FOCAL, PLANE_X, PLANE_Y, UNIT, STORED_WIDTH, STORED_HEIGHT = (
    0xA405, 0x920A, 0xA20E, 0xA20F, 0xA210, 0xA002, 0xA003,
)  # fmt: skip
ORIENTATION = 0x0112


def picture(
    entries: dict[int, object], *, form: str = 'JPEG', orientation: int = 1, turned: bool = False
) -> bytes:
    """An image of 800 x 600 pixels with these entries in its EXIF directory."""
    image = Image.new('RGB', (600, 800) if turned else (800, 600))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(0x8769).update(
        {
            tag: IFDRational(value) if isinstance(value, float) else value
            for tag, value in entries.items()
        }
    )
    stream = io.BytesIO()
    image.save(stream, form, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP'])
def test_the_equivalent_on_film_counts_over_the_diagonal(form: str) -> None:
    found = stated_focal(picture({FILM: 26, FOCAL: 4.2}, form=form))
    assert found is not None
    # 1000 px are 43.2666 mm across.
    assert found.fx_px == found.fy_px == pytest.approx(26.0 * 1000.0 / 43.266615, rel=1e-6)
    assert found.source == 'EXIF FocalLengthIn35mmFilm 26 mm'
    camera = found.camera(height=600, width=800)
    assert (camera.cx_px, camera.cy_px) == (399.5, 299.5)


@pytest.mark.parametrize(
    ('entries', 'fx_px', 'fy_px'),
    [
        # 8 mm at 2540 pixels an inch, which is 100 a millimetre, and 50 in y.
        ({PLANE_X: 2540.0, PLANE_Y: 1270.0, UNIT: 2}, 800.0, 400.0),
        ({PLANE_X: 2540.0, PLANE_Y: 2540.0}, 800.0, 800.0),  # inches where no unit is stated
        ({PLANE_X: 1000.0, PLANE_Y: 1000.0, UNIT: 3}, 800.0, 800.0),  # centimetres
        ({PLANE_X: 100.0, PLANE_Y: 100.0, UNIT: 4}, 800.0, 800.0),  # millimetres
        # The picture had 1600 x 1200 pixels.
        (
            {
                PLANE_X: 1000.0, PLANE_Y: 1000.0, UNIT: 3,
                STORED_WIDTH: 1600, STORED_HEIGHT: 1200,
            },
            400.0,
            400.0,
        ),
    ],
)  # fmt: skip
def test_the_focal_plane_counts_without_it(
    entries: dict[int, object], fx_px: float, fy_px: float
) -> None:
    found = stated_focal(picture({FILM: 0, FOCAL: 8.0, **entries}))
    assert found is not None
    assert [found.fx_px, found.fy_px] == pytest.approx([fx_px, fy_px])
    stated = found.source.partition(';')[0]
    assert stated == 'EXIF FocalLength 8 mm and focal plane resolution'


@pytest.mark.parametrize('entries', [{FILM: 26}, {FOCAL: 8.0, PLANE_X: 100.0, PLANE_Y: 100.0}])
@pytest.mark.parametrize(
    ('stored', 'cropped', 'remark'),
    [
        ((800, 600), False, False),
        ((600, 800), False, False),  # turned, and its size was not
        ((4032, 3024), False, True),
        ((3024, 4032), False, True),
        ((803, 602), False, True),  # 800 x 599.75
        ((4000, 2250), True, False),  # 16:9 before
        ((800, 800), True, False),
        ((0, 600), False, False),
    ],
)
def test_a_picture_of_another_shape_than_it_states_was_cropped(
    entries: dict[int, object], stored: tuple[int, int], *, cropped: bool, remark: bool
) -> None:
    size = {STORED_WIDTH: stored[0], STORED_HEIGHT: stored[1]}
    found = stated_focal(picture({**entries, **size}))
    assert found is not None
    assert bool(found.cropped) == cropped
    assert ('resized as a whole' in found.source) == remark
    if cropped:
        assert f'{stored[0]}x{stored[1]} pixels, and the file has 800x600' in found.cropped


def test_a_picture_on_its_side_has_its_axes_exchanged() -> None:
    entries: dict[int, object] = {FOCAL: 8.0, PLANE_X: 2540.0, PLANE_Y: 1270.0, UNIT: 2}
    content = picture(entries, orientation=6, turned=True)
    assert read_header(content).orientation == 6
    found = stated_focal(content)
    assert found is not None
    assert [found.fx_px, found.fy_px] == pytest.approx([400.0, 800.0])


@pytest.mark.parametrize(
    'entries',
    [{}, {FILM: 0}, {FOCAL: 8.0}, {FOCAL: 8.0, PLANE_X: 100.0, PLANE_Y: 100.0, UNIT: 9}],
)
def test_what_states_no_focal_length_has_none(entries: dict[int, object]) -> None:
    assert stated_focal(picture(entries)) is None


def test_directories_that_point_nowhere_state_nothing() -> None:
    content = bytearray(picture({FILM: 26}, form='PNG'))
    exif = bytes(read_header(bytes(content)).exif)
    for end in range(0, len(exif), 3):
        cut = Image.new('RGB', (8, 6))
        stream = io.BytesIO()
        cut.save(stream, 'JPEG', exif=b'Exif\0\0' + exif[:end])
        found = stated_focal(stream.getvalue())
        assert found is None or math.isclose(found.fx_px, 26.0 * 10.0 / 43.266615, rel_tol=1e-6)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'gone\.jpg cannot be read'):
        read_stated_focal(tmp_path / 'gone.jpg')
