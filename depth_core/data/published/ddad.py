# SPDX-License-Identifier: Apache-2.0
"""DDAD (Guizilini et al., CVPR 2020): streets by six cameras and lidar of up to 250 m.

    root/ddad.json                                  the scenes of each split
    root/000000/scene_<hash>.json                   samples and data of a scene
    root/000000/calibration/<hash>.json             intrinsics by the name of the sensor
    root/000000/rgb/CAMERA_01/<time>.png            [1216, 1936]
    root/000000/point_cloud/LIDAR/<time>.npz        array `data` [N, 4], x y z in its own frame

Image and scan each have the pose of their sensor in the world, so that the motion between them is
undone. Licence: CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Intrinsics
from depth_core.data.bag.frame_tree import rotation_matrix
from depth_core.data.published.pairs import Pair, PairDataset, fixed_camera
from depth_core.errors import ConfigError, DataError
from depth_core.files import read_text, visible_paths
from depth_core.geometry import render_sparse_depth, transform
from depth_core.images import ImageError, read_header

_LIDAR: Final = 'LIDAR'
CAMERAS: Final = tuple(f'CAMERA_{number:02d}' for number in (1, 5, 6, 7, 8, 9))


@dataclass(frozen=True, kw_only=True)
class DdadPair(Pair):
    """An image and its scan."""

    camera: tuple[float, float, float, float]
    """fx, fy, cx, cy in pixels."""
    camera_from_lidar: NDArray[np.float64]
    """[4, 4] between both at their own times."""


class DdadDataset(PairDataset):
    """Images of one camera; see `PairDataset` for the other options.

    Args:
        root: Folder that holds ddad.json, or that of one scene.
        camera_name: CAMERA_01 (front), CAMERA_05 to CAMERA_09.
        part: `train` or `val` of ddad.json; None takes all scenes.
        split: List of the keys to take, one a line; all when None.
        height: Rows of a sample; native when None.
        width: Columns of a sample; native when None.

    Raises:
        ConfigError: There is no such camera or part.
        DataError: A file is missing, damaged or of another form.
    """

    title = 'DDAD'
    layout = 'ddad.json with 000000/scene_<hash>.json and 000000/rgb/CAMERA_01/<time>.png'
    sparse = True

    def __init__(
        self,
        root: Path | str,
        *,
        camera_name: str = 'CAMERA_01',
        part: str | None = None,
        split: Path | str | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        if camera_name not in CAMERAS:
            message = f'camera_name is {camera_name!r}; DDAD has {", ".join(CAMERAS)}.'
            raise ConfigError(message)
        self.camera_name, self.part = camera_name, part
        super().__init__(root, split=split, height=height, width=width)

    def find(self) -> Sequence[Pair]:
        """The images of the camera, by scene and time."""
        pairs: list[Pair] = []
        for path in _scenes(self.root, self.part):
            pairs += _pairs_of(path, self.camera_name, self.root)
        return pairs

    def read_depth(self, pair: Pair) -> Float32Array:
        """The scan, projected into the image.

        Raises:
            DataError: The scan or the image is damaged.
        """
        assert isinstance(pair, DdadPair)  # noqa: S101  as found
        try:
            header = read_header(pair.image.read_bytes())
        except (OSError, ImageError) as error:
            message = f'image {pair.image} cannot be read ({error}); unpack it again.'
            raise DataError(message) from error
        camera = fixed_camera(pair.camera, height=header.height, width=header.width)
        return render_sparse_depth(transform(_points(pair.depth), pair.camera_from_lidar), camera)

    def camera(self, pair: Pair, height: int, width: int) -> Intrinsics:
        """That of the scene's calibration."""
        assert isinstance(pair, DdadPair)  # noqa: S101  as found
        return fixed_camera(pair.camera, height=height, width=width)


def _scenes(root: Path, part: str | None) -> Sequence[Path]:
    """The scene files of a part, or all there are."""
    index = root / 'ddad.json'
    if part is None or not index.is_file():
        return visible_paths(root, 'scene_*.json') + visible_paths(root, '*/scene_*.json')
    stated = _read(index, 'scene_splits')
    names = {'train': '0', 'val': '1', 'test': '2'}
    if part not in names:
        message = f'part is {part!r}; ddad.json has {", ".join(names)}.'
        raise ConfigError(message)
    files = stated.get(names[part], {}).get('filenames', [])
    return [root / str(name) for name in files]


def _pairs_of(path: Path, name: str, root: Path) -> list[Pair]:
    """The images of one scene.

    Raises:
        DataError: Its file is of another form.
    """
    try:
        scene = _read(path)
        data = {item['key']: item for item in scene['data']}
        pairs: list[Pair] = []
        for sample in scene['samples']:
            items = {data[key]['id']['name']: data[key] for key in sample['datum_keys']}
            if name not in items or _LIDAR not in items:
                continue
            image = items[name]['datum']['image']
            cloud = items[_LIDAR]['datum']['point_cloud']
            file = path.parent / image['filename']
            calibration = path.parent / f'calibration/{sample["calibration_key"]}.json'
            world_from_camera, world_from_lidar = _pose(image['pose']), _pose(cloud['pose'])
            pairs.append(
                DdadPair(
                    image=file,
                    depth=path.parent / cloud['filename'],
                    key=str(file.relative_to(root).with_suffix('')),
                    camera=_intrinsics(calibration, name),
                    camera_from_lidar=np.linalg.inv(world_from_camera) @ world_from_lidar,
                )
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = (
            f'scene {path} lacks {error} or has it in another form; unpack the data set again.'
        )
        raise DataError(message) from error
    return pairs


def _pose(stated: Mapping[str, Any]) -> NDArray[np.float64]:
    """[4, 4] sensor to world."""
    rotation, translation = stated['rotation'], stated['translation']
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix([float(rotation[key]) for key in ('qx', 'qy', 'qz', 'qw')])
    matrix[:3, 3] = [float(translation[key]) for key in 'xyz']
    return matrix


def _intrinsics(path: Path, name: str) -> tuple[float, float, float, float]:
    stated = _read(path, 'names')
    place = stated['names'].index(name)
    numbers = stated['intrinsics'][place]
    return tuple(float(numbers[key]) for key in ('fx', 'fy', 'cx', 'cy'))  # type: ignore[return-value]  # of four


def _points(path: Path) -> NDArray[np.float64]:
    """[N, 3] of a scan.

    Raises:
        DataError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = np.asarray(archive['data'], np.float64)
        return values.reshape(len(values), -1)[:, :3].reshape(-1, 3)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        message = f'scan {path} cannot be read ({error}); it must be an NPZ of `data` [N, 4].'
        raise DataError(message) from error


def _read(path: Path, key: str | None = None) -> Any:  # noqa: ANN401  JSON
    """Read a JSON file, or one key of its object.

    Raises:
        DataError: It is missing or no JSON object.
    """
    try:
        content = json.loads(read_text(path))
    except (OSError, UnicodeError, ValueError, RecursionError) as error:
        message = f'{path} cannot be read as JSON ({error}); unpack the data set again.'
        raise DataError(message) from error
    if not isinstance(content, dict) or (key is not None and key not in content):
        message = f'{path} has no {key or "object"}; unpack the data set again.'
        raise DataError(message)
    return content[key] if key == 'scene_splits' else content
