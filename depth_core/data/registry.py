# SPDX-License-Identifier: Apache-2.0
"""The data sets by name, and which one a folder looks like."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from depth_core.data.neighbours import enclosed, enclosing, holds_images
from depth_core.errors import ConfigError, DataError, unknown_name
from depth_core.files import visible_paths

if TYPE_CHECKING:
    from depth_core.data.sample import DepthDataset

Offer: TypeAlias = Literal['depth', 'intrinsics', 'labels', 'sequences', 'speeds', 'poses']
"""What samples of a data set can hold beside the image."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a data set that `python -m depth_core.evaluate` offers as a flag."""

    kind: Callable[[str], object] = str
    """What its text is turned into."""
    help: str
    """What it says, with its unit."""


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """A data set: where its code is, how it is recognised, what it offers."""

    target: str
    """`module:Class`, or a function, called with the options; imported when it is opened."""
    summary: str
    """What it reads, for the documentation."""
    offers: tuple[Offer, ...]
    """What its samples can hold."""
    folders: tuple[str, ...] = ()
    """Patterns of paths, one of which a folder of it holds; none = it is not recognised."""
    files: tuple[str, ...] = ()
    """Endings of single files that are such a data set, lower case."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """Options that evaluation offers; training takes all that the class has."""
    install: str = ''
    """Package to install where one is missing; the missing one itself when empty."""


def _published(
    target: str,
    summary: str,
    *,
    folders: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
    options: Mapping[str, Option] | None = None,
) -> DatasetRow:
    """The row of a published data set of image and depth files."""
    return DatasetRow(
        target=f'depth_core.data.published.{target}',
        summary=summary,
        offers=('depth', 'intrinsics'),
        folders=folders,
        files=files,
        options=options or {},
    )


_LOG = logging.getLogger(__name__)
_BAGS_SHOWN: Final = 8

DATASETS: Final[Mapping[str, DatasetRow]] = {
    'synthetic': DatasetRow(
        target='depth_core.data.synthetic:SyntheticDataset',
        summary='rendered rooms and streets; needs no files',
        offers=('depth', 'intrinsics', 'labels', 'sequences', 'speeds', 'poses'),
        options={
            'camera': Option(help='the camera'),
            'hfov_deg': Option(
                kind=float, help='horizontal field of view in place of camera, degrees'
            ),
            'scenes': Option(help='indoor, outdoor, mixed or a scene class'),
            'seed': Option(kind=int, help='seed, one that training did not use'),
        },
    ),
    'varied': DatasetRow(
        target='depth_core.data.synthetic:VariedDataset',
        summary='rendered scenes of all kinds, near and far, through any camera; needs no files',
        offers=('depth', 'intrinsics', 'labels', 'poses'),
        options={
            'scenes': Option(help='varied, near, indoor, outdoor or a scene class'),
            'seed': Option(kind=int, help='seed, one that training did not use'),
        },
    ),
    'rendered': DatasetRow(
        target='depth_core.data.rendered:RenderedDataset',
        summary='varied scenes that `python -m depth_core.data.render` has stored',
        offers=('depth', 'intrinsics', 'labels', 'poses'),
        folders=('part_*/cache.json',),
        options={
            'parts': Option(kind=int, help='how many parts to read, from the first on'),
            'scenes': Option(help='which of their samples: indoor, outdoor or a scene class'),
        },
    ),
    'bag': DatasetRow(
        target='depth_core.data.bag.dataset:BagDataset',
        summary='recordings of ROS 2 (mcap, sqlite3) and ROS 1: camera, lidar, odometry',
        offers=('depth', 'intrinsics', 'sequences', 'speeds'),
        folders=('metadata.yaml', '*.mcap', '*.db3', '*.mcap.zstd', '*.db3.zstd', '*.bag'),
        files=('.mcap', '.db3', '.bag', '.mcap.zstd', '.db3.zstd', '.bag.active'),
        options={
            'image_topic': Option(help='topic of the images'),
            'cloud_topic': Option(help='topic of the lidar'),
            'depth_topic': Option(help='topic of true depth images, in place of lidar'),
            'max_offset_s': Option(kind=float, help='most time between image and truth, seconds'),
            'start_s': Option(kind=float, help='read from here on, seconds after the begin'),
            'end_s': Option(kind=float, help='read up to here, seconds after the begin'),
        },
        install='rosbags',
    ),
    'kitti': DatasetRow(
        target='depth_core.data.kitti.dataset:KittiDataset',
        summary='KITTI raw drives with lidar',
        offers=('depth', 'intrinsics', 'sequences', 'speeds', 'poses'),
        folders=('????_??_??/????_??_??_drive_*',),
        options={
            'ground_truth': Option(help='velodyne (default), annotated or proj_depth'),
            'depth_root': Option(kind=Path, help='folder of annotated or projected depth'),
            'camera': Option(help='without split: left, right or both'),
        },
    ),
    'kitti_odometry': DatasetRow(
        target='depth_core.data.kitti.odometry:KittiOdometryDataset',
        summary='KITTI odometry sequences, with poses, and lidar where it is unpacked',
        offers=('depth', 'intrinsics', 'sequences', 'speeds', 'poses'),
        folders=('sequences/*/calib.txt', 'calib.txt'),
        options={'camera': Option(help='left, right, gray_left or gray_right')},
    ),
    'kitti_selection': _published(
        'kitti_selection:KittiSelectionDataset',
        'the selected validation frames of KITTI depth, val_selection_cropped',
        folders=(
            'image/*_sync_image_*_image_0?.png',
            'val_selection_cropped/image/*_sync_image_*_image_0?.png',
        ),
    ),
    'nyu': DatasetRow(
        target='depth_core.data.published.nyu:NyuDataset',
        summary='NYU Depth v2 as image files',
        offers=('depth', 'intrinsics'),
        folders=('data/nyu2_*.csv', 'sync_depth_*', '*/sync_depth_*'),
    ),
    'nyu_labelled': _published(
        'nyu_labelled:NyuLabelledDataset',
        'nyu_depth_v2_labeled.mat, the labelled part of NYU Depth v2',
        files=('.mat',),
    ),
    'sevenscenes': _published(
        'sevenscenes:SevenScenesDataset',
        '7-Scenes, rooms by a Kinect',
        folders=('seq-*/frame-*.color.png', '*/seq-*/frame-*.color.png', 'frame-*.color.png'),
    ),
    'tum': _published(
        'tum:TumDataset',
        'a sequence of TUM RGB-D',
        folders=('depth.txt',),
    ),
    'diode': _published(
        'diode:DiodeDataset',
        'DIODE, laser scans of rooms and outdoors',
        folders=('scene_*/scan_*', '*/scene_*/scan_*', '*/*/scene_*/scan_*'),
    ),
    'ibims': _published(
        'ibims:IbimsDataset',
        'iBims-1, rooms by a laser scanner',
        folders=('imagelist.txt', 'mask_transp/*.png', '*_??.mat'),
    ),
    'sunrgbd': _published(
        'sunrgbd:SunRgbdDataset',
        'SUN RGB-D, rooms by four sensors',
        folders=(
            'kv1/*',
            'kv2/*',
            'realsense/*',
            'xtion/*',
            'depth_bfx',
            '*/depth_bfx',
            '*/*/depth_bfx',
        ),
    ),
    'vkitti2': _published(
        'vkitti:VirtualKittiDataset',
        'Virtual KITTI 2, rendered streets',
        folders=('Scene*/*/frames/rgb', '*/frames/rgb', 'frames/rgb'),
    ),
    'hypersim': _published(
        'hypersim:HypersimDataset',
        'Hypersim, rendered rooms',
        folders=('*/images/scene_cam_*', 'images/scene_cam_*'),
    ),
    'ddad': _published(
        'ddad:DdadDataset',
        'DDAD, streets by six cameras and lidar',
        folders=('ddad.json', 'scene_*.json', '*/scene_*.json'),
        options={
            'camera_name': Option(help='CAMERA_01 (front, default), CAMERA_05 to CAMERA_09'),
            'part': Option(help='train or val of ddad.json; all scenes when left out'),
        },
    ),
    'cityscapes': _published(
        'cityscapes:CityscapesDataset',
        'Cityscapes, streets with depth from stereo disparity',
        folders=('leftImg8bit/*',),
    ),
    'folder': DatasetRow(
        target='depth_core.data.folder:FolderDataset',
        summary='your own images, with or without depth and labels, matched by name',
        offers=('depth', 'intrinsics', 'labels'),
        folders=('*',),
        options={
            'depth_unit_m': Option(
                kind=float, help='metres in one code of depth PNG and integer NPY files'
            ),
            'labels': Option(help='codes of semantic/*.png: train_ids (default) or label_ids'),
        },
    ),
    'mix': DatasetRow(
        target='depth_core.data.mix:open_mix',
        summary='several of these, in training',
        offers=('depth', 'intrinsics', 'labels', 'sequences', 'speeds', 'poses'),
    ),
}
"""Every data set by the name `open_dataset` takes; a folder is the first that it looks like."""


def evaluation_options() -> Mapping[str, Option]:
    """The options of all data sets by name; one that several have says what it is for each."""
    found: dict[str, Option] = {}
    for name, row in DATASETS.items():
        for key, option in row.options.items():
            text = f'{name}: {option.help}'
            if key in found:
                text = f'{found[key].help}; {text}'
            found[key] = Option(kind=option.kind, help=text)
    return found


def dataset_table() -> str:
    """The data sets as a table of Markdown, for docs/data.md."""
    lines = ['| name | reads | samples can hold |', '|---|---|---|']
    lines += [
        f'| `{name}` | {row.summary} | {", ".join(row.offers)} |' for name, row in DATASETS.items()
    ]
    return '\n'.join(lines)


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
        name: synthetic, kitti, nyu, folder, bag, mix, or auto: the one that `root` looks like.
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
    if not root.is_dir():
        endings = {name: row.files for name, row in DATASETS.items() if row.files}
        for name, files in endings.items():
            if root.name.lower().endswith(files):
                return name
        known = ', '.join(f'{" ".join(files)} ({name})' for name, files in endings.items())
        message = (
            f'data {root} is a file that no data set reads; give a folder, or a file that ends in '
            f'{known}.'
        )
        raise DataError(message)
    for name, row in DATASETS.items():
        if any(visible_paths(root, pattern) for pattern in row.folders):
            if name == 'folder':
                _refuse_bags(root)
                _look_around(root)
            return name
    message = f'data {root} is an empty folder; give one that holds {", ".join(DATASETS)}.'
    raise DataError(message)


def _refuse_bags(root: Path) -> None:
    """Refuse a folder of folders of bags, in which images would be looked for.

    Raises:
        DataError: It is one, and has no folder of images.
    """
    patterns = DATASETS['bag'].folders
    bags = sorted({path.parent for one in patterns for path in visible_paths(root, f'*/{one}')})
    if bags and not (root / 'images').is_dir():
        names = ', '.join(str(path) for path in bags[:_BAGS_SHOWN])
        names += ', ...' if len(bags) > _BAGS_SHOWN else ''
        message = (
            f'{root} is no data set but a folder of {len(bags)} bags: {names}; give one of them '
            '(depth_ros.evaluate_bag takes several).'
        )
        raise DataError(message)


def _look_around(root: Path) -> None:
    """Refuse a folder without images above or within a data set; warn of one with images.

    Raises:
        DataError: It is the former.
    """
    known = {name: row.folders for name, row in DATASETS.items() if name not in {'bag', 'folder'}}
    has_images = holds_images(root)
    found = (None if has_images else enclosed(root, known)) or enclosing(root, known)
    if found is None:
        return
    folder, name = found
    looks = f'{folder} looks like {name} ({DATASETS[name].summary}); give that folder'
    if not has_images:
        message = f'{root} holds no images, but {looks}.'
        raise DataError(message)
    if not (root / 'depth').is_dir():
        _LOG.warning('%s is read as images without depth, but %s for depth', root, looks)


def _builder(name: str) -> Any:  # noqa: ANN401  a class whose own signature is inspected
    module, _, target = DATASETS[name].target.partition(':')
    try:
        return getattr(importlib.import_module(module), target)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith('depth_core'):
            raise
        message = (
            f'data set {name!r} needs the Python package {error.name}, which is not installed; '
            f'install {DATASETS[name].install or error.name}.'
        )
        raise ConfigError(message) from error
