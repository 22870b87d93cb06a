# SPDX-License-Identifier: Apache-2.0
"""Turn the depth of `mono_depth` into a laser scan, for SLAM and for a costmap.

    ros2 launch examples/laserscan.launch.py namespace:=/front output_frame:=base_link

Needs depthimage_to_laserscan. `output_frame` has x ahead and z up, and is where the camera is.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

ARGUMENTS = (
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of mono_depth, such as /front.'
    ),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(Path(__file__).resolve().parent / 'laserscan.yaml'),
        description='Parameters of depthimage_to_laserscan (a path).',
    ),
    DeclareLaunchArgument(
        'output_frame',
        default_value='camera_link',
        description='Frame of the scan: x ahead, z up, where the camera is.',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node beside mono_depth."""
    scan = Node(
        package='depthimage_to_laserscan',
        executable='depthimage_to_laserscan_node',
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            LaunchConfiguration('params_file'),
            {'output_frame': LaunchConfiguration('output_frame')},
        ],
        remappings=[('depth', 'depth/image_raw'), ('depth_camera_info', 'depth/camera_info')],
        output='screen',
    )
    return LaunchDescription([*ARGUMENTS, scan])
