# SPDX-License-Identifier: Apache-2.0
"""What launch files refuse before anything starts, and where cameras get their messages from."""

from __future__ import annotations

from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from depth_core.data.bag.writing import message_types
from depth_core.errors import ConfigError
from depth_ros.kitti_to_bag.messages import COMPRESSED_IMAGE, compressed_image, head
from depth_ros.launch_checks import (
    input_remappings,
    parameter_file,
    passed_over,
    recorded_images,
    require_file,
    require_package,
    require_parameter,
    require_time,
    shown_namespace,
)
from test.depth_ros.bags import COMPRESSED, IMAGE, write_bag


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    present = tmp_path / 'params.yaml'
    present.write_text('{}')
    require_file('params_file', str(present))
    missing = tmp_path / 'gone.yaml'
    with pytest.raises(ConfigError, match=r'params_file:=.*gone\.yaml: there is no such file'):
        require_file('params_file', str(missing))
    with pytest.raises(ConfigError, match='there is no such file'):
        require_file('params_file', str(tmp_path))


def test_arguments_that_launch_passes_over_are_said() -> None:
    words = ['backned:=tensorrt', 'model:=m.onnx', 'max_age_s:=3', 'robot:=tiago', 'verbose']
    misspelt, parameter = passed_over(words, ['backend', 'model', 'image'])
    assert misspelt == 'backned is no argument of this launch file; did you mean backend?'
    assert parameter.startswith('max_age_s is no argument of this launch file but a parameter')


@pytest.mark.parametrize(
    ('key', 'names'),
    [
        ('/**', {'/cam', '/robot/cam', '/robot/front/cam'}),
        ('/*', {'/cam'}),
        ('cam', {'/cam'}),
        ('/robot/cam', {'/robot/cam'}),
        ('robot/*', {'/robot/cam'}),
        ('/*/cam', {'/robot/cam'}),
        ('/**/cam', {'/cam', '/robot/cam', '/robot/front/cam'}),
        ('/robot/**', {'/robot/cam', '/robot/front/cam'}),
        ('robot:\n front:\n  cam', {'/robot/front/cam'}),
        ('other', set()),
    ],
)
def test_parameters_of_other_nodes_are_refused(tmp_path: Path, key: str, names: set[str]) -> None:
    """As rclpy takes them, tried with a node of each name."""
    path = tmp_path / 'params.yaml'
    path.write_text(f'{key}:\n   ros__parameters: {{threads: 2}}\n')
    for namespace in ('', '/robot', 'robot/front/'):
        name = f'/{namespace.strip("/")}/cam'.replace('//', '/')
        if name in names:
            assert parameter_file(str(path), node='cam', namespace=namespace) == str(path)
        else:
            with pytest.raises(ConfigError, match=f'none for the node {name}; begin it'):
                parameter_file(str(path), node='cam', namespace=namespace)


def test_a_file_of_parameters_is_read_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'p.yaml').write_text('/**: {ros__parameters: {threads: 2}}')
    found = parameter_file('~/p.yaml', node='cam', namespace='')
    assert found == str(tmp_path / 'p.yaml'), 'launch takes ~ for a folder and goes on without'
    for text, problem in (('', 'parameters of no node, none for'), ('a: [', 'cannot be read as')):
        (tmp_path / 'p.yaml').write_text(text)
        with pytest.raises(ConfigError, match=problem):
            parameter_file('~/p.yaml', node='cam', namespace='')
    with pytest.raises(ConfigError, match='there is no such file'):
        parameter_file('~/gone.yaml', node='cam', namespace='')


@pytest.mark.parametrize('text', ['abc', '', '-1', 'nan', 'inf', '1e999', '2 s'])
def test_a_time_that_cannot_be_waited_for_names_its_argument(text: str) -> None:
    with pytest.raises(ConfigError, match=f'^respawn_delay_s:={text} is no time; give seconds'):
        require_time('respawn_delay_s', text)


@pytest.mark.parametrize('text', ['0', '2.0', '1e3'])
def test_a_time_is_taken(text: str) -> None:
    require_time('respawn_delay_s', text)


def test_what_is_no_number_names_its_argument() -> None:
    with pytest.raises(ConfigError, match=r'^threads:=many is no whole number; give one\.'):
        require_parameter('threads', 'many')
    with pytest.raises(ConfigError, match=r'^threads:=1\.5 is no whole number'):
        require_parameter('threads', '1.5')
    with pytest.raises(ConfigError, match=r'^scale\.factor:=1,5 is no number; give one\.'):
        require_parameter('scale.factor', '1,5')
    for argument, text in (('threads', '2'), ('scale.factor', '2'), ('model', 'many')):
        require_parameter(argument, text)


def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(ConfigError, match=r'rviz:=true needs the package rviz2.*leave the arg'):
        require_package('rviz:=true', 'rviz2')
    (index / 'rviz2').touch()
    (tmp_path / 'share' / 'rviz2').mkdir()
    require_package('rviz:=true', 'rviz2')


def test_one_camera_has_its_calibration_beside_its_images() -> None:
    found = input_remappings(
        cameras='',
        image='/camera/image_raw',
        camera_info='',
        sparse_depth='lidar/depth',
        lidar_points='velodyne_points',
    )
    assert dict(found) == {
        'image': '/camera/image_raw',
        'camera_info': '/camera/camera_info',
        'sparse_depth': 'lidar/depth',
        'lidar_points': 'velodyne_points',
    }
    found = input_remappings(
        cameras='', image='image_raw', camera_info='', sparse_depth='x', lidar_points='y'
    )
    assert dict(found)['camera_info'] == 'camera_info'


def test_several_cameras_have_theirs_in_their_namespaces() -> None:
    found = input_remappings(
        cameras='front, /rear',
        image='color/image_raw',
        camera_info='',
        sparse_depth='depth',
        lidar_points='points',
    )
    assert dict(found) == {
        'front/image': 'front/color/image_raw',
        'front/camera_info': 'front/color/camera_info',
        'front/sparse_depth': 'front/depth',
        'front/lidar_points': 'front/points',
        '/rear/image': '/rear/color/image_raw',
        '/rear/camera_info': '/rear/color/camera_info',
        '/rear/sparse_depth': '/rear/depth',
        '/rear/lidar_points': '/rear/points',
    }
    with pytest.raises(ConfigError, match='image:=/camera/image_raw is the topic of one camera'):
        input_remappings(
            cameras='front,rear',
            image='/camera/image_raw',
            camera_info='',
            sparse_depth='depth',
            lidar_points='points',
        )


@pytest.mark.parametrize('compressed', [False, True])
def test_the_images_of_a_recording_are_found(tmp_path: Path, compressed: bool) -> None:
    bag = str(write_bag(tmp_path / 'street', frames=1, compressed=compressed))
    recorded = COMPRESSED if compressed else IMAGE
    for given in ('', IMAGE, recorded):
        assert recorded_images(bag, given) == recorded
    with pytest.raises(ConfigError, match=r"unknown image topic '/cam/image'"):
        recorded_images(bag, '/cam/image')
    with pytest.raises(ConfigError, match=r'bag:=.*gone image:=: there is no bag'):
        recorded_images(str(tmp_path / 'gone'), '')


def test_of_two_cameras_one_is_chosen_by_the_argument_of_launch(tmp_path: Path) -> None:
    bag = tmp_path / 'stereo'
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        image = compressed_image(b'', 'jpeg', head(1, 'camera'))
        data = message_types().serialize_cdr(image, COMPRESSED_IMAGE)
        for topic in ('/left/image', '/right/image'):
            store = message_types()
            writer.write(writer.add_connection(topic, COMPRESSED_IMAGE, typestore=store), 1, data)
    with pytest.raises(ConfigError, match=r'has 2 image topics .*; choose one with image:=\.'):
        recorded_images(str(bag), '')


@pytest.mark.parametrize(
    ('namespace', 'cameras', 'shown'),
    [
        ('', '', ''),
        ('/robot', '', '/robot'),
        ('/', 'front', 'front'),
        ('/robot', 'front,rear', '/robot/front'),
        ('robot/', ' left , right', 'robot/left'),
    ],
)
def test_rviz_shows_the_first_of_several_cameras(namespace: str, cameras: str, shown: str) -> None:
    assert shown_namespace(namespace, cameras) == shown
