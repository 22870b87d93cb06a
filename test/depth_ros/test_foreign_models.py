# SPDX-License-Identifier: Apache-2.0
"""Public graphs, as stand-ins, through the node: one process serves several in turn.

The pictures are those of the synthetic camera. Its camera_info reaches the node through the test,
which holds it back or changes it; measured depth at some pixels comes from the test as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from depth_core.presets import find
from depth_ros.messages.conversions import image_message
from test.depth_ros.broken_graphs import write_narrow_sky, write_negative_scale
from test.depth_ros.robot import HEIGHT, WIDTH, Robot, hold_back, measure_nothing, relay_all
from test.depth_ros.ros_processes import RELIABLE, ros_session
from test.depth_ros.sample_messages import pixels_of, stamp_ns
from test.foreign import STANDINS, View
from test.foreign_rules import RULES, Camera, Scene

pytestmark = pytest.mark.ros

CODES = 6.0
"""What resampling may change in the tone of a pixel that looks like its neighbours."""
SMOOTH = 12
"""Codes within which the neighbours of a pixel look like it."""
INVERSE = 0.05, -0.1
"""Scale and shift, 1 / metres, of the world of the relative model."""


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with ros_session(tmp_path_factory.mktemp('foreign_models')) as ros:
        yield Robot(ros)


def smooth(scene: Scene) -> NDArray[np.bool_]:
    """Where resampling changes a picture little: no edges of things near by."""
    kernel = np.ones((5, 5), np.uint8)
    spread = cv2.dilate(scene.image, kernel).astype(int) - cv2.erode(scene.image, kernel)
    even: NDArray[np.bool_] = np.asarray(spread.max(axis=-1) <= SMOOTH, np.bool_)
    return even


def check_metres(found: NDArray[np.float32], rule: Callable[[Scene], Any], scene: Scene) -> None:
    """Compare with a rule where the picture is smooth, and there are metres."""
    ends = [
        rule(Scene(camera=scene.camera, image=scene.image, change=sign * CODES / 255.0))
        for sign in (-1.0, 1.0)
    ]
    expected = rule(scene)
    even = smooth(scene)
    finite = np.isfinite(expected) & even
    assert finite.sum() > 100, 'the picture shows too little'
    assert (found[finite] >= np.minimum(*ends)[finite]).all()
    assert (found[finite] <= np.maximum(*ends)[finite]).all()


def deep_blue(scene: Scene) -> NDArray[np.bool_]:
    """Where what stand-ins take for sky is beyond doubt."""
    return smooth(scene) & (scene.blue > 0.72)


def test_canonical_depth_waits_for_camera_info_and_sky_is_beyond(robot: Robot) -> None:
    ros = robot.ros
    robot.relay = hold_back
    model = str(STANDINS['depth_anything_3_metric'].write(ros.folder / 'canonical.onnx'))
    with robot.serving(model=model, manifest='depth_anything_3_metric') as depths:
        said = ros.diagnostics(lambda said: said['dropped_no_camera_info'] > '0', 'the reason')
        assert (
            'no camera_info yet: this model needs the focal length'
            in (said['problem_no_camera_info'])
        )
        assert said['scale_state'] == 'no metres: no camera_info yet'
        assert said['frames_out'] == '0'

        def without_k(info: CameraInfo) -> CameraInfo:
            info.k, info.p = np.zeros(9), np.zeros(12)
            return info

        def of_another_size(info: CameraInfo) -> CameraInfo:
            info.width *= 2
            return info

        for relay, reason in ((without_k, 'uncalibrated'), (of_another_size, 'camera_info_size')):
            robot.relay = relay
            said = ros.diagnostics(
                lambda said, key=f'dropped_{reason}': int(said[key]) > 2,  # type: ignore[misc]
                reason,
            )
            assert said['frames_out'] == '0'
            assert said['scale_state'] == f'no metres: {reason}'
        ros.diagnostics(lambda said: said['level'] == '2', 'that every frame is lost')
        assert not depths
        robot.relay = relay_all
        found, scene = robot.answer(depths)
        said = ros.diagnostics(lambda said: said['frames_out'] > '0', 'a frame')
        assert said['scale_state'] == 'metric, by the focal length of camera_info'
        assert said['network_size'] == '504x504'
    check_metres(found, RULES['depth_anything_3_metric'], scene)
    sky = deep_blue(scene)
    assert sky.sum() > 50, 'the picture shows no sky'
    assert np.isposinf(found[sky]).all()
    assert 'frame dropped (no_camera_info)' in robot.node.output


def test_an_assumed_field_of_view_serves_until_camera_info_comes(robot: Robot) -> None:
    robot.relay = hold_back
    model = str(STANDINS['metric3d_v2'].write(robot.ros.folder / 'assumed.onnx'))
    values: dict[str, str | float | bool] = {'manifest': 'metric3d_v2', 'assumed_hfov_deg': 90.0}
    with robot.serving(model=model, **values) as depths:
        found, scene = robot.answer(depths)
        said = robot.ros.diagnostics(lambda said: said['frames_out'] > '0', 'a frame')
        assert said['scale_state'] == 'metric, by an assumed field of view of 90 degrees'
        half = WIDTH / 2.0  # tan 45 degrees is 1
        middle = {'cx': (WIDTH - 1) / 2.0, 'cy': (HEIGHT - 1) / 2.0}
        assumed = Camera(height=HEIGHT, width=WIDTH, fx=half, fy=half, **middle)
        check_metres(found, RULES['metric3d_v2'], Scene(camera=assumed, image=scene.image))
        robot.relay = relay_all
        robot.ros.diagnostics(
            lambda said: said['scale_state'] == 'metric, by the focal length of camera_info',
            'the camera that came',
        )
        later = robot.answer(depths, after_ns=time.time_ns())  # pictures are stamped with now
        check_metres(*_with_rule(later, 'metric3d_v2'))
    assert 'a horizontal field of view of 90 degrees is assumed' in robot.node.output


def _with_rule(
    answer: tuple[NDArray[np.float32], Scene], name: str
) -> tuple[NDArray[np.float32], Callable[[Scene], Any], Scene]:
    found, scene = answer
    return found, RULES[name], scene


def test_points_are_shifted_by_the_camera_and_scaled(robot: Robot) -> None:
    camera = robot.camera
    view = View(
        x=(camera.width / camera.fx, -(camera.cx + 0.5) / camera.fx),
        y=(camera.height / camera.fy, -(camera.cy + 0.5) / camera.fy),
    )
    robot.relay = relay_all
    model = str(STANDINS['moge_2'].write(robot.ros.folder / 'points.onnx', view))
    with robot.serving(model=model, manifest='moge_2') as depths:
        found, scene = robot.answer(depths)
    check_metres(found, RULES['moge_2'], scene)
    assert np.isnan(found[deep_blue(scene)]).all()


def test_a_frame_that_cannot_be_decoded_is_counted_and_the_node_goes_on(robot: Robot) -> None:
    robot.relay = relay_all
    path = write_negative_scale(robot.ros.folder / 'negative.onnx')
    with robot.serving(model=str(path), manifest='moge_2') as depths:
        said = robot.ros.diagnostics(lambda said: int(said['dropped_prediction']) > 2, 'drops')
        assert "output 'metric_scale' states -" in said['problem_prediction']
        assert 'only a positive number' in said['problem_prediction']
        assert said['frames_out'] == '0'
        assert not depths
    # It was deactivated and cleaned up as ever, and can serve another model.
    model = str(STANDINS['fsnet'].write(robot.ros.folder / 'afterwards.onnx'))
    with robot.serving(model=model, manifest='fsnet') as depths:
        robot.answer(depths)


def test_a_graph_is_given_the_camera_of_what_it_sees(robot: Robot) -> None:
    robot.relay = relay_all
    model = str(STANDINS['fsnet'].write(robot.ros.folder / 'projection.onnx'))
    with robot.serving(model=model, manifest='fsnet') as depths:
        check_metres(*_with_rule(robot.answer(depths), 'fsnet'))


def inverse_world(scene: Scene) -> NDArray[np.float64]:
    """Metres of a world whose inverse depth the relative stand-in sees, but for two numbers."""
    scale, shift = INVERSE
    metres: NDArray[np.float64] = 1.0 / (scale * scene.plain + shift)
    return metres


def test_relative_depth_is_fitted_to_what_was_measured(robot: Robot) -> None:
    def measure(image: Image) -> None:
        scene = Scene(camera=robot.camera, image=pixels_of(image))
        measured = np.full((HEIGHT, WIDTH), np.nan, np.float32)
        measured[::4, ::4] = inverse_world(scene)[::4, ::4]
        measured[::12, ::12] = 60.0  # a ninth of them is wrong
        robot.sparse.publish(image_message(measured, '32FC1', image.header))

    robot.relay = hold_back  # it needs no focal length
    model = str(STANDINS['midas_small'].write(robot.ros.folder / 'relative.onnx'))
    values: dict[str, str | float | bool] = {
        'manifest': 'midas_small',
        'scale_source': 'sparse_depth',
    }
    with robot.serving(model=model, **values) as depths:
        said = robot.ros.diagnostics(lambda said: said['dropped_no_scale'] > '0', 'no scale')
        assert '/sparse_depth' in said['problem_no_scale']
        assert said['scale_tracking'] == 'waiting', 'nothing was there that could be lost'
        assert said['frames_out'] == '0'
        robot.measure = measure
        found, scene = robot.answer(depths)
        robot.ros.diagnostics(
            lambda said: said['scale_state'] == 'metric, by sparse_depth', 'where metres come from'
        )
    robot.measure = measure_nothing
    check_metres(found, inverse_world, scene)


def test_relative_depth_is_published_as_relative_and_nothing_as_metres(robot: Robot) -> None:
    robot.relay = relay_all
    model = str(STANDINS['midas_small'].write(robot.ros.folder / 'as_relative.onnx'))
    metres: list[Image] = []
    infos: list[CameraInfo] = []
    values: dict[str, str | float | bool] = {'manifest': 'midas_small', 'publish_relative': True}
    with robot.serving('/relative/image_raw', model=model, **values) as relative:
        node = robot.ros.node
        extra = [
            node.create_subscription(Image, '/depth/image_raw', metres.append, RELIABLE),
            node.create_subscription(CameraInfo, '/relative/camera_info', infos.append, RELIABLE),
        ]
        found, scene = robot.answer(relative)
        said = robot.ros.diagnostics(lambda said: int(said['dropped_no_scale']) > 1, 'no scale')
        assert 'relative/image_raw has the depth as it is' in said['problem_no_scale']
        robot.ros.until(
            lambda: bool(
                {stamp_ns(info) for info in infos} & {stamp_ns(image) for image in relative}
            ),
            'an image with its calibration',
        )
        for subscription in extra:
            node.destroy_subscription(subscription)
    assert not metres
    assert relative[-1].encoding == '32FC1'
    assert relative[-1].header.frame_id == robot.images[stamp_ns(relative[-1])].header.frame_id
    np.testing.assert_allclose(infos[-1].k, robot.info.k)
    check_metres(found, RULES['midas_small'], scene)  # the number of the graph itself


def test_relative_and_metric_depth_come_side_by_side(robot: Robot) -> None:
    def measure(image: Image) -> None:
        metres = inverse_world(Scene(camera=robot.camera, image=pixels_of(image)))
        robot.sparse.publish(image_message(metres.astype(np.float32), '32FC1', image.header))

    model = str(STANDINS['midas_small'].write(robot.ros.folder / 'both.onnx'))
    values: dict[str, str | float | bool] = {
        'manifest': 'midas_small', 'publish_relative': True, 'scale_source': 'sparse_depth',
    }  # fmt: skip
    relative: list[Image] = []
    with robot.serving(model=model, **values) as depths:
        subscription = robot.ros.node.create_subscription(
            Image, '/relative/image_raw', relative.append, RELIABLE
        )
        robot.ros.until(lambda: bool(relative), 'relative depth without a scale')
        assert not depths
        robot.measure = measure
        robot.ros.until(
            lambda: bool(
                {stamp_ns(depth) for depth in depths} & {stamp_ns(one) for one in relative}
            ),
            'both of one image',
        )
        robot.ros.node.destroy_subscription(subscription)
    robot.measure = measure_nothing


def test_what_cannot_be_configured_is_said_and_can_be_mended(robot: Robot) -> None:
    folder = robot.ros.folder
    canonical = STANDINS['depth_anything_3_metric'].write(folder / 'graph.onnx')
    robot.set(
        model=str(canonical), manifest='', assumed_hfov_deg=0.0, scale_source='none',
        publish_relative=False,
    )  # fmt: skip
    assert 'did you mean' in robot.refused(manifest='depth_anything_3_metrik')
    assert 'graph.onnx has no manifest' in robot.refused(manifest='')
    contradicting = json.loads(find('depth_anything_3_metric').read_text())
    del contradicting['depth']['canonical_focal_px']
    path = folder / 'contradicting.json'
    path.write_text(json.dumps(contradicting))
    assert 'depth.canonical_focal_px is missing' in robot.refused(manifest=str(path))
    said = robot.refused(manifest='metric3d_v2_onnx_community')
    assert "'image'" in said
    assert "'pixel_values'" in said
    assert '280, 504' in robot.refused(manifest='depth_anything_3_metric_280x504')
    for section, changes, words in (
        ('depth', {'rank_hint': 3}, 'depth.rank_hint is 3'),
        ('depth', {'channel': {'axis': 1, 'index': 5}}, 'depth.channel says index 5'),
        (
            'input',
            {'size': {'fixed': [504, 500], 'multiple': 14}},
            'input.width is 500, which 14 does not divide',
        ),
        ('input', {'dtype': 'float16'}, "the manifest says 'image' float16"),
    ):
        other = json.loads(find('depth_anything_3_metric').read_text())
        other[section] |= changes
        path.write_text(json.dumps(other))
        assert words in robot.refused(manifest=str(path))
    narrow = write_narrow_sky(folder / 'narrow.onnx')
    other = json.loads(find('depth_anything_3_metric').read_text())
    other['masks'][0]['output'] = 'narrow'
    path.write_text(json.dumps(other))
    assert 'of another size than the depth' in robot.refused(model=str(narrow), manifest=str(path))
    projection = STANDINS['fsnet'].write(folder / 'unfilled.onnx')
    other = json.loads(find('fsnet').read_text())
    del other['extra_inputs']
    path.write_text(json.dumps(other))
    said = robot.refused(model=str(projection), manifest=str(path))
    assert "nobody fills 'P2': say what it is in extra_inputs" in said
    relative = STANDINS['midas_small'].write(folder / 'unscaled.onnx')
    said = robot.refused(model=str(relative), manifest='midas_small')
    assert 'gives inverse depth and this node publishes metres' in said
    said = robot.refused(model=str(relative), manifest='midas_small', scale_source='speed')
    assert 'set it to sparse_depth' in said
    said = robot.refused(
        model=str(canonical), manifest='depth_anything_3_metric', publish_relative=True
    )
    assert 'publish_relative is true and the model gives canonical depth' in said
    robot.set(publish_relative=False)
    outside = folder / 'outside.onnx'
    onnx.save(
        onnx.load(canonical),
        outside,
        save_as_external_data=True,
        location='weights.bin',
        size_threshold=0,
    )
    (folder / 'weights.bin').unlink()
    assert 'weights.bin' in robot.refused(
        model=str(outside), manifest='depth_anything_3_metric', scale_source='none'
    )
    robot.relay = relay_all
    values: dict[str, str | float | bool] = {'manifest': 'depth_anything_3_metric'}
    with robot.serving(model=str(canonical), **values) as depths:
        robot.answer(depths)
