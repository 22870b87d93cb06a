# SPDX-License-Identifier: Apache-2.0
"""A calibration of sigma written into an ONNX graph: four nodes behind its sigma."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from depth_core.contracts import SigmaCalibration
from depth_core.errors import ConfigError, ModelError
from depth_core.files import FileState, read_unchanged, replaced_atomically
from depth_core.manifest import (
    METADATA_KEY,
    CalibratedSigma,
    Manifest,
    manifest_path,
    read_manifest,
    write_manifest,
)

_PREFIX: Final = 'sigma_calibration'
FACTOR: Final = f'{_PREFIX}/factor'
POWER: Final = f'{_PREFIX}/power'
STATED: Final = f'{_PREFIX}/stated'
"""Names within the graph: two constants, and sigma as the network states it."""


def write_calibrated(
    path: Path,
    output: Path,
    found: SigmaCalibration,
    record: CalibratedSigma,
    manifest: Manifest | None = None,
    *,
    state: FileState | None = None,
) -> None:
    """Write a graph whose sigma is corrected, with its manifest within and beside it.

    A graph that has been calibrated so before gets one calibration that does both.

    Args:
        path: The graph.
        output: What is written.
        found: What corrects the sigma that the graph gives.
        record: What the manifest is to say.
        manifest: In place of that of the graph.
        state: Of the file of the graph before; None for that of now.

    Raises:
        ConfigError: The graph has no sigma beside its depth, or weights in another file.
        DataError: The file is another since then.
        ModelError: It cannot be read.
    """
    with read_unchanged(path, state):
        manifest = manifest or read_manifest(path)
        try:
            model = onnx.load(path, load_external_data=False)
        except Exception as error:
            message = f'{path} cannot be read as ONNX ({error}); export it again.'
            raise ModelError(message) from error
    external = TensorProto.EXTERNAL
    if any(item.data_location == external for item in model.graph.initializer):
        message = (
            f'{path} has weights in another file, which a copy could not share; calibrate its '
            'checkpoint and export that.'
        )
        raise ConfigError(message)
    both = _corrected(model.graph, manifest, found, path)
    stated = dataclasses.replace(record, factor=both.factor, power=both.power)
    manifest = dataclasses.replace(manifest, sigma_calibration=stated)
    helper.set_model_props(
        model,
        {item.key: item.value for item in model.metadata_props}
        | {METADATA_KEY: manifest.to_json()},
    )
    with replaced_atomically(output) as temporary:
        temporary.write_bytes(model.SerializeToString())
    write_manifest(manifest_path(output), manifest)


def _corrected(
    graph: onnx.GraphProto, manifest: Manifest, found: SigmaCalibration, path: Path
) -> SigmaCalibration:
    """Correct the sigma of a graph; return what is done to that of the network."""
    constants = {item.name: item for item in graph.initializer}
    if FACTOR in constants:
        factor, power = (float(numpy_helper.to_array(constants[key])) for key in (FACTOR, POWER))
        both = found.after(SigmaCalibration(factor=factor, power=power))
        for key, value in ((FACTOR, both.factor), (POWER, both.power)):
            constants[key].CopyFrom(_constant(key, value))
        return both
    sigma, depth = manifest.output.sigma, manifest.output.depth
    outputs = {item.name: item.type.tensor_type for item in graph.output}
    if sigma is None or {sigma, depth} - outputs.keys() or not _alike(outputs, sigma, depth):
        message = (
            f'{path} has no float32 sigma of the shape of its depth among its outputs '
            f'({", ".join(outputs)}), so that its sigma cannot be calibrated.'
        )
        raise ConfigError(message)
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == sigma:
                    names[place] = STATED
    relative, raised, metres = (f'{_PREFIX}/{word}' for word in ('relative', 'raised', 'metres'))
    graph.node.extend(
        (
            helper.make_node('Div', [STATED, depth], [relative], name=relative),
            helper.make_node('Pow', [relative, POWER], [raised], name=raised),
            helper.make_node('Mul', [raised, depth], [metres], name=metres),
            helper.make_node('Mul', [metres, FACTOR], [sigma], name=f'{_PREFIX}/sigma'),
        )
    )
    graph.initializer.extend((_constant(FACTOR, found.factor), _constant(POWER, found.power)))
    return found


def _alike(outputs: dict[str, TensorProto], sigma: str, depth: str) -> bool:
    """Whether both are float32 of as many axes."""
    kinds = [outputs[name] for name in (sigma, depth)]
    axes = {len(kind.shape.dim) for kind in kinds}
    return all(kind.elem_type == TensorProto.FLOAT for kind in kinds) and len(axes) == 1


def _constant(name: str, value: float) -> TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)
