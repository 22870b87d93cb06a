# SPDX-License-Identifier: Apache-2.0
"""The data sets by name, and which one a folder looks like."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from depth_core.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from depth_core.data.sample import DepthDataset

DATASETS: Final[Mapping[str, tuple[str, str]]] = {
    'synthetic': ('depth_core.data.synthetic', 'SyntheticDataset'),
    'kitti': ('depth_core.data.kitti.dataset', 'KittiDataset'),
    'nyu': ('depth_core.data.nyu', 'NyuDataset'),
    'folder': ('depth_core.data.folder', 'FolderDataset'),
    'bag': ('depth_core.data.bag.dataset', 'BagDataset'),
    'mix': ('depth_core.data.mix', 'open_mix'),
}
"""Module and class (or function) of each data set, by the name `open_dataset` takes."""

_REQUIREMENT: Final = {'bag': 'rosbags'}


def open_dataset(
    name: str,
    *,
    root: Path | str | None = None,
    split: Path | str | None = None,
    height: int | None = None,
    width: int | None = None,
    **options: object,
) -> DepthDataset:
    """Open a data set by name.

    Args:
        name: synthetic, kitti, nyu, folder, bag, mix, or auto: whatever `root` looks like.
        root: Folder (or bag) of the data; none for synthetic.
        split: List of the samples to take, in the form of the data set; all when None.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.
        **options: Further options of that data set, as its class documents them.

    Raises:
        ConfigError: The name or an option is unknown, or an option is missing.
        DataError: The data is missing or malformed.
    """
    if name == 'auto':
        if root is None:
            message = "data set 'auto' is chosen by what root looks like, but root is not given."
            raise ConfigError(message)
        name = detect_dataset(Path(root))
    if name not in DATASETS:
        raise ConfigError(unknown_name('data set', name, (*DATASETS, 'auto')))
    builder = _builder(name)
    signature = inspect.signature(builder).parameters
    given: dict[str, object] = {'root': root, 'split': split, 'height': height, 'width': width}
    asked = {key: value for key, value in given.items() if value is not None} | options
    for key in asked:
        if key not in signature:
            raise ConfigError(unknown_name(f'option of data set {name!r}', key, signature))
    required = [key for key, item in signature.items() if item.default is inspect.Parameter.empty]
    missing = [key for key in required if key not in asked]
    if missing:
        message = f'data set {name!r} needs {", ".join(missing)}; give {missing[0]}.'
        raise ConfigError(message)
    return cast('DepthDataset', builder(**asked))


def detect_dataset(root: Path) -> str:
    """Say which data set `root` looks like.

    Raises:
        DataError: It does not exist, or looks like none.
    """
    if str(root) == 'synthetic' and not root.exists():
        return 'synthetic'
    if not root.exists():
        message = f'data {root} does not exist; give a folder or a bag, or the word synthetic.'
        raise DataError(message)
    if root.is_file():
        if root.suffix in {'.bag', '.mcap', '.db3'}:
            return 'bag'
        message = f'data {root} is a file but no bag (.mcap, .db3, .bag); give a folder or a bag.'
        raise DataError(message)
    if (root / 'metadata.yaml').is_file() or any(root.glob('*.mcap')) or any(root.glob('*.db3')):
        return 'bag'
    if any(root.glob('????_??_??/????_??_??_drive_*')):
        return 'kitti'
    if any(root.glob('data/nyu2_*.csv')) or any(
        any(root.glob(pattern)) for pattern in ('sync_depth_*.png', '*/sync_depth_*.png')
    ):
        return 'nyu'
    return 'folder'


def _builder(name: str) -> Any:  # noqa: ANN401  a class whose own signature is inspected
    module, class_name = DATASETS[name]
    try:
        return getattr(importlib.import_module(module), class_name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith('depth_core'):
            raise
        needed = _REQUIREMENT.get(name, error.name)
        message = (
            f'data set {name!r} needs the Python package {error.name}, which is not installed; '
            f'install {needed}.'
        )
        raise ConfigError(message) from error
