# SPDX-License-Identifier: Apache-2.0
"""Where the presets are, and which one a name means."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depth_core.errors import ConfigError, ModelError, unknown_name

MANIFEST_HELP: Final = (
    'what the graph takes and gives: a .json file, or the name of a public graph that '
    'python -m depth_core.presets lists; what the graph itself says when left out'
)
"""What a command says of an option that `find` reads."""

_FOLDER: Final = Path(__file__).resolve().parent
_SUFFIX: Final = '.json'


def preset_files() -> dict[str, Path]:
    """Return the manifest of each public graph by its name."""
    return {path.stem: path for path in sorted(_FOLDER.glob(f'*{_SUFFIX}'))}


def find(name: Path | str) -> Path:
    """Return the manifest that `name` means: an existing file first, else a preset.

    Args:
        name: A path, `~` allowed, or the name of a preset.

    Raises:
        ConfigError: There is no such file and no such preset; the nearest is named.
        ModelError: It is the path of a file that is not there.
    """
    path, text = Path(name).expanduser(), str(name)
    if path.is_file():
        return path
    presets = preset_files()
    if text in presets:
        return presets[text]
    if path.suffix == _SUFFIX or path.name != text:
        found = 'is a folder' if path.is_dir() else 'does not exist'
        message = (
            f'manifest {text} {found}; give the path of a {_SUFFIX} file, or the name of a preset '
            'that python -m depth_core.presets lists.'
        )
        raise ModelError(message)
    raise ConfigError(unknown_name('preset', text, presets))
