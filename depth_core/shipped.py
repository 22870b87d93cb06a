# SPDX-License-Identifier: Apache-2.0
"""Where the files that come with this package are: in a checkout and in an installation.

The shipped models are named by the stem of their file: `densedepth_small`. ROS need not be
installed: what it would say of an installed package is read from its environment variable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from depth_core.errors import DepthError, ModelError, unknown_name

MODELS: Final = 'trt_engines'
"""The folder of the shipped models, each an ONNX file with its manifest inside."""

DEFAULT_MODEL: Final = 'densedepth_small'
"""The shipped model that runs where none is named."""

MODEL_HELP: Final = '.onnx file, .ckpt checkpoint, or the name of a shipped model'
"""What a command says of an option that `find_model` reads."""

SUFFIX: Final = '.onnx'

CHECKPOINT_SUFFIX: Final = '.ckpt'
"""Of the file beside a shipped graph that a training can start from."""

_SHARE: Final = 'share/depth_ros'
_PREFIXES: Final = 'AMENT_PREFIX_PATH'
_PACKAGE: Final = Path(__file__).resolve().parent


def share_folders(package: Path = _PACKAGE) -> Iterator[Path]:
    """Where the files may be, the likeliest first.

    Beside the package (a checkout); in the share of the prefix that holds it, whether pip or
    colcon made that; in those of the ROS environment; in that of the Python environment.

    Args:
        package: Folder of the Python package.
    """
    yield package.parent
    for prefix in package.parents:
        yield prefix / _SHARE
    for name in os.environ.get(_PREFIXES, '').split(os.pathsep):
        if name:
            yield Path(name) / _SHARE
    yield Path(sys.prefix) / _SHARE


def shipped_file(name: str, *, package: Path = _PACKAGE) -> Path:
    """Return the path of a file that comes with this package.

    Args:
        name: Path inside the repository, such as `config/fastdds.xml`.
        package: Folder of the Python package.

    Raises:
        DepthError: It is nowhere; the installation is incomplete.
    """
    for folder in share_folders(package):
        if (folder / name).is_file():
            return folder / name
    message = (
        f'{name} of this package is neither beside it ({package.parent}) nor in {_SHARE} of its '
        'installation; install the package again.'
    )
    raise DepthError(message)


def shipped_models() -> dict[str, Path]:
    """Return the models that come with this package, by name.

    A graph of lower precision, `<name>.fp16.onnx`, is none: it is taken with the model beside it.
    """
    for folder in share_folders():
        files = sorted((folder / MODELS).glob(f'*{SUFFIX}'))
        found = {path.stem: path for path in files if '.' not in path.stem}
        if found:
            return found
    return {}


def shipped_checkpoints() -> dict[str, Path]:
    """Return what a training can start from of the shipped models, by their names."""
    beside = {name: path.with_suffix(CHECKPOINT_SUFFIX) for name, path in shipped_models().items()}
    return {name: path for name, path in beside.items() if path.is_file()}


def find_checkpoint(weights: Path | str) -> Path:
    """Return the checkpoint that `weights` means: a file first, else that of a shipped model.

    Args:
        weights: A path, `~` allowed, or the name of a shipped model.

    Raises:
        ModelError: It is a graph, which cannot be trained; or there is neither such a file nor a
            shipped model of that name that has a checkpoint.
    """
    path, name, shipped = Path(weights).expanduser(), str(weights), shipped_checkpoints()
    if path.is_file() and path.suffix.lower() == SUFFIX:
        beside = path.with_suffix(CHECKPOINT_SUFFIX)
        remedy = f'give its checkpoint, {beside}' if beside.is_file() else 'give a checkpoint'
        message = (
            f'{path} is an ONNX graph, made to be run: norm layers are folded into its '
            f'convolutions, and it cannot be trained; {remedy} (.ckpt, as depth_core.train '
            'writes it), or train from the name of a shipped model: '
            f'{", ".join(shipped) or "none has a checkpoint here"}.'
        )
        raise ModelError(message)
    if path.name == name and path.suffix and path.stem in shipped and not path.exists():
        message = (
            f'weights {name} are no file here; the shipped model {path.stem} is taken by its name '
            f'alone: give {path.stem}, or the path of a checkpoint.'
        )
        raise ModelError(message)
    if path.exists() or path.suffix or path.name != name:
        return path  # what reads it says best what is wrong with it
    if name in shipped:
        return shipped[name]
    if name in shipped_models():
        message = (
            f'the shipped model {name} is here as a graph alone, which cannot be trained: there '
            f'is no {name}{CHECKPOINT_SUFFIX} beside it; install the package again, or give the '
            'path of a checkpoint.'
        )
        raise ModelError(message)
    unknown = unknown_name('shipped checkpoint', name, shipped)
    message = f'weights {name} are no file. As a name: {unknown}'
    raise ModelError(message)


def default_model() -> Path:
    """Return the shipped model that runs where none is named.

    Raises:
        ModelError: It is nowhere.
    """
    shipped = shipped_models()
    if DEFAULT_MODEL not in shipped:
        places = ', '.join(str(folder / MODELS) for folder in share_folders())
        message = (
            f'no model is named, and the shipped one, {DEFAULT_MODEL}, is in none of {places}; '
            'give the path of an ONNX file or of a checkpoint.'
        )
        raise ModelError(message)
    return shipped[DEFAULT_MODEL]


def find_model(model: Path | str) -> Path:
    """Return the file that `model` means: an existing file first, else a shipped model.

    Args:
        model: A path, `~` allowed, or the name of a shipped model.

    Raises:
        ModelError: There is no such file and no such shipped model.
    """
    path, name = Path(model).expanduser(), str(model)
    if path.is_file():
        return path
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    found = 'is a folder' if name and path.is_dir() else 'does not exist as a file'
    message = (
        f'model {name or repr(name)} {found}; give the path of an .onnx file or a .ckpt checkpoint'
    )
    if path.suffix or path.name != name:
        remedy = f'{message}, or the name of a shipped model: {", ".join(shipped)}.'
    else:
        remedy = f'{message}. As a name: {unknown_name("shipped model", name, shipped)}'
    raise ModelError(remedy)
