# SPDX-License-Identifier: Apache-2.0
"""How the package opens a file of each format: what a command or the node would do with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final


def _of(module: str) -> Any:
    """Load a module when a file of its format is opened: a child opens files of one alone."""
    return importlib.import_module(f'depth_core.{module}')


def _graph(path: Path) -> None:
    # As the limit is, in less time.
    _of('runtime.backends.onnxruntime_binding').FIRST_ANSWER_S = 1.0
    _of('runtime').Predictor.open(path).close()


def _bag(path: Path) -> None:
    with _of('data.bag.opener').open_bag(path) as bag:
        for message in bag.messages(bag.connections):
            bag.decode(message)


def _video(path: Path) -> None:
    with _of('runtime.video_file').open_video(path) as video:
        list(video.frames())


def _depth(path: Path) -> None:
    planes = _of('data.planes')
    if path.suffix == '.png':
        planes.read_depth_png(path, unit_m=0.001)
    else:
        planes.read_depth_npy(path, code_unit_m=0.001)


OPENERS: Final[Mapping[str, Callable[[Path], object]]] = {
    'checkpoint': lambda path: _of('weights.checkpoint').load_model(path),
    'graph': _graph,
    'manifest': lambda path: _of('manifest').read_manifest(path),
    'configuration': lambda path: _of('train.command_line').parse(['--config', str(path)]),
    'list': lambda path: _of('data.text').read_lines(path),
    'image': lambda path: _of('images').read_image(path),
    'video': _video,
    'depth': _depth,
    'projected': lambda path: _of('data.kitti.files').read_projected(path),
    'hdf5': lambda path: _of('data.published.hdf5').read_array(path, 'dataset'),
    'bag': _bag,
}
"""By format; each reads the file to its end."""
