# SPDX-License-Identifier: Apache-2.0
"""The examples for navigation, and that our outputs meet the rules of the packages they feed.

The scan below follows the published rules of depthimage_to_laserscan: 32FC1 or 16UC1, the pinhole
of P, the rows around the principal point, the nearest range within the limits wins, and +inf is
kept rather than NaN. Neither that package nor Nav2 is needed here.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_core.contracts import DepthMap, Float32Array
from depth_ros.frames.outputs import OUTPUTS
from depth_ros.frames.result import FrameResult
from depth_ros.messages.point_cloud import PixelRays
from depth_ros.settings import Settings, settings_from
from test.depth_ros.sample_messages import FRAME_ID, camera_info, header, picture

BY_TOPIC = {output.topic: output for output in OUTPUTS}
HEIGHT, WIDTH = 30, 40

LAYER_KEYS = {
    *('plugin', 'enabled', 'observation_sources', 'max_obstacle_height', 'mark_threshold'),
    *('origin_z', 'z_resolution', 'z_voxels', 'inflation_radius', 'cost_scaling_factor'),
}
SOURCE_KEYS = {
    *('topic', 'data_type', 'sensor_frame', 'marking', 'clearing', 'inf_is_valid'),
    *('min_obstacle_height', 'max_obstacle_height', 'obstacle_min_range', 'obstacle_max_range'),
    *('raytrace_min_range', 'raytrace_max_range'),
    *('expected_update_rate', 'observation_persistence'),
}
"""Parameters that Nav2 documents for its layers and for what they observe."""


@pytest.fixture(scope='module')
def scan_parameters(repository: Path) -> dict[str, Any]:
    text = (repository / 'examples' / 'laserscan.yaml').read_text(encoding='utf-8')
    found: dict[str, Any] = yaml.safe_load(text)['/**']['ros__parameters']
    return found


@pytest.fixture(scope='module')
def costmap(repository: Path) -> dict[str, Any]:
    text = (repository / 'examples' / 'costmap.yaml').read_text(encoding='utf-8')
    found: dict[str, Any] = yaml.safe_load(text)['local_costmap']['local_costmap']
    return dict(found['ros__parameters'])


def published(depth_m: Float32Array, **parameters: object) -> tuple[Image, CameraInfo]:
    """The depth and the camera_info that the node publishes for one image."""
    result = FrameResult(
        header=header(1),
        rgb=picture(0, height=HEIGHT, width=WIDTH),
        settings=settings_from(parameters),
        rays=lambda _: PixelRays.of(np.ones((2, HEIGHT, WIDTH), np.float32)),
        depth=DepthMap(depth_m=depth_m, sigma_m=depth_m * 0.1, depth_range=(0.5, 80.0)),
        camera_info=camera_info(1, height=HEIGHT, width=WIDTH),
    )
    return (
        BY_TOPIC['depth/image_raw'].make(result),
        BY_TOPIC['depth/camera_info'].make(result),
    )


def scan(image: Image, info: CameraInfo, rules: dict[str, Any]) -> NDArray[np.float64]:
    """The ranges by the rules of depthimage_to_laserscan, from the right to the left."""
    assert (info.height, info.width) == (image.height, image.width)
    assert info.header.frame_id == image.header.frame_id
    assert info.header.stamp == image.header.stamp
    fx, cx, cy = info.p[0], info.p[2], info.p[6]
    rows = rules['scan_height']
    assert rows / 2 <= cy
    assert rows / 2 <= image.height - cy
    millimetres = {'16UC1': True, '32FC1': False}[image.encoding]
    values = np.frombuffer(image.data, np.uint16 if millimetres else np.float32)
    values = values.reshape(image.height, -1)[:, : image.width].astype(np.float64)
    lowest, highest = math.atan2(cx - (image.width - 1), fx), math.atan2(cx, fx)
    step = (highest - lowest) / (image.width - 1)
    ranges = np.full(image.width, np.nan)
    first = int(cy - rows / 2)
    for row in values[first : first + rows]:
        for column, depth in enumerate(row):
            index = int((-math.atan2(column - cx, fx) - lowest) / step)
            valid = depth != 0 if millimetres else math.isfinite(depth)
            metres = depth * 1e-3 if millimetres else depth
            found = math.hypot((column - cx) / fx * metres, metres) if valid else depth
            ranges[index] = nearer(found, ranges[index], rules)
    return ranges


def nearer(new: float, old: float, rules: dict[str, Any]) -> float:
    """Which of two values of one direction is kept."""
    if not math.isfinite(new) and not math.isfinite(old):
        return old if math.isnan(new) else new
    if not rules['range_min'] <= new <= rules['range_max']:
        return old
    return new if not math.isfinite(old) or new < old else old


@pytest.mark.parametrize('encoding', ['32FC1', '16UC1'])
def test_a_scan_of_a_wall_has_its_distances(
    scan_parameters: dict[str, Any], encoding: str
) -> None:
    """A wall 4 m ahead lies at 4 / cos(angle); the post before it, in two columns, at 2 m."""
    depth_m = np.full((HEIGHT, WIDTH), 4.0, np.float32)
    depth_m[:, 19:21] = 2.0
    image, info = published(depth_m, depth_encoding=encoding)
    ranges = scan(image, info, scan_parameters)
    known = ranges[np.isfinite(ranges)]
    widest = math.atan2((WIDTH - 1) / 2, WIDTH)
    assert known.min() == pytest.approx(2.0, rel=1e-3)
    assert known.max() == pytest.approx(4.0 / math.cos(widest), rel=1e-3)
    assert np.isfinite(ranges).mean() > 0.8
    assert (known < 2.1).sum() == 2


def test_what_is_unknown_and_what_is_beyond_stay_apart(scan_parameters: dict[str, Any]) -> None:
    """+inf says that nothing is there, which clears a costmap; NaN says nothing at all."""
    depth_m = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    depth_m[:, : WIDTH // 2] = np.nan
    ranges = scan(*published(depth_m), scan_parameters)
    right, left = ranges[: WIDTH // 2 - 1], ranges[WIDTH // 2 + 1 :]
    assert np.isposinf(right[~np.isnan(right)]).all()
    assert np.isposinf(right).sum() > 10
    assert np.isnan(left).all()


def test_no_depth_is_ever_the_number_nought(scan_parameters: dict[str, Any]) -> None:
    """In 32FC1 a 0 would be a point at the camera, in 16UC1 it is no point."""
    depth_m = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    for encoding in ('32FC1', '16UC1'):
        ranges = scan(*published(depth_m, depth_encoding=encoding), scan_parameters)
        assert not np.isfinite(ranges).any()


def test_the_scan_is_not_in_the_optical_frame(scan_parameters: dict[str, Any]) -> None:
    assert scan_parameters['output_frame'] != FRAME_ID
    assert 'optical' not in scan_parameters['output_frame']
    assert set(scan_parameters) == {
        *('scan_height', 'range_min', 'range_max', 'scan_time', 'output_frame')
    }


def test_the_launch_file_connects_the_topics_of_the_node(repository: Path) -> None:
    """Read without the launch library."""
    tree = ast.parse((repository / 'examples' / 'laserscan.launch.py').read_text(encoding='utf-8'))
    (remappings,) = (
        keyword.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == 'remappings'
    )
    pairs = dict(ast.literal_eval(remappings))
    assert set(pairs) == {'depth', 'depth_camera_info'}, 'the inputs of depthimage_to_laserscan'
    assert BY_TOPIC[pairs['depth']].kind is Image
    assert BY_TOPIC[pairs['depth_camera_info']].kind is CameraInfo


def test_the_costmap_observes_what_is_published(costmap: dict[str, Any]) -> None:
    kinds = {'PointCloud2': PointCloud2}
    observed = []
    for name in costmap['plugins']:
        layer = costmap[name]
        sources = layer.get('observation_sources', '').split()
        assert set(layer) - LAYER_KEYS == set(sources)
        for source in (layer[source] for source in sources):
            assert set(source) <= SOURCE_KEYS
            topic = source['topic'].removeprefix('/')
            observed.append(topic)
            if topic != 'scan':  # which depthimage_to_laserscan publishes
                assert BY_TOPIC[topic].kind is kinds[source['data_type']]
            assert source['obstacle_max_range'] <= source['raytrace_max_range']
    assert observed == ['points', 'scan']


def test_points_without_depth_are_no_obstacles() -> None:
    """Nav2 keeps a point whose height lies between two limits, which NaN never does."""
    depth_m = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    depth_m[0] = np.nan
    depth_m[1] = np.inf
    result = FrameResult(
        header=header(1),
        rgb=picture(0, height=HEIGHT, width=WIDTH),
        settings=Settings(),
        rays=lambda _: PixelRays.of(np.ones((2, HEIGHT, WIDTH), np.float32)),
        depth=DepthMap(depth_m=depth_m, sigma_m=depth_m, depth_range=(0.5, 80.0)),
        camera_info=camera_info(1, height=HEIGHT, width=WIDTH),
    )
    cloud = BY_TOPIC['points'].make(result)
    assert [(item.name, item.datatype) for item in cloud.fields[:3]] == [
        (name, 7) for name in 'xyz'
    ], 'float32, as the iterators of sensor_msgs read them'
    points = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT, WIDTH, -1)[..., :3]
    assert np.isnan(points[:2]).all()
    assert_allclose(points[5:], 3.0)
    assert cloud.header.frame_id == FRAME_ID
