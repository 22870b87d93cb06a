# SPDX-License-Identifier: Apache-2.0
"""Sizes, padding and inference of ZoeDepth against arrays of the authors and of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depth_core.contracts import Float32Array
from depth_core.convert import convert_state_dict
from depth_core.errors import ConfigError
from depth_core.models import create_model
from depth_core.runtime.sizes import keep_aspect_size, pad_reflect, reflect_padding
from test.reference.zoedepth_infer import (
    depth_of_source,
    fit_image,
    resize_aligned,
    zoedepth_infer,
)

pytestmark = pytest.mark.numeric

SIZES = {'N': (384, 512), 'K': (384, 768)}
ROUNDING = 2e-5
"""The arrays were computed with float32 positions; ours are float64 until the last step."""


def arrays_of(repository: Path, name: str) -> Mapping[str, NDArray[Any]]:
    with np.load(repository / f'test/data/{name}.npz') as archive:
        return dict(archive)


def test_sizes_and_padding_are_the_authors(repository: Path) -> None:
    table = arrays_of(repository, 'zoe_preprocess')['size_table']
    assert len(table) == 44
    for row in table:
        height, width, *expected = (int(item) for item in (*row[:2], *row[3:]))
        target = SIZES[row[2][0]]
        rows, columns = reflect_padding(height, width)
        chosen = [target, target]
        if row[2].endswith('infer'):
            chosen = [
                keep_aspect_size(height, width, target=target),
                keep_aspect_size(height + 2 * rows, width + 2 * columns, target=target),
            ]
        assert [*chosen[0], rows, columns, *chosen[1]] == expected, row


@pytest.mark.parametrize('keep_aspect', [False, True])
def test_the_network_sees_what_the_authors_network_sees(
    repository: Path, *, keep_aspect: bool
) -> None:
    arrays = arrays_of(repository, 'zoe_preprocess')
    image = arrays['img'][0].transpose(1, 2, 0)
    ours = fit_image(image, size=(64, 96), keep_aspect=keep_aspect, padding=False)
    expected = arrays[f'prep(img_size=[64,96],keep_ar={keep_aspect})'][0]
    np.testing.assert_allclose((ours - 0.5) / 0.5, expected.transpose(1, 2, 0), atol=ROUNDING)


@pytest.mark.parametrize(('version', 'multiple'), [('v4', 32), ('v5', 1)])
def test_the_image_processor_of_hugging_face(
    repository: Path, version: str, multiple: int
) -> None:
    arrays = arrays_of(repository, f'hf_zoedepth_processor_{version}')
    image = arrays['proc/img_u8'].astype(np.float32) / np.float32(255.0)
    small = fit_image(image, size=(64, 96))
    np.testing.assert_allclose(
        (small - 0.5) / 0.5, arrays['proc/small'][0].transpose(1, 2, 0), atol=ROUNDING
    )
    plain = fit_image(image, size=(64, 96), keep_aspect=False, padding=False)
    np.testing.assert_allclose(
        (plain - 0.5) / 0.5, arrays['proc/small_noar_nopad'][0].transpose(1, 2, 0), atol=ROUNDING
    )
    # The classes differ in the multiple they round to by default: 32, and 1 in version 5.
    default = fit_image(image, size=(384, 512), multiple=multiple)
    assert [1, 3, *default.shape[:2]] == arrays['proc/default_shape'].tolist()


@pytest.mark.parametrize('version', ['v4', 'v5'])
def test_the_depth_of_hugging_face(repository: Path, version: str) -> None:
    arrays = arrays_of(repository, f'hf_zoedepth_processor_{version}')
    plain, flipped = arrays['post/pred'][0], arrays['post/pred_flip'][0]
    # The depths reach 10: a few roundings of float32 in two bicubic passes.
    averaged = np.float32(0.5) * (plain + flipped[:, ::-1])
    for ours, name in (
        (depth_of_source(plain, (60, 84)), 'post/source(60,84)'),
        (depth_of_source(averaged, (60, 84)), 'post/source+flip'),
        (depth_of_source(plain, (60, 84), target_size=(30, 42)), 'post/source+target(30,42)'),
    ):
        np.testing.assert_allclose(ours, arrays[name], rtol=1e-5, atol=5e-5, err_msg=name)


def test_without_padding_or_flip_the_answer_is_only_resized(repository: Path) -> None:
    arrays = arrays_of(repository, 'zoe_infer')
    image = arrays['infer/image_u8'][0].transpose(1, 2, 0).astype(np.float32) / np.float32(255.0)
    answer: Float32Array = arrays['infer/forward_only'][0, 0]

    def predict(pixels: Float32Array) -> Float32Array:
        assert pixels.shape == (64, 96, 3)
        return answer

    ours = zoedepth_infer(predict, image, size=(64, 96), padding=False, flip=False)
    # A few roundings of float32; small values lie beside depths of 15.
    expected = arrays['infer/pad=False,flip=False'][0, 0]
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('flip', [True, False])
@pytest.mark.parametrize('padding', [True, False])
def test_infer_is_that_of_the_authors(shared_dir: Path, *, padding: bool, flip: bool) -> None:
    options: dict[str, Any] = {
        'encoder': 'beit',
        'encoder_options': {
            'img_size': 64,
            'patch_size': 16,
            'embed_dim': 32,
            'depth': 4,
            'num_heads': 2,
        },
        'hooks': (0, 1, 2, 3),
        'neck_channels': (16, 24, 32, 32),
        'features': 32,
        'n_bins': 16,
    }
    with np.load(shared_dir / 'fixtures/zoe_tiny_N_official.npz') as arrays:
        official = {
            key.removeprefix('sd/'): torch.from_numpy(arrays[key])
            for key in arrays
            if key.startswith('sd/')
        }
        pixels = arrays['infer/image_u8'][0].transpose(1, 2, 0)
        expected = arrays[f'infer/pad={padding},flip={flip}'][0, 0]
    model = create_model('zoedepth_n', **options).double().eval()
    model.load_state_dict(convert_state_dict('zoedepth_n', official, **options))

    def predict(image: Float32Array) -> Float32Array:
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
            depth = model.official_forward(batch.double())['metric_depth'][0, 0]
        answer: Float32Array = depth.float().numpy()
        return answer

    image = pixels.astype(np.float32) / np.float32(255.0)
    ours = zoedepth_infer(predict, image, size=(64, 96), padding=padding, flip=flip)
    # The authors' network is of float32, and its steep attractors amplify rounding.
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def red(pixels: Float32Array) -> Float32Array:
    return np.ascontiguousarray(pixels[..., 0])


def test_padding_and_flip_leave_smooth_pictures_where_they_are() -> None:
    # A network that states the red channel: whatever is done around it must be undone.
    rows, columns = np.mgrid[0:50, 0:70].astype(np.float32)
    image = np.stack((2.0 + 0.02 * rows + 0.05 * columns,) * 3, axis=-1).astype(np.float32)
    for padding in (False, True):
        for flip in (False, True):
            ours = zoedepth_infer(red, image, size=(96, 128), padding=padding, flip=flip)
            # The two resizes know different conventions: at most half a pixel off at the edges.
            np.testing.assert_allclose(ours, image[..., 0], atol=0.04)


def test_the_flip_averages_what_the_network_sees_mirrored() -> None:
    image = np.random.default_rng(0).random((40, 60, 3), dtype=np.float32)

    def leaning(pixels: Float32Array) -> Float32Array:
        # Adds 1 on the left half of whatever it is given.
        plane = red(pixels).copy()
        plane[:, : plane.shape[1] // 2] += 1.0
        return plane

    plain = zoedepth_infer(red, image, size=(64, 96), padding=False, flip=False)
    both = zoedepth_infer(leaning, image, size=(64, 96), padding=False)
    np.testing.assert_allclose(both[:, 5:25] - plain[:, 5:25], 0.5, atol=1e-5)
    np.testing.assert_allclose(both[:, 35:55] - plain[:, 35:55], 0.5, atol=1e-5)


def test_padding_by_hand() -> None:
    assert reflect_padding(8, 18) == (6, 9)
    line = np.arange(4, dtype=np.float32)[None].repeat(3, axis=0)
    padded = pad_reflect(line, (1, 2))
    assert padded.shape == (5, 8)
    assert padded[0].tolist() == [2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 1.0]


def test_aligned_corners_by_hand() -> None:
    line = np.array([[0.0, 10.0, 40.0]], np.float32)
    assert resize_aligned(line, (1, 5))[0].tolist() == [0.0, 5.0, 10.0, 25.0, 40.0]
    assert resize_aligned(line, (2, 2)).tolist() == [[0.0, 40.0], [0.0, 40.0]]
    assert resize_aligned(line, (1, 1)).tolist() == [[0.0]]


def test_sizes_are_whole_multiples_and_never_nothing() -> None:
    assert keep_aspect_size(48, 48, target=(80, 800)) == (64, 64), 'halves go to the even one'
    assert keep_aspect_size(1, 4000, target=(384, 512)) == (32, 512)
    with pytest.raises(ConfigError, match='image 0x5, target 384x512 and multiple 32'):
        keep_aspect_size(0, 5, target=(384, 512))
