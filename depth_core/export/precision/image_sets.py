# SPDX-License-Identifier: Apache-2.0
"""The images that precisions are calibrated and compared on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from depth_core.contracts import Uint8Array
from depth_core.data import detect_dataset, open_dataset
from depth_core.data.sample import DepthDataset, Sample
from depth_core.errors import DataError
from depth_core.files import visible_paths
from depth_core.images import IMAGE_SUFFIXES, read_image
from depth_core.manifest import Manifest
from depth_core.runtime.parity_images import SEED, parity_images
from depth_core.runtime.preprocessing import Preprocessor

MOST: Final = 64
"""Images looked at, at even distances through a larger set: half to calibrate, half to compare."""

_SYNTHETIC: Final = 'synthetic'


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images as a graph takes them."""

    description: str
    """Where they come from, for the manifest: no path of this machine."""
    inputs: tuple[NDArray[Any], ...]
    """Each a batch of the graph that holds one image, in every place of it."""


def image_sets(source: str | None, manifest: Manifest) -> tuple[ImageSet, ImageSet]:
    """Find the images to calibrate with, and others to compare on.

    Args:
        source: A folder of images, a data set of this package, or `synthetic`; None draws the
            images of the parity at export, and others with the next seed.
        manifest: What the graph takes.

    Returns:
        The set to calibrate with, and the set to compare on, which share no image unless there
        is only one. Drawn images are always compared on: an engine is, before it is served.

    Raises:
        DataError: There is no image, or one cannot be read.
    """
    if source is None:
        return _drawn(SEED, manifest), _drawn(SEED + 1, manifest)
    readers, name = _readers(source, manifest)
    chosen = np.unique(np.linspace(0, len(readers) - 1, min(MOST, len(readers))).round())
    kept = [readers[int(index)] for index in chosen]
    others = kept[1::2]
    shown = _prepared((read() for read in kept[::2]), f'{{}} images of {name}', manifest)
    held = _prepared((read() for read in others), f'{{}} others of {name}', manifest)
    return shown, _joined(held if others else shown, _drawn(SEED, manifest))


def _drawn(seed: int, manifest: Manifest) -> ImageSet:
    size = manifest.input
    images = parity_images(seed=seed, height=size.height, width=size.width)
    return _prepared(iter(images), f'{{}} images drawn with seed {seed}', manifest)


def _joined(first: ImageSet, second: ImageSet) -> ImageSet:
    return ImageSet(
        description=f'{first.description} and {second.description}',
        inputs=(*first.inputs, *second.inputs),
    )


def _prepared(images: Iterator[Uint8Array], description: str, manifest: Manifest) -> ImageSet:
    prepare = Preprocessor(manifest)
    batch = max(manifest.input.batch, 1)
    inputs = tuple(prepare([image] * batch).copy() for image in images)
    return ImageSet(description=description.format(len(inputs)), inputs=inputs)


def _readers(source: str, manifest: Manifest) -> tuple[list[Callable[[], Uint8Array]], str]:
    """How to read each image, and the name of the set."""
    path = Path(source).expanduser()
    if detect_dataset(path) != 'folder':
        dataset, name = open_data(source, manifest)
        return [_sample_reader(dataset, index) for index in range(len(dataset))], name
    files = [
        file
        for pattern in ('*', 'images/*', 'image/*', 'rgb/*')
        for file in visible_paths(path, pattern)
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()
    ]
    if not files:
        message = (
            f'folder {path} holds no image, nor does images, image or rgb in it; give a folder '
            f'with files that end in {" ".join(IMAGE_SUFFIXES)}.'
        )
        raise DataError(message)
    return [_file_reader(file) for file in files], f'folder {path.name}'


def open_data(source: str, manifest: Manifest) -> tuple[DepthDataset, str]:
    """Open a data set by what it looks like; `synthetic` renders at the size of the graph.

    Returns:
        The data set, and its name for the manifest.

    Raises:
        DataError: It does not exist, looks like none, or is damaged.
    """
    path = Path(source).expanduser()
    kind = detect_dataset(path)
    if kind != _SYNTHETIC:
        return open_dataset(kind, root=path), f'the {kind} data {path.name}'
    size = manifest.input
    rendered = open_dataset(kind, seed=SEED, length=MOST, height=size.height, width=size.width)
    return rendered, 'the synthetic data'


def _file_reader(path: Path) -> Callable[[], Uint8Array]:
    return lambda: read_image(path)


def _sample_reader(dataset: DepthDataset, index: int) -> Callable[[], Uint8Array]:
    return lambda: codes_of(dataset[index])


def codes_of(sample: Sample) -> Uint8Array:
    """The image of a sample as [H, W, 3] uint8 RGB."""
    pixels = sample.image.numpy().transpose(1, 2, 0)
    return np.ascontiguousarray(np.round(pixels * np.float32(255.0)).astype(np.uint8))
