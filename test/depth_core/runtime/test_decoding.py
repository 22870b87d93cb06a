# SPDX-License-Identifier: Apache-2.0
"""The way from the numbers of a graph to metres, on numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.contracts import (
    Channel,
    DepthKind,
    InputSpec,
    Intrinsics,
    OutputSpec,
    SigmoidRange,
)
from depth_core.errors import ModelError
from depth_core.manifest import Confidence, DomainSection, Manifest, Mask
from depth_core.runtime.decoding import Decoded, Decoder
from depth_core.runtime.placement import Placement, place
from depth_core.runtime.postprocessing import Postprocessor

HEIGHT, WIDTH = 4, 6
CAMERA = Intrinsics(fx_px=450.0, fy_px=150.0, cx_px=2.5, cy_px=1.5, height=HEIGHT, width=WIDTH)
"""Of the network's image; fx and fy differ as after a stretch."""


def manifest(
    *, masks: tuple[Mask, ...] = (), confidence: Confidence | None = None, **output: Any
) -> Manifest:
    stated: dict[str, Any] = {
        'kind': DepthKind.METRIC, 'min_depth': 0.1, 'max_depth': 200.0, 'sigma': None, **output
    }  # fmt: skip
    return Manifest(
        name='a',
        input=InputSpec(height=HEIGHT, width=WIDTH),
        output=OutputSpec(**stated),
        masks=masks,
        confidence=confidence,
    )


def plane(value: float) -> NDArray[np.float32]:
    return np.full((1, HEIGHT, WIDTH), value, np.float32)


def decoded(
    described: Manifest,
    camera: Intrinsics | None = None,
    **outputs: NDArray[Any],
) -> Decoded:
    decode = Decoder(described)
    return decode(decode.answer(outputs, 1), 0, camera)


def metres(
    described: Manifest, camera: Intrinsics | None = None, **outputs: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Depth and sigma at the size of the network's image."""
    size = (HEIGHT, WIDTH)
    placement = Placement(image=size, network=size, resized=size)
    answer = decoded(described, camera, **outputs)
    depth_m, sigma_m = Postprocessor(described.output)(answer, placement)
    return depth_m, sigma_m()


@pytest.mark.parametrize(('focal', 'expected'), [('mean', 5.0), ('fx', 7.5), ('fy', 2.5)])
def test_canonical_depth_times_the_focal_length_of_the_network_s_image(
    focal: str, expected: float
) -> None:
    # 5 * 300 / 300 with the mean; sigma grows with it.
    canonical = manifest(
        kind=DepthKind.CANONICAL, canonical_focal_px=300.0, focal=focal, sigma='sigma'
    )
    depth_m, sigma_m = metres(canonical, CAMERA, depth=plane(5.0), sigma=plane(1.0))
    np.testing.assert_allclose(depth_m, expected, rtol=1e-6)
    np.testing.assert_allclose(sigma_m, expected / 5.0, rtol=1e-6)


def test_the_focal_length_is_that_of_the_network_and_not_of_the_camera() -> None:
    canonical = manifest(kind=DepthKind.CANONICAL, canonical_focal_px=100.0)
    camera = Intrinsics(fx_px=50.0, fy_px=50.0, cx_px=5.5, cy_px=7.5, height=16, width=12)
    placement = place(canonical.input, 16, 12)
    seen = placement.intrinsics(camera)  # a half across, a quarter down
    assert (seen.fx_px, seen.fy_px) == (25.0, 12.5)
    decode = Decoder(canonical)
    answer = decode(decode.answer({'depth': plane(8.0)}, 1), 0, seen)
    depth_m, _ = Postprocessor(canonical.output)(answer, placement)
    assert depth_m.shape == (16, 12)
    np.testing.assert_allclose(depth_m, 8.0 * 18.75 / 100.0, rtol=1e-6)  # 4.0 with the camera's


def test_the_range_is_metres_unless_the_graph_ends_at_it() -> None:
    foreign = manifest(kind=DepthKind.CANONICAL, canonical_focal_px=600.0, max_depth=20.0)
    ours = manifest(
        kind=DepthKind.CANONICAL, canonical_focal_px=600.0, max_depth=20.0, saturates=True
    )
    # 300 / 600: the answer 20 is 10 m.
    assert decoded(foreign, CAMERA, depth=plane(20.0)).depth_range == (0.1, 20.0)
    assert decoded(ours, CAMERA, depth=plane(20.0)).depth_range == (0.05, 10.0)
    np.testing.assert_allclose(metres(foreign, CAMERA, depth=plane(20.0))[0], 10.0, rtol=1e-6)
    assert (metres(ours, CAMERA, depth=plane(20.0))[0] == np.inf).all()
    assert (metres(ours, CAMERA, depth=plane(0.1))[0] == -np.inf).all()


def test_inverse_canonical_depth_and_its_sigma() -> None:
    inverse = manifest(
        kind=DepthKind.CANONICAL, coding='inverse', canonical_focal_px=1500.0, sigma='sigma'
    )
    # 1 / 0.05 = 20, 20 * 300 / 1500 = 4; d(1/v) = 0.001 / 0.05^2 = 0.4, 0.4 / 5 = 0.08.
    depth_m, sigma_m = metres(inverse, CAMERA, depth=plane(0.05), sigma=plane(0.001))
    np.testing.assert_allclose(depth_m, 4.0, rtol=1e-6)
    np.testing.assert_allclose(sigma_m, 0.08, rtol=1e-5)
    farthest, _ = metres(inverse, CAMERA, depth=plane(0.0), sigma=plane(0.001))
    assert (farthest == np.inf).all()


def test_a_sigmoid_disparity_with_a_unit() -> None:
    sigmoid = manifest(
        coding='sigmoid_disparity', sig=SigmoidRange(min=0.1, max=100.0), unit_m=5.4
    )
    # 1 / (0.01 + 9.99 * 0.5) = 0.1998, times 5.4.
    depth_m, _ = metres(sigmoid, depth=plane(0.5))
    np.testing.assert_allclose(depth_m, 5.4 / 5.005, rtol=1e-6)


def test_unit_and_correction_scale_metres_and_leave_relative_depth_alone() -> None:
    stated: dict[str, Any] = {'unit_m': 0.001, 'scale_correction': 2.0}
    np.testing.assert_allclose(metres(manifest(**stated), depth=plane(3000.0))[0], 6.0, rtol=1e-6)
    relative = manifest(**stated, kind=DepthKind.UP_TO_SCALE)
    np.testing.assert_allclose(metres(relative, depth=plane(30.0))[0], 30.0, rtol=1e-6)


@pytest.mark.parametrize('shape', [(1,), (1, 1), ()])
def test_own_focal_length_and_scale_of_the_graph(shape: tuple[int, ...]) -> None:
    own = manifest(own_focal_output='f', scale_output='s')
    outputs: dict[str, Any] = {
        'f': np.full(shape, 600.0, np.float32),
        's': np.full(shape, 3.0, np.float32),
    }
    # 2 * 300 / 600 * 3; without a camera the graph's own focal length is believed.
    np.testing.assert_allclose(metres(own, CAMERA, depth=plane(2.0), **outputs)[0], 3.0, rtol=1e-6)
    np.testing.assert_allclose(metres(own, depth=plane(2.0), **outputs)[0], 6.0, rtol=1e-6)


def test_a_field_of_view_is_a_focal_length_of_the_input() -> None:
    # 90 degrees over 6 pixels: f = 3.
    outputs: dict[str, Any] = {'fov': np.array([90.0], np.float32)}
    metric = manifest(fov_output='fov')
    np.testing.assert_allclose(
        metres(metric, CAMERA, depth=plane(0.02), **outputs)[0], 2.0, rtol=1e-5
    )
    canonical = manifest(
        kind=DepthKind.CANONICAL, canonical_focal_px=1.5, fov_output='fov', focal='fx'
    )
    assert not canonical.needs_intrinsics
    np.testing.assert_allclose(metres(canonical, depth=plane(5.0), **outputs)[0], 10.0, rtol=1e-5)
    np.testing.assert_allclose(
        metres(canonical, CAMERA, depth=plane(0.1), **outputs)[0], 30.0, rtol=1e-5
    )


@pytest.mark.parametrize('value', [0.0, -600.0, np.nan, np.inf])
@pytest.mark.parametrize('key', ['own_focal_output', 'fov_output', 'scale_output'])
def test_what_is_no_positive_number_scales_nothing(key: str, value: float) -> None:
    stated: dict[str, Any] = {key: 'own'}
    with pytest.raises(ModelError, match=f"'own' states {value:g} for an image; only a positive"):
        decoded(manifest(**stated), CAMERA, depth=plane(2.0), own=np.array([value]))


def test_half_a_turn_is_no_field_of_view() -> None:
    with pytest.raises(ModelError, match=r"'own' states 180 degrees; .* is below 180"):
        decoded(manifest(fov_output='own'), CAMERA, depth=plane(2.0), own=np.array([180.0]))


def test_an_own_focal_length_that_is_not_needed_is_not_read() -> None:
    own = np.array([np.nan])
    canonical = manifest(kind=DepthKind.CANONICAL, canonical_focal_px=1.5, fov_output='own')
    # 2 * 300 / 1.5 is beyond 200 m; the mean of 450 and 150 is 300.
    np.testing.assert_allclose(metres(canonical, CAMERA, depth=plane(0.5), own=own)[0], 100.0)
    metric = manifest(own_focal_output='own')
    np.testing.assert_allclose(metres(metric, depth=plane(2.0), own=own)[0], 2.0)


def test_a_number_too_many_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'s' has shape \[2\], and one number for each of 1"):
        decoded(manifest(scale_output='s'), depth=plane(2.0), s=np.ones(2, np.float32))


@pytest.mark.parametrize(('axis', 'last'), [(3, True), (-1, True), (1, False), (-3, False)])
def test_the_shift_of_points_is_found_from_the_camera(axis: int, last: bool) -> None:
    true_m = np.linspace(2.0, 9.0, HEIGHT * WIDTH, dtype=np.float64).reshape(HEIGHT, WIDTH)
    column, row = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    x = (column - 2.5) / 450.0 * true_m
    y = (row - 1.5) / 150.0 * true_m
    points = np.stack((x, y, true_m - 1.25), axis=-1 if last else 0)[None].astype(np.float32)
    # One point is wild, and one is hidden by the mask.
    points[0, 0, 0] = 77.0
    shifted = manifest(
        depth='points',
        channel=Channel(axis=axis, index=2),
        shift='median_from_K',
        scale_output='s',
        masks=(Mask(output='mask', polarity='high_is_valid', threshold=0.5),),
    )
    valid = plane(1.0)
    valid[0, 3, 5] = 0.0
    scale = np.array([2.0], np.float32)
    assert shifted.needs_intrinsics
    if not last:
        points[0, :, 0, 0] = 0.5
    depth_m, _ = metres(shifted, CAMERA, points=points, mask=valid, s=scale)
    assert np.isnan(depth_m[3, 5])
    depth_m[3, 5] = 2.0 * 9.0
    # float32 leaves some 1e-5 of the ratio of small numbers
    np.testing.assert_allclose(depth_m[1:], 2.0 * true_m[1:], rtol=1e-3)


def test_no_pixel_left_gives_no_shift_and_no_depth() -> None:
    shifted = manifest(
        channel=Channel(axis=3, index=2),
        shift='median_from_K',
        masks=(Mask(output='mask', polarity='high_is_valid', threshold=0.5),),
    )
    points = np.ones((1, HEIGHT, WIDTH, 3), np.float32)
    assert np.isnan(metres(shifted, CAMERA, depth=points, mask=plane(0.0))[0]).all()


@pytest.mark.parametrize(
    ('polarity', 'fill', 'expected'),
    [
        ('high_is_sky', 'max', [5.0, 5.0, 5.0, np.inf, np.inf, np.inf]),
        ('high_is_valid', 'max', [np.inf, np.inf, np.inf, 5.0, 5.0, 5.0]),
        ('high_is_sky', 'nan', [5.0, 5.0, 5.0, np.nan, np.nan, np.nan]),
        ('high_is_valid', 'nan', [np.nan, np.nan, np.nan, 5.0, 5.0, 5.0]),
    ],
)
def test_masks_by_polarity_and_fill(polarity: Any, fill: Any, expected: list[float]) -> None:
    masked = manifest(
        masks=(Mask(output='sky', polarity=polarity, threshold=0.3, fill=fill),), sigma='sigma'
    )
    sky = np.zeros((1, 1, HEIGHT, WIDTH), np.float32)
    sky[..., 3:] = 0.3  # at the threshold is high
    depth_m, sigma_m = metres(masked, depth=plane(5.0), sigma=plane(1.0), sky=sky)
    np.testing.assert_allclose(depth_m[2], expected, rtol=1e-6)
    assert (np.isnan(sigma_m[2]) == ~np.isfinite(expected)).all()


def test_a_threshold_after_a_sigmoid() -> None:
    # sigmoid(-1.3863) = 0.2
    sky = plane(math.log(0.25))
    for threshold, hidden in ((0.19, True), (0.21, False)):
        masked = manifest(
            masks=(
                Mask(
                    output='sky', polarity='high_is_sky', threshold=threshold, activation='sigmoid'
                ),
            )
        )
        depth_m, _ = metres(masked, depth=plane(5.0), sky=sky)
        assert np.isnan(depth_m).all() == hidden


def test_two_masks_keep_their_fills_and_neighbours_their_depth_when_resized() -> None:
    masked = manifest(
        masks=(
            Mask(output='sky', polarity='high_is_sky', threshold=0.5, fill='max'),
            Mask(output='valid', polarity='high_is_valid', threshold=0.5),
        )
    )
    sky, valid, depth = plane(0.0), plane(1.0), plane(5.0)
    sky[:, :, 4:], valid[:, :, :2] = 1.0, 0.0
    depth[:, :, 4:], depth[:, :, :2] = 150.0, 0.2
    size = (HEIGHT * 3, WIDTH * 3)
    placement = Placement(image=size, network=(HEIGHT, WIDTH), resized=(HEIGHT, WIDTH))
    answer = decoded(masked, depth=depth, sky=sky, valid=valid)
    depth_m, _ = Postprocessor(masked.output)(answer, placement)
    assert (depth_m[:, 12:] == np.inf).all()
    assert np.isnan(depth_m[:, :6]).all()
    np.testing.assert_allclose(depth_m[:, 6:12], 5.0, rtol=1e-5)  # no blend with what is hidden


def test_a_mask_of_another_size_is_refused() -> None:
    masked = manifest(masks=(Mask(output='sky', polarity='high_is_sky', threshold=0.5),))
    sky = np.zeros((1, 2, 3), np.float32)
    with pytest.raises(ModelError, match=r"mask 'sky' has shape \[1, 2, 3\] and the depth \[1, 4"):
        decoded(masked, depth=plane(5.0), sky=sky)


def test_confidence_is_sigma_log_sigma_or_nothing() -> None:
    logarithm = manifest(confidence=Confidence(output='c', meaning='sigma_log'), unit_m=2.0)
    _, sigma_m = metres(logarithm, depth=plane(5.0), c=plane(math.log(0.3)))
    np.testing.assert_allclose(sigma_m, 0.6, rtol=1e-5)
    ranked = manifest(confidence=Confidence(output='c', meaning='rank_high_good'))
    assert ranked.outputs == ('depth',)
    assert np.isnan(metres(ranked, depth=plane(5.0))[1]).all()


@pytest.mark.parametrize(
    ('shape', 'channel'),
    [
        ((HEIGHT, WIDTH), None),
        ((1, HEIGHT, WIDTH), None),
        ((1, 1, HEIGHT, WIDTH), None),
        ((1, HEIGHT, WIDTH, 1), None),
        ((3, HEIGHT, WIDTH), Channel(axis=0, index=2)),
        ((1, 3, HEIGHT, WIDTH), Channel(axis=1, index=2)),
        ((1, HEIGHT, WIDTH, 3), Channel(axis=-1, index=2)),
    ],
)
def test_ranks_and_channels(shape: tuple[int, ...], channel: Channel | None) -> None:
    output = np.ones(shape, np.float32)
    if channel is not None:
        np.moveaxis(output, channel.axis, 0)[2] = 7.0
    depth_m, _ = metres(manifest(channel=channel), depth=output)
    np.testing.assert_array_equal(depth_m, 1.0 if channel is None else 7.0)


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match=r'\[1, 3, 4, 6\], and the manifest asks for plane 3'):
        decoded(
            manifest(channel=Channel(axis=1, index=3)),
            depth=np.ones((1, 3, HEIGHT, WIDTH), np.float32),
        )


def test_metres_that_are_not_to_be_published_stay_relative() -> None:
    described = Manifest(
        name='a',
        input=InputSpec(height=HEIGHT, width=WIDTH),
        output=manifest(kind=DepthKind.CANONICAL, canonical_focal_px=300.0).output,
        domain=DomainSection(publish_metric=False),
    )
    assert described.output.kind is DepthKind.UP_TO_SCALE
    np.testing.assert_array_equal(metres(described, CAMERA, depth=plane(5.0))[0], 5.0)


def test_only_those_that_use_a_camera_ask_for_one() -> None:
    cases: Mapping[bool, tuple[Manifest, ...]] = {
        False: (manifest(), manifest(kind=DepthKind.INVERSE), manifest(scale_output='s')),
        True: (
            manifest(kind=DepthKind.CANONICAL, canonical_focal_px=1.0),
            manifest(own_focal_output='f'),
            manifest(shift='median_from_K', channel=Channel(axis=3, index=2)),
        ),
    }
    for uses, described in cases.items():
        assert all(Decoder(one).uses_camera == uses for one in described)
