# SPDX-License-Identifier: Apache-2.0
"""What the launch files refuse before anything is started, and the names that they remap.

Launch ends on an error and leaves what it has started running, so nothing may fail later.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from ament_index_python.packages import get_package_share_directory

from depth_core.data.bag.opener import open_bag
from depth_core.data.bag.reading import choose_image
from depth_core.documents import DocumentError
from depth_core.errors import ConfigError, DepthError
from depth_core.yaml_text import parse_yaml
from depth_ros.options.fields import split_names
from depth_ros.settings import BY_NAME

_NAMES_SHOWN: Final = 5
"""Of the nodes in a file of parameters."""

_ALIKE: Final = 0.8
"""Names that are so alike, by `difflib`, are taken for one misspelt."""


def require_file(argument: str, path: str) -> None:
    """Refuse an argument that names a file which is not there.

    Raises:
        ConfigError: As said.
    """
    if not Path(path).expanduser().is_file():
        message = f'{argument}:={path}: there is no such file; give the path of one.'
        raise ConfigError(message)


def parameter_file(path: str, *, node: str, namespace: str) -> str:
    """Return the path of a file of parameters, which launch takes as it is.

    Launch passes over a file that is not there, and a node over one for other nodes; it would
    start with its defaults.

    Args:
        path: As given, with `~` for the home folder where it begins with that.
        node: Name of the node.
        namespace: Its namespace.

    Raises:
        ConfigError: There is no such file, or nothing in it is for the node.
    """
    require_file('params_file', path)
    expanded = Path(path).expanduser()
    try:
        named = list(_nodes_in(parse_yaml(expanded.read_text(encoding='utf-8'))))
    except (OSError, UnicodeError, DocumentError) as error:
        message = f'params_file:={path} cannot be read as YAML: {error}.'
        raise ConfigError(message) from error
    name = ''.join(f'/{part}' for part in (*namespace.split('/'), node) if part)
    if not any(_matches(pattern, name) for pattern in named):
        held = ', '.join(map(repr, named[:_NAMES_SHOWN])) or 'no node'
        message = (
            f'params_file:={path} holds parameters of {held}, none for the node {name}; begin it '
            "with '/**:' and 'ros__parameters:' as config/mono_depth.yaml does."
        )
        raise ConfigError(message)
    return str(expanded)


def _nodes_in(document: Any, above: str = '') -> Iterator[str]:  # noqa: ANN401 any YAML
    """The names of nodes, or patterns of them, that a file has parameters of."""
    if not isinstance(document, dict):
        return
    for key, below in document.items():
        if key == 'ros__parameters':
            yield above
        else:
            yield from _nodes_in(below, f'{above}/{str(key).strip("/")}')


def _matches(pattern: str, name: str) -> bool:
    """Whether ROS takes a pattern of names for one: `*` is one part, `**` any number of them."""
    wild = {'*': r'/\w+', '**': r'(/\w+)*'}
    parts = [wild.get(part, f'/{re.escape(part)}') for part in pattern.split('/') if part]
    return re.fullmatch(''.join(parts), name) is not None


def passed_over(words: Iterable[str], declared: Collection[str]) -> list[str]:
    """Say which arguments of a command line are most likely for a launch file, and not its own.

    Launch passes over what no file declares. It may also be for another file of the same launch,
    so that nothing can be refused.

    Args:
        words: Of the command line: `name:=value`.
        declared: The arguments of the file.
    """
    said = []
    for word in words:
        name, given, _ = word.partition(':=')
        if not given or name in declared:
            continue
        nearest = difflib.get_close_matches(name, declared, n=1, cutoff=_ALIKE)
        if name in BY_NAME:
            said.append(
                f'{name} is no argument of this launch file but a parameter of the node; set it '
                'in a file of parameters (params_file).'
            )
        elif nearest:
            said.append(f'{name} is no argument of this launch file; did you mean {nearest[0]}?')
    return said


def require_time(argument: str, text: str) -> None:
    """Refuse an argument that is not a time that can be waited for.

    Raises:
        ConfigError: As said.
    """
    try:
        right = 0.0 <= float(text) < math.inf
    except ValueError:
        right = False
    if not right:
        message = f'{argument}:={text} is no time; give seconds, 0 or more.'
        raise ConfigError(message)


def require_parameter(argument: str, text: str) -> None:
    """Refuse an argument that is no number where the parameter of its name is one.

    The node itself refuses numbers out of their range.

    Raises:
        ConfigError: As said.
    """
    entry = BY_NAME[argument]
    if type(entry.default) not in {int, float}:
        return
    try:
        type(entry.default)(text)
    except ValueError:
        wanted = 'whole number' if isinstance(entry.default, int) else 'number'
        message = f'{argument}:={text} is no {wanted}; give one. {entry.description}'
        raise ConfigError(message) from None


def require_package(argument: str, package: str) -> None:
    """Refuse an argument that needs a package which is not installed.

    Raises:
        ConfigError: As said.
    """
    try:
        get_package_share_directory(package)
    except LookupError as error:
        debian = f'ros-$ROS_DISTRO-{package.replace("_", "-")}'
        message = (
            f'{argument} needs the package {package}, which is not installed; install it '
            f'({debian}), or leave the argument out.'
        )
        raise ConfigError(message) from error


def recorded_images(bag: str, image: str) -> str:
    """Return the topic of the images of a recording.

    Args:
        bag: The argument that names the recording.
        image: The topic, with or without its transport; empty for the only camera.

    Raises:
        ConfigError: There are no such images, or no such recording.
    """
    try:
        with open_bag(Path(bag).expanduser()) as opened:
            held = {item.topic for item in opened.connections}
            named = next((name for name in (image, f'{image}/compressed') if name in held), image)
            return choose_image(opened, named or None, option='image:=')
    except DepthError as error:
        message = f'bag:={bag} image:={image}: {error}'
        raise ConfigError(message) from error


def shown_namespace(namespace: str, cameras: str) -> str:
    """Return the namespace whose topics RViz shows: of several cameras those of the first.

    Args:
        namespace: That of the node.
        cameras: Namespaces of several cameras, separated by commas; empty for one.
    """
    first = split_names(cameras)[:1]
    return '/'.join(part for part in (namespace.rstrip('/'), *first) if part)


def input_remappings(
    *, cameras: str, image: str, camera_info: str, sparse_depth: str, lidar_points: str
) -> list[tuple[str, str]]:
    """Return where each camera of the node gets its messages from.

    Args:
        cameras: Namespaces of several, separated by commas; empty for one.
        image: Topic of the images, in the namespace of each camera where there are several.
        camera_info: Topic of the calibration; empty for the one beside the images.
        sparse_depth: Topic of measured depth.
        lidar_points: Topic of the points of a lidar.

    Raises:
        ConfigError: Several cameras would get the messages of one.
    """
    if not camera_info:
        folder, slash, _ = image.rpartition('/')
        camera_info = f'{folder}{slash}camera_info'
    topics = {
        'image': image,
        'camera_info': camera_info,
        'sparse_depth': sparse_depth,
        'lidar_points': lidar_points,
    }
    if not split_names(cameras):
        return list(topics.items())
    for name, topic in topics.items():
        if topic.startswith('/'):
            message = (
                f'{name}:={topic} is the topic of one camera, and cameras:={cameras} names '
                'several; give the name that it has in the namespace of each, such as image_raw.'
            )
            raise ConfigError(message)
    return [
        (f'{camera}/{name}', f'{camera}/{topic}')
        for camera in split_names(cameras)
        for name, topic in topics.items()
    ]
