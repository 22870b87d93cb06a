# SPDX-License-Identifier: Apache-2.0
"""What the launch files refuse before anything is started.

Launch ends on an error and leaves what it has started running, so nothing may fail later.
"""

from __future__ import annotations

import math
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from depth_core.errors import ConfigError


def require_file(argument: str, path: str) -> None:
    """Refuse an argument that names a file which is not there.

    Raises:
        ConfigError: As said.
    """
    if not Path(path).expanduser().is_file():
        message = f'{argument}:={path}: there is no such file; give the path of one.'
        raise ConfigError(message)


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
