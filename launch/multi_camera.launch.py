# SPDX-License-Identifier: Apache-2.0
"""Start one `mono_depth` for several cameras: one process, one model, all their topics.

    ros2 launch depth_ros multi_camera.launch.py cameras:=front,rear,left
    ros2 launch depth_ros multi_camera.launch.py cameras:=front,rear image:=color/image_raw

Each camera is a namespace: front takes front/image_raw and front/camera_info, and its depth is on
front/depth/image_raw. The other arguments are those of mono_depth.launch.py, for all cameras.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SHARE = Path(get_package_share_directory('depth_ros'))

ARGUMENTS = (
    DeclareLaunchArgument(
        'cameras',
        description='Namespaces of the cameras, separated by commas, such as front,rear.',
    ),
    DeclareLaunchArgument(
        'image',
        default_value='image_raw',
        description='Topic of the images in the namespace of each camera, without its transport.',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node with them."""
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'mono_depth.launch.py')),
        launch_arguments={
            'cameras': LaunchConfiguration('cameras'),
            'image': LaunchConfiguration('image'),
        }.items(),
    )
    return LaunchDescription([*ARGUMENTS, node])
