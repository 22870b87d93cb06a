# SPDX-License-Identifier: Apache-2.0
"""Find the class of a message type that is known by its name only.

A recording may name any type. A name from a file decides what Python imports, so only packages
that ROS itself lists as installed are imported, and only from where ROS installed them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from depth_core.errors import DataError

_NAME: Final = re.compile(r'([A-Za-z][A-Za-z0-9_]*)/msg/([A-Za-z][A-Za-z0-9_]*)')
_INDEX: Final = Path('share', 'ament_index', 'resource_index', 'rosidl_interfaces')
_PYTHON_FOLDERS: Final = ('site-packages', 'dist-packages')


def find_message_class(msgtype: str) -> type[Any]:
    """Import the class of a message type.

    Args:
        msgtype: Its name, such as `sensor_msgs/msg/Image`.

    Raises:
        DataError: The name is malformed, or no such type is installed. Nothing was imported.
    """
    matched = _NAME.fullmatch(msgtype)
    if matched is None:
        message = f'{msgtype!r} is not the name of a message type (package/msg/Name).'
        raise DataError(message)
    package, name = matched.groups()
    prefixes = list(_prefixes_with(package, name))
    if not prefixes:
        message = (
            f'its type {msgtype} is not installed; install the package of that name to play it.'
        )
        raise DataError(message)
    if not any(_comes_from(package, prefix) for prefix in prefixes):
        places = ', '.join(str(prefix) for prefix in prefixes)
        message = (
            f'Python does not find the package of its type {msgtype} where ROS has it ({places}); '
            f'source the setup file of ROS again, and start from a folder without a {package}.'
        )
        raise DataError(message)
    found: type[Any] = getattr(importlib.import_module(f'{package}.msg'), name)
    return found


def _prefixes_with(package: str, name: str) -> Iterator[Path]:
    """Give the prefixes whose ament index lists the message: of sourced ROS, and of wheels."""
    sourced = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    for prefix in (*filter(None, sourced), sys.prefix):
        try:
            listed = (Path(prefix) / _INDEX / package).read_text(encoding='utf-8').split()
        except OSError:
            continue
        if not {f'msg/{name}.msg', f'msg/{name}.idl'}.isdisjoint(listed):
            yield Path(prefix)


def _comes_from(package: str, prefix: Path) -> bool:
    """Whether Python would import the package from the Python folder of this prefix."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = Path(next(iter(spec.submodule_search_locations))).absolute()
    if folder.parent.name not in _PYTHON_FOLDERS:
        return False
    return folder.is_relative_to(prefix.absolute()) or folder.resolve().is_relative_to(
        prefix.resolve()
    )
