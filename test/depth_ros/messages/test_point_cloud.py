# SPDX-License-Identifier: Apache-2.0
"""Clouds have the geometry, the layout and the holes they should have."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import Header

from depth_core.contracts import Float32Array
from depth_ros.messages.point_cloud import (
    CloudMemory,
    PixelRays,
    RayCache,
    flying_pixels,
    point_cloud,
)
from depth_ros.options.output import CloudOptions

HEIGHT, WIDTH = 48, 64
PLAIN = CloudOptions(color=False, edge_ratio=0.0)


def camera() -> CameraInfo:
    info = CameraInfo(height=HEIGHT, width=WIDTH)
    info.k = np.array([60.0, 0, 31.5, 0, 62.0, 23.5, 0, 0, 1])
    info.p = np.array([60.0, 0, 31.5, 0, 0, 62.0, 23.5, 0, 0, 0, 1, 0])
    return info


def cloud(
    depth: Float32Array,
    options: CloudOptions = PLAIN,
    *,
    rgb: NDArray[np.uint8] | None = None,
    confidence: Float32Array | None = None,
) -> PointCloud2:
    rays = RayCache()(camera(), rectified=True, stride=options.stride)
    header = Header(frame_id='camera_optical_frame')
    return point_cloud(depth, rays, header=header, options=options, rgb=rgb, confidence=confidence)


def fields(message: PointCloud2) -> dict[str, Float32Array]:
    """Read a cloud by its own description, as any listener would."""
    codes = {PointField.FLOAT32: '<f4'}
    layout = np.dtype(
        {
            'names': [item.name for item in message.fields],
            'formats': [codes[item.datatype] for item in message.fields],
            'offsets': [item.offset for item in message.fields],
            'itemsize': message.point_step,
        }
    )
    points = np.frombuffer(message.data, layout).reshape(message.height, message.width)
    return {name: points[name] for name in layout.names or ()}


def level(value: float = 4.0) -> Float32Array:
    return np.full((HEIGHT, WIDTH), value, np.float32)


def both(rays: PixelRays) -> Float32Array:
    """[2, H, W] x/z and y/z."""
    return np.stack((rays.x, rays.y))


def slanted_plane() -> Float32Array:
    """Depth of the plane n . p = 3 seen through the camera."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    normal = np.array([0.3, -0.2, 0.9])
    rays = np.stack(
        ((columns - 31.5) / 60.0, (rows - 23.5) / 62.0, np.ones((HEIGHT, WIDTH))), axis=-1
    )
    depth: Float32Array = (3.0 / (rays @ normal)).astype(np.float32)
    return depth


def test_points_of_a_known_plane_lie_on_it() -> None:
    points = fields(cloud(slanted_plane()))
    distance = 0.3 * points['x'] - 0.2 * points['y'] + 0.9 * points['z']
    assert_allclose(distance, 3.0, rtol=1e-5)
    assert points['x'][0, 0] < 0.0 < points['x'][0, -1], 'x points right'
    assert points['y'][0, 0] < 0.0 < points['y'][-1, 0], 'y points down'


@pytest.mark.parametrize(
    ('colour', 'confidence', 'names'),
    [
        (False, False, ['x', 'y', 'z']),
        (True, False, ['x', 'y', 'z', 'rgb']),
        (False, True, ['x', 'y', 'z', 'confidence']),
        (True, True, ['x', 'y', 'z', 'rgb', 'confidence']),
    ],
)
def test_the_layout_is_organised_and_complete(
    colour: bool, confidence: bool, names: list[str]
) -> None:
    options = CloudOptions(color=colour, confidence=confidence, edge_ratio=0.0)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    message = cloud(level(), options, rgb=rgb, confidence=level(0.5))
    assert [item.name for item in message.fields] == names
    assert [item.offset for item in message.fields] == [4 * i for i in range(len(names))]
    assert (message.height, message.width) == (HEIGHT, WIDTH)
    assert message.point_step == 4 * len(names)
    assert message.row_step == message.point_step * WIDTH
    assert len(message.data) == message.row_step * HEIGHT
    assert message.header.frame_id == 'camera_optical_frame'


def test_colour_and_confidence_are_those_of_the_pixel() -> None:
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    confidence = generator.random((HEIGHT, WIDTH), np.float32)
    options = CloudOptions(color=True, confidence=True, edge_ratio=0.0, stride=3)
    points = fields(cloud(level(), options, rgb=rgb, confidence=confidence))
    bits = np.ascontiguousarray(points['rgb']).view(np.uint32)
    found = np.stack(((bits >> 16) & 255, (bits >> 8) & 255, bits & 255), axis=-1)
    assert_array_equal(found, rgb[::3, ::3])
    assert_array_equal(points['confidence'], confidence[::3, ::3])


def test_stride_takes_every_nth_pixel_and_its_own_ray() -> None:
    depth = slanted_plane()
    whole, thinned = (
        fields(cloud(depth)),
        fields(cloud(depth, CloudOptions(color=False, edge_ratio=0.0, stride=5))),
    )
    assert thinned['x'].shape == (10, 13)
    for name in 'xyz':
        assert_array_equal(thinned[name], whole[name][::5, ::5])


def test_pixels_without_depth_are_nan_points() -> None:
    depth = level()
    depth[3, 4], depth[5, 6], depth[7, 8] = np.nan, np.inf, -np.inf
    points = fields(cloud(depth))
    empty = np.isnan(points['x']) & np.isnan(points['y']) & np.isnan(points['z'])
    assert sorted(zip(*np.nonzero(empty), strict=True)) == [(3, 4), (5, 6), (7, 8)]
    assert np.isfinite(points['x'][~empty]).all()


def test_filters_remove_what_they_name() -> None:
    depth, confidence = level(), level(0.9)
    depth[0, :10], confidence[1, :7] = 30.0, 0.2
    far = fields(cloud(depth, CloudOptions(color=False, edge_ratio=0.0, max_range_m=20.0)))
    assert np.isnan(far['z']).sum() == 10
    unsure = CloudOptions(color=False, edge_ratio=0.0, min_confidence=0.5)
    assert unsure.needs_confidence
    assert np.isnan(fields(cloud(depth, unsure, confidence=confidence))['z']).sum() == 7
    assert not PLAIN.needs_confidence


def test_the_edge_filter_cuts_the_ramp_between_two_surfaces() -> None:
    depth = level(2.0)
    depth[:, 30], depth[:, 31:] = 3.5, 6.0  # a flying pixel between wall and background
    edges = flying_pixels(depth, ratio=0.1)
    assert_array_equal(np.unique(np.nonzero(edges)[1]), [29, 30, 31])
    kept = fields(cloud(depth, CloudOptions(color=False, edge_ratio=0.1)))['z']
    assert sorted(np.unique(kept[np.isfinite(kept)])) == [2.0, 6.0]


def test_the_edge_filter_keeps_slanted_planes_and_ignores_unknown_pixels() -> None:
    depth = slanted_plane()
    depth[10, 10] = np.nan
    assert not flying_pixels(depth, ratio=0.1).any()
    depth[20:, :] = np.inf
    assert_array_equal(np.unique(np.nonzero(flying_pixels(depth, ratio=0.1))[0]), [19, 20])


def test_rays_are_computed_once_for_a_camera() -> None:
    cache = RayCache()
    first = cache(camera(), rectified=True, stride=1)
    assert cache(camera(), rectified=True, stride=1) is first
    assert (first.x.strides[0], first.y.strides[1], first.all_known) == (0, 0, True), 'a pinhole'
    moved = camera()
    moved.p[2] += 1.0
    assert not np.array_equal(cache(moved, rectified=True, stride=1).x, first.x)
    assert both(cache(moved, rectified=True, stride=2)).shape == (2, 24, 32)
    assert_array_equal(both(cache(camera(), rectified=True, stride=1)), both(first))


def test_a_pixel_without_a_ray_is_nan_in_all_coordinates() -> None:
    rays = both(RayCache()(camera(), rectified=True, stride=1))
    rays[:, 3, 5] = np.nan
    message = point_cloud(level(), PixelRays.of(rays), header=Header(), options=PLAIN)
    found = fields(message)
    for name in 'xyz':
        assert np.isnan(found[name][3, 5])
        assert np.isnan(found[name]).sum() == 1


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [
        ('plumb_bob', [-0.3, 0.1, 0.001, -0.002, -0.01]),
        ('rational_polynomial', [-0.2, 0.05, 0.001, 0.001, 0.01, 0.1, 0.02, 0.01]),
        (
            'rational_polynomial',
            [-0.2, 0.05, 0.001, 0.001, 0.01, 0.1, 0.02, 0.01, 2e-3, 1e-3, 1e-3, 1e-3, 0.01, 0.02],
        ),
        ('equidistant', [0.01, 0.02, -0.01, 0.001]),
    ],
)
@pytest.mark.parametrize('stride', [1, 4])
def test_rays_of_a_k_that_changes_are_those_of_that_k(
    model: str, coefficients: list[float], stride: int
) -> None:
    info = CameraInfo(height=240, width=320, distortion_model=model, d=coefficients)

    def zoom(f: float) -> None:
        info.k = np.array([f, 0, 158.0, 0, f, 121.0, 0, 0, 1])

    cache = RayCache()
    for f in (210.0, 210.5, 203.0, 260.0):  # the first is exact, the last two need more table
        zoom(f)
        found = both(cache(info, rectified=False, stride=stride))
        exact = both(RayCache()(info, rectified=False, stride=stride))
        assert found.shape == (2, -(-240 // stride), -(-320 // stride))
        assert_allclose(found * f, exact * f, atol=5e-3)  # pixels, at the corners


def test_where_a_changing_lens_has_no_ray_none_is_made_up() -> None:
    info = CameraInfo(height=240, width=320, distortion_model='equidistant')
    info.d = [0.3, -0.2, 0.1, -0.05]
    cache = RayCache()
    for f in (75.0, 75.5):
        info.k = np.array([f, 0, 159.5, 0, f, 119.5, 0, 0, 1])
        found = both(cache(info, rectified=False, stride=1))
    exact = both(RayCache()(info, rectified=False, stride=1))
    assert np.isnan(exact[0]).any()
    assert np.isnan(found[:, np.isnan(exact[0])]).mean() > 0.95, 'but points between rays'
    assert np.isfinite(found[0]).mean() > 0.5 * np.isfinite(exact[0]).mean()


@pytest.mark.parametrize('stride', [1, 3])
def test_clouds_are_made_in_parts_that_do_not_show(
    stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = np.random.default_rng(1).uniform(1.0, 1.3, (HEIGHT, WIDTH)).astype(np.float32)
    depth[20, 30], depth[7] = np.nan, np.inf
    rgb = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    options = dataclasses.replace(PLAIN, color=True, edge_ratio=0.2, stride=stride)
    whole = fields(cloud(depth, options, rgb=rgb))
    monkeypatch.setattr('depth_ros.messages.point_cloud._POINTS_AT_ONCE', 4 * WIDTH)
    parts = fields(cloud(depth, options, rgb=rgb))
    assert 0 < np.isnan(whole['z']).sum() < whole['z'].size
    for name, values in whole.items():
        assert_array_equal(parts[name].view(np.uint32), values.view(np.uint32), name)


def test_edges_are_found_where_most_parts_are_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('depth_ros.messages.point_cloud._POINTS_AT_ONCE', 4 * WIDTH)
    depth = level()
    depth[16:] = 4.5  # where a part ends
    depth[33, 5], depth[41, 7], depth[45] = -1.0, -np.inf, np.nan
    edges = flying_pixels(depth, ratio=0.1)
    assert {15, 16, 32, 33, 34} < set(np.nonzero(edges)[0])
    found = fields(cloud(depth, dataclasses.replace(PLAIN, edge_ratio=0.1)))
    assert_array_equal(np.isnan(found['z']), edges | ~np.isfinite(depth))


def test_memory_is_taken_again_and_nothing_of_the_former_cloud_stays() -> None:
    memory, rays = CloudMemory(), RayCache()(camera(), rectified=True, stride=1)
    first = level()
    first[:5] = np.nan
    kept = point_cloud(first, rays, header=Header(), options=PLAIN, memory=memory)
    again = point_cloud(level(6.0), rays, header=Header(), options=PLAIN, memory=memory)
    assert again.data is kept.data
    assert_array_equal(fields(again)['z'], 6.0)
    dense = dataclasses.replace(PLAIN, organized=False)
    few = point_cloud(first, rays, header=Header(), options=dense, memory=memory)
    assert len(few.data) == 12 * few.width < len(again.data)
    smaller = RayCache()(camera(), rectified=True, stride=2)
    halved = dataclasses.replace(PLAIN, stride=2)
    other = point_cloud(level(), smaller, header=Header(), options=halved, memory=memory)
    assert_array_equal(fields(other)['z'], 4.0)
