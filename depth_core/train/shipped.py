# SPDX-License-Identifier: Apache-2.0
"""Where the configurations of this package are, in a checkout and in an installation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from depth_core.errors import ConfigError

_CONFIGS: Final = 'config/train'
_SHARE: Final = f'share/depth_ros/{_CONFIGS}'

_LOG = logging.getLogger(__name__)


def shipped_config(name: str, *, package: Path | None = None) -> Path:
    """Return the path of a configuration file such as `semantic_synthetic.yaml`.

    Args:
        name: File name.
        package: Folder of the Python package; this one's own when None.

    Raises:
        ConfigError: It is nowhere: only the Python part is installed.
    """
    folders = list(_folders(package or Path(__file__).resolve().parents[1]))
    for folder in folders:
        if (folder / name).is_file():
            _LOG.info('configuration %s', folder / name)
            return folder / name
    message = (
        f'{name} of this package is not beside it ({folders[0]}) nor in {_SHARE} of its '
        'installation; give a file with --config, or install the package again.'
    )
    raise ConfigError(message)


def _folders(package: Path) -> Iterator[Path]:
    """Beside the package; else in the share of whatever prefix holds it, pip's or colcon's."""
    yield package.parent / _CONFIGS
    for parent in package.parents:
        yield parent / _SHARE
