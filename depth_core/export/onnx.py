# SPDX-License-Identifier: Apache-2.0
"""A network as one ONNX file that keeps the graph contract and carries its manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import torch
from numpy.typing import NDArray

from depth_core.contracts import Float32Array, SizeRule
from depth_core.errors import ConfigError, DepthError, ModelError
from depth_core.export.graph_file import embed_manifest, remove_former_data, write_graph
from depth_core.export.half_weights import TOLERANCE as ROUNDED_TOLERANCE
from depth_core.export.half_weights import keep_as_half
from depth_core.export.opset import OPSET, OPSETS
from depth_core.export.parity import TOLERANCE, Recorder, measure_parity
from depth_core.export.trace import traced
from depth_core.files import replaced_together
from depth_core.manifest import Manifest, manifest_path, write_manifest
from depth_core.models import DepthModel
from depth_core.models.serving import ServingGraph, default_resize, manifest_of
from depth_core.runtime.backends import Backend, BackendRequest, open_named
from depth_core.runtime.engine.answers import answer_all, write_answers
from depth_core.runtime.parity_images import SEED
from depth_core.shipped import shipped_file

__all__ = ['OPSET', 'SUFFIX', 'export_onnx', 'weights_sha256']

SUFFIX: Final = '.onnx'

_TOOLS: Final = ('torch', 'onnx', 'onnxscript', 'onnxruntime')


def export_onnx(
    model: DepthModel,
    output: Path | str,
    *,
    height: int | None = None,
    width: int | None = None,
    batch: int = 1,
    free_size: bool | None = None,
    resize: Literal['stretch', 'keep_aspect'] | None = None,
    training: Mapping[str, object] | None = None,
    licence: str = '',
    seed: int = SEED,
    tolerance: float | None = None,
    half_weights: bool = False,
    opset: int = OPSET,
) -> Manifest:
    """Write `model` to `output` and `<stem>.json`, once ONNX Runtime has answered as torch does.

    Some pixels of its answers go to `<stem>.answers.npz`, which engines are compared with where
    no other runtime is.

    The graph takes `image`, uint8 [batch, height, width, 3] RGB, and gives `depth` and `sigma`,
    float32 [batch, height, width]. The batch of one is fixed unless another is asked for: a camera
    gives one image at a time. A free batch serves several cameras; that an image is answered in a
    batch as alone is part of the proof then.

    Height and width are fixed where they are given, and free where the network allows that: one
    graph serves cameras of every shape then, and the runtime fixes the size that it has chosen for
    one before it plans memory and kernels. The proof is made at three sizes.

    Args:
        model: The network; left on the CPU in eval mode.
        output: Where to write, ending in `.onnx`.
        height: Rows of the input, pixels; None takes the network's own size.
        width: Columns of the input, pixels; None takes the network's own size.
        batch: Images at once; 0 leaves their number free.
        free_size: Whether height and width are left free; None leaves them free where the network
            allows it and no size is given.
        resize: How images are brought to the network. keep_aspect: to as many pixels as its own
            size has, in the shape of the camera. stretch: to that very size. None keeps the aspect
            where the size is free.
        training: Provenance of the weights, for the manifest.
        licence: Licence of the weights, for the manifest.
        seed: Seed of the images that are compared.
        tolerance: Largest difference allowed, as a fraction of the depth; None for 1e-3, or for
            2e-2 where weights are rounded.
        half_weights: Whether large weights are kept as float16, which halves the file; the graph
            computes in float32 all the same.
        opset: Of the graph: 18, or 17 for TensorRT 8.5 and 8.6.

    Returns:
        The manifest, which is inside the file and beside it.

    Raises:
        ConfigError: `output` does not end in `.onnx`, only one of height and width is given, the
            batch is negative, the aspect is to be kept in a graph of one size, or the opset is
            another.
        ExportError: The network cannot be exported, or the graph answers differently. Nothing
            is left under the name `output`, or what was there before.
        ModelError: The network does not take this size, or not all of them.
        DepthError: The file cannot be written.
    """
    output = Path(output)
    if output.suffix != SUFFIX:
        message = f'output {output} does not end in {SUFFIX}; runtimes recognise files by that.'
        raise ConfigError(message)
    if (height is None) != (width is None):
        message = f'height is {height} and width is {width}; give both, or neither.'
        raise ConfigError(message)
    if opset not in OPSETS:
        message = f'opset is {opset}; graphs are written in {" or ".join(map(str, OPSETS))}.'
        raise ConfigError(message)
    model = model.cpu().eval()
    default_height, default_width = model.spec.default_size
    free_size = _leaves_free(model, free_size, sized=height is not None)
    if resize == 'keep_aspect' and not free_size:
        message = (
            'resize is keep_aspect and the graph has one size; leave its size free (free_size), '
            'or let the runtime pad the images (Framing.keep_aspect).'
        )
        raise ConfigError(message)
    manifest = dataclasses.replace(
        manifest_of(
            model,
            height=height or default_height,
            width=width or default_width,
            batch=batch,
            resize=resize or default_resize(free_size=free_size),
        ),
        licence=licence,
        training=training or {},
        weights_sha256=weights_sha256(model),
        versions=_versions(),
    )
    if tolerance is None:
        tolerance = ROUNDED_TOLERANCE if half_weights else TOLERANCE
    reference = _Reference(model, manifest)
    with replaced_together(output, after=[manifest_path(output).name]) as folder:
        path = folder / output.name
        write_manifest(manifest_path(path), manifest)  # for the backend that opens the graph
        graph = traced(reference.graph, manifest, free_size=free_size, opset=opset)
        if half_weights:
            keep_as_half(graph.graph)
        write_graph(graph, manifest, path)
        candidate = Recorder(_opened(path))
        others = [_opened(path, size) for size in _other_sizes(manifest)] if free_size else []
        parity = measure_parity(
            reference, candidate, *others,
            seed=seed, places=_compared(model), tolerance=tolerance,
        )  # fmt: skip
        answers = answer_all(candidate.replay(), reference='the graph on ONNX Runtime', seed=seed)
        manifest = dataclasses.replace(manifest, parity=parity)
        write_manifest(manifest_path(path), manifest)
        embed_manifest(path, manifest)
        write_answers(path, answers, seed=seed)
    remove_former_data(output)
    return manifest


_LARGE_BYTES: Final = 1 << 30
_FEWER: Final = (1, 3, 4)
"""Colour fields, noise and a ramp; a graph that is wrong differs on each of them."""


def _compared(model: DepthModel) -> tuple[int, ...] | None:
    """Which images `model` is compared on; None for all, which take minutes where it is large."""
    tensors = (*model.parameters(), *model.buffers())
    return _FEWER if sum(tensor.nbytes for tensor in tensors) > _LARGE_BYTES else None


def _leaves_free(model: DepthModel, asked: bool | None, *, sized: bool) -> bool:
    """Whether the graph of `model` is to leave height and width free.

    Raises:
        ModelError: That is asked for, and the network does not take every size.
    """
    if asked and not model.spec.free_size:
        message = (
            f'{model.spec.name} is made for the size it is exported at, and free height and width '
            'are asked for; give the height and width that fit your camera.'
        )
        raise ModelError(message)
    return model.spec.free_size and not sized if asked is None else asked


def _opened(path: Path, size: tuple[int, int] | None = None) -> Backend:
    request = BackendRequest(path=path, size=size)
    # Not warmed up: the images it is proven on do that, and a large network takes 20 s for each.
    return open_named('onnxruntime', request)


def _other_sizes(manifest: Manifest) -> list[tuple[int, int]]:
    """A wide and a tall size with a quarter of the pixels, which cost less to compare."""
    spec = manifest.input
    rule = SizeRule(mode='pixels', target=max(spec.height * spec.width // 4, 1))
    return [
        rule.choose(*shape, multiple=manifest.divisor, min_side=spec.min_side) for shape in _SHAPES
    ]


_SHAPES: Final = ((375, 1242), (4, 3))
"""(height, width) of a camera of KITTI, and of one that stands upright."""


class _Reference:
    """The network itself, run as a backend."""

    def __init__(self, model: DepthModel, manifest: Manifest) -> None:
        self.manifest = manifest
        self.graph = ServingGraph(model).eval()

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        with torch.inference_mode():
            depth, sigma = self.graph(torch.from_numpy(images))
        return depth.numpy(), sigma.numpy()


def weights_sha256(model: DepthModel) -> str:
    """Hash the names, types, shapes and values of all weights and buffers of `model`."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f'{key} {value.dtype} {tuple(value.shape)}\n'.encode())
        if value.numel():
            digest.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    return {'depth_ros': _package_version(), **{name: metadata.version(name) for name in _TOOLS}}


def _package_version() -> str:
    """The version of this package, installed or run from its checkout."""
    try:
        description = shipped_file('package.xml').read_text(encoding='utf-8')
    except DepthError:
        return 'unknown'
    found = re.search(r'<version>(.*?)</version>', description)
    return found[1] if found else 'unknown'
