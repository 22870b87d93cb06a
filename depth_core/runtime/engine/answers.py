# SPDX-License-Identifier: Apache-2.0
"""What an engine should answer: the fp32 graph on another runtime, or its answers stored earlier.

Where a graph is exported, `<stem>.answers.npz` is written beside it: its answers on
`parity_images` at a coarse grid of pixels, corners and edges included. A machine without another
runtime, as a Jetson, compares with those.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, Uint8Array
from depth_core.errors import BackendError, DepthError, ModelError
from depth_core.files import replaced_atomically
from depth_core.manifest import Manifest, read_manifest
from depth_core.runtime.backends import BACKENDS, Backend, BackendRequest, open_named
from depth_core.runtime.engine.graph_hash import GraphHashes
from depth_core.runtime.parity_images import SEED, parity_images
from depth_core.runtime.preprocessing import Preprocessor

SUFFIX: Final = '.answers.npz'

_FORMAT: Final = 1
_GRID: Final = 33
"""Rows and columns that are stored: 5 images take some 40 kB."""
_LARGEST_FILE: Final = 8 << 20

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Images and the planes that belong to them."""

    images: Uint8Array
    """[N, height, width, 3] RGB at the size of the graph."""
    depth: Float32Array
    """[N, rows, columns] in the unit of the graph."""
    sigma: Float32Array | None
    reference: str
    """What gave them, in words."""
    rows: NDArray[np.int64] | None = None
    """Which rows of the plane these are; None for all of them, as are columns."""
    columns: NDArray[np.int64] | None = None

    def at(self, indices: Sequence[int]) -> tuple[Float32Array, Float32Array | None]:
        """Depth and sigma of some of the images."""
        chosen = list(indices)
        return self.depth[chosen], None if self.sigma is None else self.sigma[chosen]

    def sample(self, plane: Float32Array) -> Float32Array:
        """The pixels of [N, H, W] planes that are compared; those planes where they lack some."""
        if self.rows is None or self.columns is None:
            return plane
        if plane.shape[1] <= self.rows[-1] or plane.shape[2] <= self.columns[-1]:
            return plane
        return plane[:, self.rows[:, None], self.columns]


def expected_answers(
    graph: Path, *, size: tuple[int, int] | None = None, manifest: Manifest | None = None
) -> Answers:
    """Get the answers of the fp32 graph at `graph`.

    Args:
        graph: The ONNX file.
        size: (height, width) of its input, where it leaves that free; None for the usual one.
        manifest: What counts in place of the graph's own.

    A runtime on the processor gives them, all pixels; where the first one is not installed, those
    stored beside the graph are taken, and where there are none, another runtime gives them.

    Raises:
        BackendError: There is none of these, or the graph's own answers are not finite.
    """
    reasons: list[str] = []
    request = BackendRequest(path=graph, size=size, manifest=manifest)
    answers = _run('first', request, reasons) or _stored(graph, size, reasons)
    answers = answers or _run('last', request, reasons)
    if answers is not None:
        return answers
    message = (
        f'an engine of {graph} cannot be compared with anything, and is not served without that. '
        f'Install onnxruntime, or copy {answers_path(graph).name} to it from where the graph was '
        'exported. ' + ' '.join(reasons)
    )
    raise BackendError(message)


def _run(rank: str, request: BackendRequest, reasons: list[str]) -> Answers | None:
    """Let a runtime of this rank answer; None when none can run the graph, with the reasons."""
    for name, entry in BACKENDS.items():
        if entry.proves == rank:
            try:
                backend = open_named(name, request)
            except BackendError as error:
                reasons.append(f'{name}: {error}')
                continue
            return answer_all(backend, reference=f'the graph on {name}')
    return None


def _stored(graph: Path, size: tuple[int, int] | None, reasons: list[str]) -> Answers | None:
    try:
        answers = read_answers(graph)
    except ModelError as error:
        reasons.append(str(error))
        return None
    height, width = answers.images.shape[1:3]
    if size not in {None, (height, width)}:
        reasons.append(f'{answers_path(graph).name} is of images of {height}x{width}.')
        return None
    return answers


def answer_all(backend: Backend, *, reference: str, seed: int = SEED) -> Answers:
    """Let a backend answer `parity_images` at the size of its graph.

    Raises:
        BackendError: It fails, or an answer is not finite.
    """
    manifest = backend.manifest
    spec = manifest.input
    images = parity_images(seed=seed, height=spec.height, width=spec.width)
    preprocess = Preprocessor(manifest)
    depths, sigmas = [], []
    for image in images:
        depth, sigma = backend.run(preprocess([image] * max(spec.batch, 1)))
        depths.append(np.array(depth[0]))
        if sigma is not None:
            sigmas.append(np.array(sigma[0]))
    answers = Answers(
        images=images,
        depth=np.stack(depths),
        sigma=np.stack(sigmas) if sigmas else None,
        reference=reference,
    )
    if not all(np.isfinite(plane).all() for plane in (*depths, *sigmas)):
        message = (
            f'{manifest.name} on {reference} gives depth or sigma that is not finite; no engine '
            'of it can be compared: check its training.'
        )
        raise BackendError(message)
    return answers


def answers_path(graph: Path) -> Path:
    """Where the stored answers of the graph at `graph` are."""
    return graph.with_name(graph.stem + SUFFIX)


def write_answers(graph: Path, answers: Answers, *, seed: int = SEED) -> Path:
    """Store some pixels of the answers of the graph at `graph` beside it.

    Args:
        graph: The ONNX file, which is not changed afterwards.
        answers: Of all pixels.
        seed: Seed of their images.

    Returns:
        The file that was written.

    Raises:
        DepthError: It cannot be written.
    """
    _, height, width = answers.depth.shape
    rows, columns = _grid(height), _grid(width)
    planes: dict[str, Any] = {'depth': answers.depth[:, rows[:, None], columns]}
    if answers.sigma is not None:
        planes['sigma'] = answers.sigma[:, rows[:, None], columns]
    about = {
        'format': _FORMAT,
        'graph_sha256': GraphHashes().of(graph),
        'images_sha256': hashlib.sha256(answers.images.tobytes()).hexdigest(),
        'seed': seed,
        'reference': answers.reference,
        'size': [height, width],
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    path = answers_path(graph)
    with replaced_atomically(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, about=text, **planes)
    return path


def read_answers(graph: Path) -> Answers:
    """Read what is stored beside the graph at `graph`.

    Raises:
        ModelError: There is nothing, it is damaged, or belongs to another graph or other images.
    """
    path = answers_path(graph)
    if not path.is_file():
        message = f'there is no {path.name} beside it.'
        raise ModelError(message)
    try:
        arrays = _read_arrays(path)
        about = json.loads(arrays.pop('about').tobytes())
        height, width = (int(size) for size in about['size'])
        rows, columns = _grid(height), _grid(width)
        spec = read_manifest(graph).input
        images = parity_images(seed=int(about['seed']), height=spec.height, width=spec.width)
        planes = {key: np.asarray(plane, np.float32) for key, plane in arrays.items()}
        _check(about, planes, (len(images), len(rows), len(columns)))
        digests = str(about['graph_sha256']), str(about['images_sha256'])
        reference = str(about['reference'])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, DepthError) as error:
        message = f'{path} is damaged ({error}); export the graph again, or copy it again.'
        raise ModelError(message) from error
    if digests != (GraphHashes().of(graph), hashlib.sha256(images.tobytes()).hexdigest()):
        message = f'{path} belongs to another graph or to other images; copy both together.'
        raise ModelError(message)
    return Answers(
        images=images,
        depth=planes['depth'],
        sigma=planes.get('sigma'),
        reference=f'{reference}, as stored in {path.name}',
        rows=rows,
        columns=columns,
    )


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _LARGEST_FILE:
        message = f'it would unpack to {unpacked} bytes, more than {_LARGEST_FILE}'
        raise ValueError(message)
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays}


def _check(
    about: Mapping[str, Any], planes: Mapping[str, Float32Array], shape: tuple[int, ...]
) -> None:
    if about['format'] != _FORMAT or not {'depth'} <= set(planes) <= {'depth', 'sigma'}:
        message = f'format {about["format"]} with {", ".join(planes)}'
        raise ValueError(message)
    if any(plane.shape != shape or not np.isfinite(plane).all() for plane in planes.values()):
        message = f'planes that are not {list(shape)} finite numbers'
        raise ValueError(message)


def _grid(size: int) -> NDArray[np.int64]:
    """Where along an axis of `size` pixels answers are stored: both ends, and evenly between."""
    return np.linspace(0, size - 1, min(size, _GRID)).round().astype(np.int64)
