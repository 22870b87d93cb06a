# SPDX-License-Identifier: Apache-2.0
"""Start `mono_depth` for one camera; multi_camera.launch.py starts it for several.

    ros2 launch depth_ros mono_depth.launch.py image:=/camera/image_raw
    ros2 launch depth_ros mono_depth.launch.py model:=da3.onnx manifest:=depth_anything_3_metric
    ros2 launch depth_ros mono_depth.launch.py backend:=tensorrt precision:=fp16 build_only:=true

The last builds the engine, or checks the one in the cache, and ends. The arguments named in
`PARAMETERS` set parameters of the node; one that is not given stays as the parameter file has it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from depth_core.errors import FAILED
from depth_ros.launch_checks import (
    input_remappings,
    parameter_file,
    passed_over,
    require_package,
    require_parameter,
    require_time,
    shown_namespace,
)
from depth_ros.middleware.fastdds import profile_variable
from depth_ros.settings import BY_NAME

SHARE = Path(get_package_share_directory('depth_ros'))

PARAMETERS = (
    'model',
    'manifest',
    'assumed_hfov_deg',
    'scale_source',
    'publish_relative',
    'scale.camera_height_m',
    'scale.factor',
    'image_height',
    'image_width',
    'backend',
    'strict_backend',
    'precision',
    'device',
    'threads',
    'build_only',
    'cameras',
    'batch_window_ms',
    'image_transport',
    'image_geometry',
    'input_reliability',
    'policy',
    'rectify',
    'output_size',
    'depth_encoding',
    'depth.upsampling',
    'autostart',
)
"""Arguments that set the parameter of the same name, described by its field of the settings."""

PROFILES = {
    'one_machine': SHARE / 'config' / 'fastdds.xml',
    'network': SHARE / 'config' / 'fastdds_network.xml',
}
BOOLEANS = ['true', 'false']


def parameter_argument(name: str) -> DeclareLaunchArgument:
    """Declare the argument of a parameter; empty, it does not override the parameter file."""
    entry = BY_NAME[name]
    choices = BOOLEANS if isinstance(entry.default, bool) else entry.choices
    return DeclareLaunchArgument(
        name,
        default_value='',
        choices=['', *choices] if choices else None,
        description=f'{entry.sentence if choices else entry.description} '
        'Not given: as params_file has it.',
    )


ARGUMENTS = (
    DeclareLaunchArgument(
        'image',
        default_value='/camera/image_raw',
        description='Topic of the camera images, without its transport; with cameras, its name in '
        'the namespace of each.',
    ),
    DeclareLaunchArgument(
        'camera_info',
        default_value='',
        description='Topic of the calibration; empty takes camera_info beside the image topic.',
    ),
    DeclareLaunchArgument(
        'sparse_depth',
        default_value='sparse_depth',
        description='Topic of depth images from another sensor, where scale_source takes them.',
    ),
    DeclareLaunchArgument(
        'lidar_points',
        default_value='lidar_points',
        description='Topic of the points of a lidar (PointCloud2), where scale_source is lidar.',
    ),
    DeclareLaunchArgument(
        'odometry',
        default_value='/odom',
        description='Topic of nav_msgs/Odometry, where scale_source is speed.',
    ),
    *(parameter_argument(name) for name in PARAMETERS),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(SHARE / 'config' / 'mono_depth.yaml'),
        description='YAML file with the parameters of the node (a path).',
    ),
    DeclareLaunchArgument(
        'namespace',
        default_value='',
        description='Namespace of the node and of its outputs, such as /front.',
    ),
    DeclareLaunchArgument(
        'node_name', default_value='mono_depth', description='Name of the node.'
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='false',
        choices=BOOLEANS,
        description='Take the time from /clock (simulation, play_bag --clock).',
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Least severe messages of the node that are logged.',
    ),
    DeclareLaunchArgument(
        'respawn',
        default_value='false',
        choices=BOOLEANS,
        description='Start the node again when it ends by itself, unless build_only is true or it '
        f'refused to start (status {FAILED}: a parameter or the model; its log says which).',
    ),
    DeclareLaunchArgument(
        'respawn_delay_s',
        default_value='2.0',
        description='Time before it is started again, seconds.',
    ),
    DeclareLaunchArgument(
        'required',
        default_value='false',
        choices=BOOLEANS,
        description='End everything that was launched when the node has ended for good.',
    ),
    DeclareLaunchArgument(
        'fastdds_profile',
        default_value='',
        description='Fast DDS profile whose shared memory holds camera images: one_machine '
        '(nothing leaves this machine), network, or the path of an XML file; empty leaves the '
        'environment as it is. Give the camera the same one.',
    ),
    DeclareLaunchArgument(
        'rviz', default_value='false', choices=BOOLEANS, description='Start RViz too.'
    ),
    DeclareLaunchArgument(
        'rviz_frame',
        default_value='camera_optical_frame',
        description='Fixed frame of RViz: frame_id of the camera, or any other frame of tf.',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node with them."""
    steps = (_check, _profile, _node, _rviz)
    return LaunchDescription([*ARGUMENTS, *(OpaqueFunction(function=step) for step in steps)])


def _check(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Refuse what cannot be started, before anything is, and warn of what is passed over."""
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name in (*PARAMETERS, 'respawn_delay_s', 'rviz')
    }
    for name in PARAMETERS:
        if given[name]:
            require_parameter(name, given[name])
    _params_file(context)
    require_time('respawn_delay_s', given['respawn_delay_s'])
    if given['rviz'] == 'true':
        require_package('rviz:=true', 'rviz2')
    declared = {argument.name for argument in ARGUMENTS}
    return [LogInfo(msg=f'warning: {line}') for line in passed_over(context.argv, declared)]


def _profile(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Name the Fast DDS profile in the environment of what is started from here on."""
    chosen = LaunchConfiguration('fastdds_profile').perform(context)
    if not chosen:
        return []
    path = Path(PROFILES.get(chosen, chosen)).expanduser()
    if not path.is_file():
        message = (
            f'fastdds_profile:={chosen}: there is no such file; give one of '
            f'{", ".join(PROFILES)} or the path of an XML file.'
        )
        raise FileNotFoundError(message)
    return [
        SetEnvironmentVariable(profile_variable(), str(path)),
        LogInfo(msg=f'Fast DDS profile: {path}'),
    ]


def is_true(context: LaunchContext, name: str) -> bool:
    """Whether a boolean argument was given as true."""
    return LaunchConfiguration(name).perform(context) == 'true'


def _params_file(context: LaunchContext) -> str:
    """The file of parameters."""
    path, node, namespace = (
        LaunchConfiguration(name).perform(context)
        for name in ('params_file', 'node_name', 'namespace')
    )
    return parameter_file(path, node=node, namespace=namespace)


def _inputs(context: LaunchContext) -> list[tuple[str, str]]:
    """The remappings of what comes from the cameras."""
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name in ('cameras', 'image', 'camera_info', 'sparse_depth', 'lidar_points')
    }
    return input_remappings(**given)


def _node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node; only arguments that were given override the parameter file."""
    parameters: dict[str, ParameterValue | bool] = {
        name: ParameterValue(LaunchConfiguration(name), value_type=type(BY_NAME[name].default))
        for name in PARAMETERS
        if LaunchConfiguration(name).perform(context)
    }
    parameters['use_sim_time'] = is_true(context, 'use_sim_time')
    respawn = is_true(context, 'respawn') and not is_true(context, 'build_only')
    node = Node(
        package='depth_ros',
        executable='mono_depth',
        name=LaunchConfiguration('node_name'),
        namespace=LaunchConfiguration('namespace'),
        parameters=[_params_file(context), parameters],
        remappings=[*_inputs(context), ('odometry', LaunchConfiguration('odometry'))],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
        respawn=respawn,
        respawn_delay=float(LaunchConfiguration('respawn_delay_s').perform(context)),
        on_exit=partial(_ended, respawn=respawn, required=is_true(context, 'required')),
        output='screen',
    )
    return [node]


def _ended(
    event: ProcessExited, context: LaunchContext, *, respawn: bool, required: bool
) -> list[LaunchDescriptionEntity]:
    """What follows the end of the node: what it refused once, it would refuse for ever."""
    refused = event.returncode == FAILED
    if context.is_shutdown or (respawn and not refused):
        return []
    reason = f'{event.process_name} has ended with status {event.returncode}'
    if event.returncode:  # logged; launch goes on, and ends with status 1 for it
        context.asyncio_loop.call_exception_handler({'message': reason})
    if required:
        said = [] if event.returncode else [LogInfo(msg=reason)]
        return [*said, Shutdown(reason=reason)]
    if not respawn:
        return []
    return [
        LogInfo(msg=f'{event.process_name} refused to start, so it is not started again'),
        EmitEvent(event=ShutdownProcess(process_matcher=matches_action(event.action))),
    ]


def _rviz(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """RViz, where it is wanted; its file has relative names."""
    if not is_true(context, 'rviz'):
        return []
    namespace, cameras, frame = (
        LaunchConfiguration(name).perform(context)
        for name in ('namespace', 'cameras', 'rviz_frame')
    )
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        namespace=shown_namespace(namespace, cameras),
        arguments=['-d', str(SHARE / 'rviz' / 'mono_depth.rviz'), '-f', frame],
    )
    return [rviz]
