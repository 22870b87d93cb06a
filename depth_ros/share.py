# SPDX-License-Identifier: Apache-2.0
"""Find the files that come with this package, in a checkout and in an installation."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from depth_core.errors import DepthError


def share_folders() -> Iterator[Path]:
    """Where they may be: beside the package, in the ament share, in the environment."""
    yield Path(__file__).resolve().parents[1]
    try:
        packages = importlib.import_module('ament_index_python.packages')
        yield Path(packages.get_package_share_directory('depth_ros'))
    except (ImportError, LookupError, OSError):
        pass  # no ROS, not installed by colcon, or no ROS environment was sourced
    yield Path(sys.prefix) / 'share' / 'depth_ros'


def share_file(name: str) -> Path:
    """Return the path of a file such as `config/fastdds.xml`.

    Raises:
        DepthError: It is nowhere; the installation is incomplete.
    """
    for folder in share_folders():
        if (folder / name).is_file():
            return folder / name
    places = ', '.join(str(folder) for folder in share_folders())
    message = f'{name} of this package is in none of {places}; install the package again.'
    raise DepthError(message)
