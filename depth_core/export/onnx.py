# SPDX-License-Identifier: Apache-2.0
"""A network as one ONNX file that keeps the graph contract and carries its manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from depth_core.contracts import Float32Array
from depth_core.errors import ConfigError, DepthError, ExportError, ModelError
from depth_core.export.parity import TOLERANCE, measure_parity
from depth_core.files import replaced_atomically
from depth_core.manifest import METADATA_KEY, Manifest, manifest_path, write_manifest
from depth_core.models import DepthModel
from depth_core.models.serving import ServingGraph, manifest_of
from depth_core.runtime.backends import BackendRequest, open_backend
from depth_core.runtime.engine.answers import answer_all, write_answers
from depth_core.runtime.parity_images import SEED
from depth_core.shipped import shipped_file

OPSET: Final = 18
SUFFIX: Final = '.onnx'

_LARGEST_FILE: Final = 2**31 - 1
"""A protobuf message cannot be longer, and an ONNX file is one message."""

_FREE_BATCH: Final = 'batch'
"""What the number of images is called where it is free."""

_TOOLS: Final = ('torch', 'onnx', 'onnxscript', 'onnxruntime')


def export_onnx(
    model: DepthModel,
    output: Path | str,
    *,
    height: int | None = None,
    width: int | None = None,
    batch: int = 1,
    training: Mapping[str, object] | None = None,
    licence: str = '',
    seed: int = SEED,
    tolerance: float = TOLERANCE,
) -> Manifest:
    """Write `model` to `output` and `<stem>.json`, once ONNX Runtime has answered as torch does.

    Some pixels of its answers go to `<stem>.answers.npz`, which engines are compared with where
    no other runtime is.

    The graph takes `image`, uint8 [batch, height, width, 3] RGB, and gives `depth` and `sigma`,
    float32 [batch, height, width]. Height and width are fixed, and so is the batch of one unless
    another is asked for: runtimes plan memory and kernels for exactly this size, and a camera
    gives one image at a time. A free batch serves several cameras; that an image is answered in a
    batch as alone is part of the proof then.

    Args:
        model: The network; left on the CPU in eval mode.
        output: Where to write, ending in `.onnx`.
        height: Rows of the input, pixels; None takes the network's own size.
        width: Columns of the input, pixels; None takes the network's own size.
        batch: Images at once; 0 leaves their number free.
        training: Provenance of the weights, for the manifest.
        licence: Licence of the weights, for the manifest.
        seed: Seed of the images that are compared.
        tolerance: Largest difference allowed, as a fraction of the depth.

    Returns:
        The manifest, which is inside the file and beside it.

    Raises:
        ConfigError: `output` does not end in `.onnx`, only one of height and width is given, or
            the batch is negative.
        ExportError: The network cannot be exported, or the graph answers differently. Nothing
            is left under the name `output`, or what was there before.
        ModelError: The network does not take this size.
        DepthError: The file cannot be written.
    """
    output = Path(output)
    if output.suffix != SUFFIX:
        message = f'output {output} does not end in {SUFFIX}; runtimes recognise files by that.'
        raise ConfigError(message)
    if (height is None) != (width is None):
        message = f'height is {height} and width is {width}; give both, or neither.'
        raise ConfigError(message)
    model = model.cpu().eval()
    default_height, default_width = model.spec.default_size
    manifest = dataclasses.replace(
        manifest_of(
            model, height=height or default_height, width=width or default_width, batch=batch
        ),
        licence=licence,
        training=training or {},
        weights_sha256=weights_sha256(model),
        versions=_versions(),
    )
    reference = _Reference(model, manifest)
    with replaced_atomically(output) as temporary:
        graph = _trace(reference.graph, manifest)
        _save(graph, manifest, temporary)
        request = BackendRequest(path=temporary)
        candidate = open_backend(request, ['onnxruntime'], strict=True).backend
        parity = measure_parity(reference, candidate, seed=seed, tolerance=tolerance)
        answers = answer_all(candidate, reference='the graph on ONNX Runtime', seed=seed)
        manifest = dataclasses.replace(manifest, parity=parity)
        _save(graph, manifest, temporary)
    write_manifest(manifest_path(output), manifest)
    write_answers(output, answers, seed=seed)
    return manifest


class _Reference:
    """The network itself, run as a backend."""

    def __init__(self, model: DepthModel, manifest: Manifest) -> None:
        self.manifest = manifest
        self.graph = ServingGraph(model).eval()

    def run(self, images: NDArray[Any]) -> tuple[Float32Array, Float32Array | None]:
        with torch.inference_mode():
            depth, sigma = self.graph(torch.from_numpy(images))
        return depth.numpy(), sigma.numpy()


def _trace(graph: ServingGraph, manifest: Manifest) -> onnx.ModelProto:
    spec = manifest.input
    free = spec.batch == 0
    # Sizes of 0 and 1 never stay free in torch.export, whatever it is asked for.
    example = torch.zeros(2 if free else spec.batch, spec.height, spec.width, 3, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name],
            output_names=[manifest.output.depth, str(manifest.output.sigma)],
            dynamic_shapes={'image': {0: _FREE_BATCH}} if free else None,
            verbose=False,
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a network does that ONNX has no operator for
        message = (
            f'{manifest.name} cannot be expressed in ONNX opset {OPSET}: '
            f'{str(error).splitlines()[0] if str(error) else type(error).__name__}'
        )
        raise ExportError(message) from error
    if program is None:
        message = f'torch {torch.__version__} exported nothing for {manifest.name}.'
        raise ExportError(message)
    proto: onnx.ModelProto = program.model_proto
    opsets = {item.domain: item.version for item in proto.opset_import}
    if opsets != {'': OPSET}:
        message = (
            f'{manifest.name} was exported to opsets {opsets} instead of {OPSET}: one of its '
            'layers has no conversion down; use another version of torch or onnxscript.'
        )
        raise ExportError(message)
    _strip_traces(proto)
    return proto


def _strip_traces(proto: onnx.ModelProto) -> None:
    """Drop the stack traces and scopes that the exporter leaves: paths of whoever exported."""
    proto.doc_string = ''
    proto.graph.doc_string = ''
    holders: Iterable[Any] = (
        proto.graph,
        *proto.graph.node,
        *proto.graph.value_info,
        *proto.graph.initializer,
        *proto.graph.input,
        *proto.graph.output,
    )
    for holder in holders:
        holder.doc_string = ''
        del holder.metadata_props[:]


def _save(graph: onnx.ModelProto, manifest: Manifest, path: Path) -> None:
    onnx.helper.set_model_props(graph, {METADATA_KEY: manifest.to_json()})
    size = graph.ByteSize()
    if size > _LARGEST_FILE:
        message = (
            f'{manifest.name} needs {size} bytes, more than the {_LARGEST_FILE} an ONNX file can '
            'hold; choose a smaller network.'
        )
        raise ExportError(message)
    path.write_bytes(graph.SerializeToString())


def weights_sha256(model: DepthModel) -> str:
    """Hash the names, types, shapes and values of all weights and buffers of `model`."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f'{key} {value.dtype} {tuple(value.shape)}\n'.encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(value: Tensor) -> bytes:
    flat = value.detach().contiguous().reshape(-1)
    return np.asarray(flat.view(torch.uint8)).tobytes() if flat.numel() else b''


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
