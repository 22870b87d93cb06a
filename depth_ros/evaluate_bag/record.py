# SPDX-License-Identifier: Apache-2.0
"""What was scored, for people to look at: an MCAP file for Foxglove, RViz and `ros2 bag play`.

Each scored image is written with its depth, sigma, truth and relative error at the stamp that it
has in the recording.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_core.errors import ConfigError, DepthError
from depth_core.evaluate.bags.executors import Execute, Outcome
from depth_core.evaluate.bags.part import open_model, score_part
from depth_core.evaluate.bags.request import BagRequest, Part
from depth_core.evaluate.panels import Panel, panel_of
from depth_core.evaluate.scoring import Scored
from depth_core.files import replaced_atomically, unfinished_folder

SUFFIX: Final = '.mcap'
FRAME: Final = 'camera_optical'
TOPICS: Final = ('image', 'depth', 'sigma', 'truth', 'error')
"""Under /evaluation; depths are 32FC1 metres, the error is |depth - truth| / truth."""

Add = Callable[[int, Panel], None]
"""Takes a scored image and its stamp, nanoseconds."""


def recorded(adds: Sequence[Add]) -> Execute:
    """Evaluate parts in this process, and hand every scored image on."""

    def scored(found: Scored) -> None:
        if found.score.sums is None:
            return
        stamp_ns = int(found.score.key.rpartition(' ')[2])
        panel = panel_of(found.score, found.image, found.answer, found.target_m)
        for add in adds:
            add(stamp_ns, panel)

    def execute(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
        for part in parts:
            yield part, score_part(request, part, open_model(request), on_scored=scored)

    return execute


def check_record(path: Path | None) -> None:
    """Refuse another kind of file before anything is begun.

    Raises:
        ConfigError: It does not end in `.mcap`.
    """
    if path is not None and path.suffix != SUFFIX:
        message = f'--record {path}: an MCAP file is written; give a name that ends in {SUFFIX}.'
        raise ConfigError(message)


@contextlib.contextmanager
def mcap_file(path: Path | None) -> Iterator[Sequence[Add]]:
    """Give what adds to a new MCAP file, which appears when the block ends well.

    Args:
        path: The file; None writes nothing.

    Raises:
        DepthError: It cannot be written.
    """
    if path is None:
        yield ()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(path.parent, path.name) as folder:
            bag = folder / 'bag'
            with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                yield (_Images(writer),)
            with replaced_atomically(path) as temporary:
                next(bag.glob(f'*{SUFFIX}')).replace(temporary)
    except OSError as error:
        message = f'cannot write {path}: {error.strerror or error}; choose another --record.'
        raise DepthError(message) from error


class _Images:
    """Writes the planes of scored images."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        self._connections = {
            name: writer.add_connection(
                f'/evaluation/{name}', 'sensor_msgs/msg/Image', typestore=self._store
            )
            for name in TOPICS
        }

    def __call__(self, stamp_ns: int, panel: Panel) -> None:
        with np.errstate(invalid='ignore', divide='ignore'):
            error = np.abs(panel.depth_m - panel.target_m) / panel.target_m
        planes: dict[str, NDArray[Any] | None] = {
            'image': panel.image,
            'depth': panel.depth_m,
            'sigma': panel.sigma_m,
            'truth': panel.target_m,
            'error': error,
        }
        for name, plane in planes.items():
            if plane is not None:
                data = self._serialised(plane, stamp_ns)
                self._writer.write(self._connections[name], stamp_ns, data)

    def _serialised(self, plane: NDArray[Any], stamp_ns: int) -> memoryview:
        types: Any = self._store.types
        is_image = plane.dtype == np.uint8
        values = np.ascontiguousarray(plane if is_image else plane.astype('<f4'))
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
        message = types['sensor_msgs/msg/Image'](
            header=types['std_msgs/msg/Header'](stamp=stamp, frame_id=FRAME),
            height=values.shape[0],
            width=values.shape[1],
            encoding='rgb8' if is_image else '32FC1',
            is_bigendian=0,
            step=values.strides[0],
            data=values.view(np.uint8).reshape(-1),
        )
        return self._store.serialize_cdr(message, 'sensor_msgs/msg/Image')
