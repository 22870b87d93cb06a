# SPDX-License-Identifier: Apache-2.0
"""From an fp32 ONNX file to one of lower precision beside it, measured before it is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import onnx

from depth_core.errors import ConfigError, ExportError
from depth_core.export.precision.activations import extents
from depth_core.export.precision.autocast import autocast
from depth_core.export.precision.emulation import emulated
from depth_core.export.precision.graph import FLOAT16, HEAVY, Graph, load_graph
from depth_core.export.precision.image_sets import ImageSet, image_sets, open_data
from depth_core.export.precision.int8 import Target, to_int8
from depth_core.export.precision.measure import (
    DEFAULT_LIMITS,
    Limits,
    abs_rel,
    answers,
    check_limits,
    compare,
    gate_error,
    noisy,
)
from depth_core.export.precision.mixed import to_mixed
from depth_core.export.precision.rule import nodes_in_fp32
from depth_core.export.precision.sessions import Extra, ModelBackend, extra_inputs
from depth_core.files import read_unchanged, replaced_atomically
from depth_core.manifest import (
    METADATA_KEY,
    Manifest,
    PrecisionError,
    manifest_path,
    read_manifest,
    write_manifest,
)
from depth_core.metrics import find_protocol
from depth_core.runtime.engine.gate import LIMITS as GATE_LIMITS
from depth_core.runtime.engine.graph_hash import GraphHashes
from depth_core.runtime.extra_inputs import ExtraInputs

LowPrecision: TypeAlias = Literal['fp16', 'int8']
Fp16Method: TypeAlias = Literal['rule', 'autocast']

EMULATED: Final = 'rounded emulation'
"""Every fp16 result rounded, sums in fp32."""

DEQUANTISED: Final = 'Q/DQ as written'
"""Rounding of int8 as the graph says it, its sums in fp32."""


@dataclass(frozen=True, kw_only=True)
class PrecisionRequest:
    """Which precision to make of a graph, and how."""

    onnx: Path
    """The fp32 graph, with its manifest inside or beside it."""
    precision: LowPrecision
    target: Target = 'tensorrt'
    """Whose int8."""
    calibration: str | None = None
    """Folder of images, data set, or `synthetic`; None draws images."""
    fp16_method: Fp16Method = 'rule'
    limits: Limits | None = None
    """None takes `DEFAULT_LIMITS`."""
    truth: str | None = None
    """Data with ground truth to measure the change of AbsRel on."""
    protocol: str = 'none'
    """Which of its pixels are scored."""


def precision_path(path: Path, precision: LowPrecision, target: Target = 'tensorrt') -> Path:
    """Where the graph of a precision stands: `a.fp16.onnx`, `a.int8.onnx`, `a.int8_cpu.onnx`."""
    ending = 'int8_cpu' if (precision, target) == ('int8', 'cpu') else precision
    return path.with_name(f'{path.stem}.{ending}{path.suffix}')


def write_precision(request: PrecisionRequest) -> tuple[Path, Manifest]:
    """Make the graph, compare it with the fp32 one, and write it with its manifest.

    Returns:
        Where it is, and its manifest, which is inside it and beside it.

    Raises:
        ConfigError: The request or the manifest contradicts itself, or what it needs is missing.
        DataError: An image set is missing or damaged.
        ExportError: The graph cannot be converted, or differs by more than is allowed. Nothing
            is left under its name, or what was there before.
        ModelError: The fp32 graph or its manifest is missing or not valid.
    """
    with read_unchanged(request.onnx):
        manifest = read_manifest(request.onnx)
        model = load_graph(request.onnx)
        model_sha256 = GraphHashes().of(request.onnx)
    _check_fp32(request.onnx, model, manifest)
    extra = extra_inputs(request.onnx, model, manifest)
    calibration, comparison = image_sets(request.calibration, manifest)
    usual = extra.usual(max(manifest.input.batch, 1))
    converted = _convert(Graph(model), calibration, usual, request)
    path = precision_path(request.onnx, request.precision, request.target)
    manifest = dataclasses.replace(
        manifest,
        precision=request.precision,
        precision_target=request.target if request.precision == 'int8' else '',
        calibration=calibration.description,
        parity=None,
    )
    reference = ModelBackend(model, manifest, extra, optimise=True)
    candidate, method = candidate_backend(converted, manifest, extra)
    error = _measure(
        request, reference, candidate, comparison, method=method, model_sha256=model_sha256
    )
    check_limits(f'{request.onnx.stem} in {request.precision}', error)
    if request.truth is not None:
        error = _with_abs_rel(error, request, reference, candidate)
    manifest = dataclasses.replace(manifest, precision_error=error)
    onnx.helper.set_model_props(converted, {METADATA_KEY: manifest.to_json()})
    with replaced_atomically(path) as temporary:
        temporary.write_bytes(converted.SerializeToString())
    write_manifest(manifest_path(path), manifest)
    return path, manifest


def candidate_backend(
    converted: onnx.ModelProto, manifest: Manifest, extra: ExtraInputs | None = None
) -> tuple[ModelBackend, str]:
    """What answers as a device of that precision would, and the name of the method."""
    if manifest.precision == 'fp16':
        return ModelBackend(emulated(converted), manifest, extra, optimise=False), EMULATED
    if manifest.precision_target == 'tensorrt':
        return ModelBackend(converted, manifest, extra, optimise=False), DEQUANTISED
    return ModelBackend(converted, manifest, extra, optimise=True), 'onnxruntime'


def _convert(
    graph: Graph, calibration: ImageSet, extra: Extra, request: PrecisionRequest
) -> onnx.ModelProto:
    if request.precision == 'int8':
        return to_int8(graph, calibration.inputs, request.target, extra)
    if request.fp16_method == 'autocast':
        return autocast(graph, calibration.inputs, extra)
    measured = extents(graph, calibration.inputs, extra)
    largest = {name: max(-low, high) for name, (low, high) in measured.items()}
    kept = nodes_in_fp32(graph, largest)
    if set(graph.of_type(HEAVY)) <= set(kept):
        message = 'the graph has no convolution or matrix product whose numbers fit fp16.'
        raise ExportError(message)
    return to_mixed(graph, kept)


def _measure(
    request: PrecisionRequest,
    reference: ModelBackend,
    candidate: ModelBackend,
    images: ImageSet,
    *,
    method: str,
    model_sha256: str,
) -> PrecisionError:
    """Compare the graphs, and state what is allowed."""
    manifest = reference.manifest
    expected = answers(reference, images.inputs)
    depth, sigma = compare(expected, answers(candidate, images.inputs), manifest.output)
    shaken = answers(reference, noisy(images, manifest.input))
    noise_depth, noise_sigma = compare(expected, shaken, manifest.output)
    # From far to near is less, as a fraction, than from near to far: rounding may do either.
    back, _ = compare(shaken, expected, manifest.output)
    limits = request.limits or DEFAULT_LIMITS[request.precision].or_noise(
        noise_depth, back, most=GATE_LIMITS[request.precision]
    )
    return PrecisionError(
        reference=request.onnx.name,
        reference_sha256=model_sha256,
        method=method,
        images=images.description,
        image_count=len(images.inputs),
        depth=depth,
        sigma=sigma,
        noise_depth=noise_depth,
        noise_sigma=noise_sigma,
        gate=gate_error(reference, candidate, request.precision),
        max_p999=limits.p999,
        max_max=limits.max,
    )


def _with_abs_rel(
    error: PrecisionError,
    request: PrecisionRequest,
    reference: ModelBackend,
    candidate: ModelBackend,
) -> PrecisionError:
    """Add what the precision changes against ground truth."""
    dataset, name = open_data(str(request.truth), reference.manifest)
    protocol = find_protocol(request.protocol)
    before, images = abs_rel(reference, dataset, protocol)
    after, _ = abs_rel(candidate, dataset, protocol)
    described = f'{images} images of {name} under {protocol.name}: {before:.4g} in fp32'
    return dataclasses.replace(error, abs_rel_change=after / before - 1.0, abs_rel_set=described)


def _check_fp32(path: Path, model: onnx.ModelProto, manifest: Manifest) -> None:
    kinds = {item.data_type for item in model.graph.initializer}
    quantised = any(node.op_type == 'DequantizeLinear' for node in model.graph.node)
    found = manifest.precision
    if found == 'fp32' and FLOAT16 in kinds:
        found = 'fp16'
    if found == 'fp32' and quantised:
        found = 'int8'
    if found != 'fp32':
        message = f'{path} computes in {found} already; give the fp32 graph it was made from.'
        raise ConfigError(message)
