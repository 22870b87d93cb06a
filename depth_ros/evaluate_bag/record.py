# SPDX-License-Identifier: Apache-2.0
"""What was scored, for people to look at: an MCAP file for Foxglove, RViz and `ros2 bag play`.

Each scored image is written with its camera_info, depth, sigma, truth and relative error at the
stamp that it has in the recording.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer

from depth_core.contracts import Intrinsics
from depth_core.data.bag.writing import message_types
from depth_core.errors import ConfigError, DepthError
from depth_core.evaluate.bags.executors import Execute, Outcome
from depth_core.evaluate.bags.part import open_model, score_part
from depth_core.evaluate.bags.request import BagRequest, Part
from depth_core.evaluate.panels import Panel, panel_of
from depth_core.evaluate.scoring import Scored
from depth_core.files import replaced_atomically, unfinished_folder
from depth_ros.kitti_to_bag.messages import CAMERA_INFO, IMAGE, camera_info, head, image

SUFFIX: Final = '.mcap'
FRAME: Final = 'camera_optical'
TOPICS: Final = ('image', 'depth', 'sigma', 'truth', 'error')
"""Under /evaluation; depths are 32FC1 metres, the error is |depth - truth| / truth."""
CAMERA: Final = '/evaluation/camera_info'
"""Topic of the camera, by whose name viewers find it; with it they draw depth as a cloud."""

Add = Callable[[int, Panel, Intrinsics | None], None]
"""Takes the stamp of a scored image, nanoseconds, what a picture of it shows, and its camera."""


def recorded(adds: Sequence[Add]) -> Execute:
    """Evaluate parts in this process, and hand every scored image on."""

    def scored(found: Scored) -> None:
        if found.score.sums is None:
            return
        stamp_ns = int(found.score.key.rpartition(' ')[2])
        panel = panel_of(found.score, found.image, found.answer, found.target_m)
        for add in adds:
            add(stamp_ns, panel, found.camera)

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
        topics = {f'/evaluation/{name}': IMAGE for name in TOPICS} | {CAMERA: CAMERA_INFO}
        self._connections = {
            topic: writer.add_connection(topic, msgtype, typestore=message_types())
            for topic, msgtype in topics.items()
        }

    def __call__(self, stamp_ns: int, panel: Panel, camera: Intrinsics | None) -> None:
        with np.errstate(invalid='ignore', divide='ignore'):
            error = np.abs(panel.depth_m - panel.target_m) / panel.target_m
        planes: dict[str, NDArray[Any] | None] = {
            'image': panel.image,
            'depth': panel.depth_m,
            'sigma': panel.sigma_m,
            'truth': panel.target_m,
            'error': error,
        }
        header = head(stamp_ns, FRAME)
        if camera is not None:
            self._write(CAMERA, stamp_ns, camera_info(camera, None, header))
        for name, plane in planes.items():
            if plane is not None:
                self._write(f'/evaluation/{name}', stamp_ns, _message(plane, header))

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:  # noqa: ANN401  made at run time
        connection = self._connections[topic]
        data = message_types().serialize_cdr(message, connection.msgtype)
        self._writer.write(connection, stamp_ns, data)


def _message(plane: NDArray[Any], header: Any) -> Any:  # noqa: ANN401  made at run time
    """The Image of a picture, or of numbers."""
    if plane.dtype == np.uint8:
        return image(plane, 'rgb8', header)
    return image(plane.astype('<f4'), '32FC1', header)
