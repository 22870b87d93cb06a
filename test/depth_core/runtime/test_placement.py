# SPDX-License-Identifier: Apache-2.0
"""Resizing, padding and cropping to a network, the camera matrix there, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from depth_core.contracts import DepthKind, InputSpec, Intrinsics, OutputSpec, SizeRule
from depth_core.errors import DataError
from depth_core.geometry import crop_intrinsics, resize_intrinsics
from depth_core.manifest import Manifest
from depth_core.runtime.placement import Placement, Rectangle, place
from depth_core.runtime.preprocessing import Preprocessor
from depth_core.runtime.sizes import at_size, input_size

CAMERA = Intrinsics(fx_px=700.0, fy_px=650.0, cx_px=610.5, cy_px=172.25, height=375, width=1242)


def spec(height: int, width: int, **keys: Any) -> InputSpec:
    return InputSpec(height=height, width=width, **keys)


def manifest(given: InputSpec) -> Manifest:
    output = OutputSpec(kind=DepthKind.METRIC, min_depth=0.1, max_depth=100.0, sigma=None)
    return Manifest(name='any', input=given, output=output)


@pytest.mark.parametrize(
    ('rule', 'image', 'size'),
    [
        # sqrt(81920 / (375 * 1242)) = 0.41939: 157.27 x 520.88 are 4.9 and 16.3 times 32.
        (SizeRule(mode='pixels', target=81920), (375, 1242), (160, 512)),
        (SizeRule(mode='pixels', target=81920), (480, 640), (256, 320)),
        # 518 / 480 = 1.07917: 518 x 690.67, 37 and 49.3 times 14.
        (SizeRule(mode='short', target=518), (480, 640), (518, 686)),
        (SizeRule(mode='short', target=518, round='up'), (480, 640), (518, 700)),
        # 504 / 1242 = 0.4058: 152.2 x 504, 10.9 and 36 times 14.
        (SizeRule(mode='long', target=504), (375, 1242), (154, 504)),
        (SizeRule(mode='long', target=504, round='down'), (375, 1242), (140, 504)),
    ],
)
def test_the_size_follows_from_the_camera(
    rule: SizeRule, image: tuple[int, int], size: tuple[int, int]
) -> None:
    multiple = 32 if rule.mode == 'pixels' else 14
    usual = rule.choose(480, 640, multiple=multiple)
    given = manifest(spec(*usual, size=rule, multiple=multiple, resize='keep_aspect'))
    assert input_size(given, image) == size
    fixed = at_size(given, size).input
    assert (fixed.height, fixed.width, fixed.size) == (*size, None)
    assert place(fixed, *image).fills, 'what rounding leaves is stretched'


def test_a_letterbox_is_worked_by_hand() -> None:
    # KITTI in 256x320: the width decides, 320 / 1242; 375 rows become 96.6, 97 whole ones.
    centred = place(spec(256, 320, resize='letterbox'), 375, 1242)
    assert (centred.resized, centred.top, centred.left) == ((97, 320), 79, 0)
    assert centred.content == Rectangle(79, 0, 97, 320)
    assert centred.seen == Rectangle(0, 0, 375, 1242)
    assert not centred.fills
    corner = place(spec(256, 320, resize='letterbox', anchor='topleft'), 375, 1242)
    assert corner.content == Rectangle(0, 0, 97, 320)


def test_a_crop_is_worked_by_hand() -> None:
    # The height decides, 256 / 375; 1242 columns become 847.87, 848 whole ones, 528 too many.
    centred = place(spec(256, 320, resize='crop'), 375, 1242)
    assert (centred.resized, centred.top, centred.left) == ((256, 848), 0, -264)
    assert centred.content == Rectangle(0, 0, 256, 320)
    # Columns u with (u + 0.5) 848/1242 - 264 in [0, 320]: u from 386.2 to 854.8.
    assert centred.seen == Rectangle(0, 387, 375, 468)
    corner = place(spec(256, 320, resize='crop', anchor='topleft'), 375, 1242)
    assert (corner.top, corner.left) == (0, 0)
    # To 468.2 now.
    assert corner.seen == Rectangle(0, 0, 375, 469)


@pytest.mark.parametrize('anchor', ['center', 'topleft'])
@pytest.mark.parametrize('resize', ['stretch', 'letterbox', 'crop'])
def test_the_camera_matrix_goes_with_the_image(resize: Any, anchor: Any) -> None:
    placed = place(spec(256, 320, resize=resize, anchor=anchor), 375, 1242)
    camera = placed.intrinsics(CAMERA)
    resized = resize_intrinsics(CAMERA, height=placed.resized[0], width=placed.resized[1])
    if resize == 'letterbox':  # the way back from the network to the resized image is a crop
        content = placed.content
        back = crop_intrinsics(
            camera, top=content.top, left=content.left, height=content.height, width=content.width
        )
        np.testing.assert_allclose(back.matrix, resized.matrix, rtol=1e-12)
    else:
        window = crop_intrinsics(
            resized, top=-placed.top, left=-placed.left, height=256, width=320
        )
        np.testing.assert_allclose(camera.matrix, window.matrix, rtol=1e-12)
    assert (camera.height, camera.width) == (256, 320)
    with pytest.raises(DataError, match=r'belong to images of 375x1242, and this one is 374x1242'):
        place(spec(256, 320), 374, 1242).intrinsics(CAMERA)


def test_a_reflected_border_moves_the_principal_point() -> None:
    placed = place(spec(64, 96), 60, 160, border=(2, 16))
    camera = Intrinsics(fx_px=100.0, fy_px=90.0, cx_px=79.5, cy_px=29.5, height=60, width=160)
    # The middle of the image stays the middle: 64 rows and 192 columns become 64 and 96.
    moved = placed.intrinsics(camera)
    assert (moved.cx_px, moved.cy_px) == (47.5, 31.5)
    assert (moved.fx_px, moved.fy_px) == (50.0, 90.0)


@pytest.mark.parametrize(
    ('resize', 'anchor', 'border'),
    [
        ('stretch', 'center', (0, 0)),
        ('stretch', 'center', (3, 5)),
        ('letterbox', 'center', (0, 0)),
        ('letterbox', 'topleft', (3, 5)),
        ('crop', 'center', (0, 0)),
        ('crop', 'topleft', (0, 0)),
        ('crop', 'center', (3, 5)),
    ],
)
@pytest.mark.parametrize('output', [(40, 64), (80, 128), (20, 32)])
def test_a_plane_comes_back_to_where_it_was_seen(
    resize: Any, anchor: Any, border: tuple[int, int], output: tuple[int, int]
) -> None:
    placed = place(spec(40, 64, resize=resize, anchor=anchor), 30, 90, border=border)
    # Each pixel of the network states its own place in the camera's image.
    rows = (np.arange(output[0]) + 0.5) * 40 / output[0]
    columns = (np.arange(output[1]) + 0.5) * 64 / output[1]
    v = (rows - placed.offset_y) / placed.scale_y - 0.5
    u = (columns - placed.offset_x) / placed.scale_x - 0.5
    target = np.empty((30, 90), np.float32)
    for plane, own in (
        (np.tile(v[:, None], (1, output[1])), np.arange(30.0)[:, None]),
        (np.tile(u, (output[0], 1)), np.arange(90.0)),
    ):
        placed.restore(plane.astype(np.float32), target)
        seen = placed.seen.window
        expected = np.broadcast_to(own, (30, 90))
        # Beyond the centre of the last pixel there is nothing to interpolate with.
        margin = 1.5 / min(placed.scale_y, placed.scale_x, 1.0)
        error = np.abs(target[seen] - expected[seen])
        assert error.max() <= margin
        middle = error[4:-4, 6:-6]
        assert middle.max() < 1e-3
        unseen = np.ones((30, 90), bool)
        unseen[seen] = False
        np.testing.assert_array_equal(np.isnan(target), unseen)


def test_letterbox_pads_before_or_after_the_normalisation() -> None:
    image = np.full((10, 40, 3), (200, 100, 50), np.uint8)
    keys: dict[str, Any] = {
        'resize': 'letterbox', 'dtype': 'float32', 'mean': (0.5, 0.5, 0.5),
        'std': (0.5, 0.25, 1.0), 'pad_rgb': (255.0, 51.0, 0.0),
    }  # fmt: skip
    # Codes c become (c / 255 - mean) / std.
    inside = [(200 / 255 - 0.5) / 0.5, (100 / 255 - 0.5) / 0.25, 50 / 255 - 0.5]
    before = Preprocessor(manifest(spec(16, 32, **keys)))([image])[0]
    np.testing.assert_allclose(before[4:12], np.tile(inside, (8, 32, 1)), atol=1e-6)
    for row in (0, 3, 12, 15):
        np.testing.assert_allclose(before[row], np.tile([1.0, -1.2, -0.5], (32, 1)), atol=1e-6)
    after = Preprocessor(manifest(spec(16, 32, pad_stage='post_norm', **keys)))([image])[0]
    np.testing.assert_allclose(after[4:12], np.tile(inside, (8, 32, 1)), atol=1e-6)
    for row in (0, 3, 12, 15):
        np.testing.assert_array_equal(after[row], np.tile([255.0, 51.0, 0.0], (32, 1)))


@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'float16'])
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
def test_planes_of_bgr_are_padded_in_their_order(layout: Any, dtype: Any) -> None:
    given = spec(
        8, 4, resize='letterbox', anchor='topleft', pad_rgb=(10.0, 20.0, 30.0), layout=layout,
        channels='BGR', dtype=dtype, scale=1.0,
    )  # fmt: skip
    made = Preprocessor(manifest(given))([np.full((4, 4, 3), (1, 2, 3), np.uint8)])[0]
    assert made.dtype == np.dtype(dtype)
    pixels = made if layout == 'NHWC' else made.transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels[:4], np.tile([3, 2, 1], (4, 4, 1)))
    np.testing.assert_array_equal(pixels[4:], np.tile([30, 20, 10], (4, 4, 1)))


def test_a_crop_shows_the_middle_or_the_corner() -> None:
    codes = np.arange(12, dtype=np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(codes[:, None], (4, 12, 3)))
    for anchor, first in (('center', 4), ('topleft', 0)):
        given = spec(4, 4, resize='crop', anchor=anchor)
        made = Preprocessor(manifest(given))([image])[0]
        np.testing.assert_array_equal(made[0, :, 0], codes[first : first + 4])


def test_pixels_are_resampled_as_the_manifest_says() -> None:
    codes = np.array([0, 0, 200, 200, 0, 0, 200, 200], np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(codes[:, None], (2, 8, 3)))
    made = {
        interp: Preprocessor(manifest(spec(2, 4, interp=interp)))([image])[0][0, :, 0]
        for interp in ('auto', 'area', 'nearest', 'bilinear', 'bicubic')
    }
    for interp in ('auto', 'area', 'bilinear', 'bicubic'):
        np.testing.assert_array_equal(made[interp], [0, 200, 0, 200])
    np.testing.assert_array_equal(made['nearest'], [0, 200, 0, 200])
    shifted = np.ascontiguousarray(np.roll(image, 1, axis=1))  # 200 0 0 200 200 0 0 200
    average = Preprocessor(manifest(spec(2, 2, interp='bilinear')))([shifted])[0][0, :, 0]
    np.testing.assert_array_equal(average, [100, 100])
    alias = Preprocessor(manifest(spec(2, 2, interp='bilinear', antialias=False)))([shifted])
    np.testing.assert_array_equal(alias[0][0, :, 0], [0, 0])


def test_an_image_that_fits_is_not_touched() -> None:
    placed = place(spec(6, 8, resize='letterbox'), 12, 16)
    assert placed.fills
    assert placed == Placement(image=(12, 16), network=(6, 8), resized=(6, 8))
