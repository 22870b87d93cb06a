# SPDX-License-Identifier: Apache-2.0
"""Replay a bag of the KITTI data set through `mono_depth`, in its own recorded time.

    ros2 launch depth_ros kitti_replay.launch.py bag:=2011_09_26_drive_0001 rviz:=true

Any rosbag2 with images and camera_info will do; what it holds is looked up before anything starts.
The arguments of mono_depth.launch.py that are not set here hold for the node, `model:=` for one.
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
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from depth_ros.launch_checks import recorded_images

SHARE = Path(get_package_share_directory('depth_ros'))
BOOLEANS = ['true', 'false']
LAST_ANSWERS_S = 2.0
"""Between the end of the bag and that of the node, which has an image or two to answer yet."""

ARGUMENTS = (
    DeclareLaunchArgument('bag', description='The rosbag2: a folder, or its .mcap or .db3 file.'),
    DeclareLaunchArgument(
        'image',
        default_value='',
        description='Topic of the images in the bag, with or without its transport; empty takes '
        'those of the only camera.',
    ),
    DeclareLaunchArgument(
        'image_geometry',
        default_value='rectified',
        choices=['auto', 'rectified', 'raw'],
        description='Whether P holds for the images, or K and D. The images of KITTI are '
        'rectified, whatever their topic is called: with K their scale is wrong by a third.',
    ),
    DeclareLaunchArgument(
        'rate', default_value='1.0', description='Speed; 2 plays twice as fast as recorded.'
    ),
    DeclareLaunchArgument(
        'loop',
        default_value='false',
        choices=BOOLEANS,
        description='Start again at the end, until Ctrl-C.',
    ),
    DeclareLaunchArgument(
        'error',
        default_value='true',
        choices=BOOLEANS,
        description='Say on the console how wrong depth is, by the lidar of the bag.',
    ),
    DeclareLaunchArgument(
        'rviz', default_value='false', choices=BOOLEANS, description='Start RViz too.'
    ),
    DeclareLaunchArgument(
        'rviz_frame',
        default_value='camera_color_left',
        description='Fixed frame of RViz: frame_id of the images, or any other frame of tf.',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start everything; the end of the bag or the node ends the rest."""
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'mono_depth.launch.py')),
        launch_arguments={
            'image': LaunchConfiguration('image'),
            'image_transport': LaunchConfiguration('image_transport'),
            'image_geometry': LaunchConfiguration('image_geometry'),
            'use_sim_time': 'true',
            'fastdds_profile': 'one_machine',
            'required': 'true',
            'rviz': LaunchConfiguration('rviz'),
            'rviz_frame': LaunchConfiguration('rviz_frame'),
        }.items(),
    )
    local = SetEnvironmentVariable('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    look, player = (OpaqueFunction(function=step) for step in (_look, _player))
    # The node comes before the player: its file names the Fast DDS profile that both need.
    return LaunchDescription([*ARGUMENTS, local, look, node, player])


def _look(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Find the images in the bag, before anything is started."""
    given = (LaunchConfiguration(name).perform(context) for name in ('bag', 'image'))
    recorded = recorded_images(*given)
    image = recorded.removesuffix('/compressed')
    return [
        SetLaunchConfiguration('recorded', recorded),
        SetLaunchConfiguration('image', image),
        SetLaunchConfiguration('image_transport', 'raw' if image == recorded else 'compressed'),
    ]


def _player(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """What compares depth, and the player, which waits until the node listens to the images."""
    image = LaunchConfiguration('recorded').perform(context)
    loop = ['--loop'] if LaunchConfiguration('loop').perform(context) == 'true' else []
    compared = LaunchConfiguration('error').perform(context) == 'true'
    player = Node(
        package='depth_ros',
        executable='play_bag',
        arguments=[
            LaunchConfiguration('bag').perform(context),
            *('--rate', LaunchConfiguration('rate'), '--clock', '--as_node', *loop),
            *('--wait_for_subscribers', image, '--ready_timeout_s', '600'),
            *(['--wait_for_node', 'running_error'] if compared else []),
        ],
        output='screen',
        on_exit=_ended,
    )
    if not compared:
        return [player]
    geometry = LaunchConfiguration('image_geometry').perform(context)
    rectified = {'auto': 'auto', 'rectified': 'yes', 'raw': 'no'}[geometry]
    error = Node(
        package='depth_ros',
        executable='running_error',
        arguments=[
            LaunchConfiguration('bag').perform(context),
            *('--image_topic', image, '--rectified', rectified),
        ],
        output='screen',
    )
    return [error, player]


def _ended(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """What follows the end of the player: that of the rest, and launch fails if the player did."""
    if context.is_shutdown:
        return []
    if event.returncode:  # logged; launch goes on, and ends with status 1 for it
        reason = f'{event.process_name} has ended with status {event.returncode}'
        context.asyncio_loop.call_exception_handler({'message': reason})
        return [Shutdown(reason=reason)]
    end = Shutdown(reason='the bag has ended')
    return [TimerAction(period=LAST_ANSWERS_S, actions=[end])]
