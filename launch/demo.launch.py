# SPDX-License-Identifier: Apache-2.0
"""Start the synthetic camera and `mono_depth` on it, and RViz when asked for.

    ros2 launch depth_ros demo.launch.py rviz:=true

The arguments of mono_depth.launch.py that are not set here hold for the node, `model:=` for one.
Everything stays on this machine. `ros2 run depth_ros demo` measures the same chain.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from depth_ros.launch_checks import require_package

SHARE = Path(get_package_share_directory('depth_ros'))

CAMERA = '/camera'
CAMERA_FRAME = 'camera_optical_frame'
WORLD_FRAME = 'map'
UPRIGHT = ('--roll', '-1.5707963', '--yaw', '-1.5707963')
"""Turns x right, y down, z ahead (optical) into x ahead, y left, z up."""

CAMERA_ARGUMENTS = (
    DeclareLaunchArgument('rate_hz', default_value='10.0', description='Images a second, Hz.'),
    DeclareLaunchArgument(
        'height', default_value='480', description='Rows of the images, pixels.'
    ),
    DeclareLaunchArgument(
        'width', default_value='640', description='Columns of the images, pixels.'
    ),
    DeclareLaunchArgument(
        'scene',
        default_value='street_residential',
        description='What the camera sees: indoor, outdoor, or one of their classes such as '
        'office or street_city.',
    ),
    DeclareLaunchArgument(
        'seed', default_value='4', description='Seed of the scene: other seeds, other places.'
    ),
    DeclareLaunchArgument(
        'frames',
        default_value='40',
        description='Frames rendered before the first is published, then shown forth and back.',
    ),
)
IMAGE = DeclareLaunchArgument(
    'image',
    default_value=f'{CAMERA}/image_raw',
    description='Topic on which the camera publishes its images and the node takes them.',
)
RVIZ = DeclareLaunchArgument(
    'rviz',
    default_value='false',
    choices=['true', 'false'],
    description='Start RViz too.',
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start everything; when the camera or the node ends, all do."""
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'mono_depth.launch.py')),
        launch_arguments={
            'image': LaunchConfiguration('image'),
            'fastdds_profile': 'one_machine',
            'required': 'true',
            'rviz': LaunchConfiguration('rviz'),
            'rviz_frame': WORLD_FRAME,
        }.items(),
    )
    world = Node(
        package='tf2_ros',
        executable='static_transform_publisher',
        arguments=[
            *('--z', '1.5', *UPRIGHT),
            *('--frame-id', WORLD_FRAME, '--child-frame-id', CAMERA_FRAME),
        ],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
    local = SetEnvironmentVariable('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    # The node comes before the camera: its file names the Fast DDS profile that both need.
    check, camera = OpaqueFunction(function=_check), OpaqueFunction(function=_camera)
    return LaunchDescription([*CAMERA_ARGUMENTS, IMAGE, RVIZ, check, local, node, camera, world])


def _check(context: LaunchContext) -> None:
    """Refuse what cannot be started, before anything is."""
    if LaunchConfiguration('rviz').perform(context) == 'true':
        for package in ('rviz2', 'tf2_ros'):
            require_package('rviz:=true', package)


def _camera(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The camera, publishing where the node takes its images."""
    options = (item.name for item in CAMERA_ARGUMENTS)
    image = LaunchConfiguration('image').perform(context)
    folder, slash, _ = image.rpartition('/')
    camera = Node(
        package='depth_ros',
        executable='synthetic_camera',
        namespace=CAMERA,
        remappings=[('image_raw', image), ('camera_info', f'{folder}{slash}camera_info')],
        arguments=[
            *('--frame_id', CAMERA_FRAME),
            *(part for name in options for part in (f'--{name}', LaunchConfiguration(name))),
        ],
        output='screen',
        on_exit=Shutdown(reason='the camera has ended'),
    )
    return [camera]
