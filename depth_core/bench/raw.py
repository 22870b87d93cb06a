# SPDX-License-Identifier: Apache-2.0
"""The bare loop of a runtime: one image that is ready for the graph, again and again.

What a `Predictor` is compared with. The loops of ONNX Runtime and OpenVINO on the processor are
written down here as a user of these libraries would, with the settings that the backends promise,
and share no code with them. Other backends, precisions and devices are called below the predictor,
by `Backend.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from depth_core.bench.request import BenchRequest
from depth_core.manifest import Manifest
from depth_core.runtime.backends import open_backend

Loop: TypeAlias = Callable[[], None]
"""Answers once and throws the answer away."""


def open_raw(request: BenchRequest) -> Loop:
    """Make the loop of the runtime that the backend of `request` stands for.

    Raises:
        ConfigError: The graph takes no such batch.
        DepthError: The backend cannot run the model.
    """
    write = _LOOPS.get(request.backend)
    if write is None or request.precision != 'fp32' or request.device is not None:
        return _backend_loop(request)
    manifest = request.sized.manifest_of(request.model)
    if manifest.extra_inputs:
        return _backend_loop(request)
    request.check_batch(manifest)
    return write(request, manifest, network_images(manifest, request.batch))


def network_images(manifest: Manifest, count: int) -> NDArray[Any]:
    """Noise as the graph of `manifest` takes it, `count` images."""
    spec = manifest.input
    shape = (
        (count, spec.height, spec.width, 3)
        if spec.layout == 'NHWC'
        else (count, 3, spec.height, spec.width)
    )
    codes = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return codes if spec.dtype == 'uint8' else (codes / 255.0).astype(spec.dtype)


def _onnxruntime_loop(request: BenchRequest, manifest: Manifest, images: NDArray[Any]) -> Loop:
    import onnxruntime  # noqa: PLC0415  only the process that measures it loads it

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if request.threads is not None:
        options.intra_op_num_threads = request.threads
    providers = ['CPUExecutionProvider']
    session = onnxruntime.InferenceSession(str(request.model), options, providers=providers)
    declared = session.get_inputs()[0].shape
    free = {name: size for name, size in zip(declared, images.shape, strict=True) if name != size}
    if free:
        for name, size in free.items():
            options.add_free_dimension_override_by_name(name, size)
        session = onnxruntime.InferenceSession(str(request.model), options, providers=providers)
    outputs = _outputs(manifest)
    inputs = {manifest.input.name: images}

    def answer() -> None:
        session.run(outputs, inputs)

    return answer


def _openvino_loop(request: BenchRequest, _: Manifest, images: NDArray[Any]) -> Loop:
    import openvino  # noqa: PLC0415  as above

    settings: dict[str, Any] = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'}
    if request.threads is not None:
        settings['INFERENCE_NUM_THREADS'] = request.threads
    core = openvino.Core()
    model = core.read_model(request.model)
    if model.is_dynamic():
        model.reshape(list(images.shape))
    try:
        compiled = core.compile_model(model, 'CPU', settings)
    except RuntimeError:
        # As a user would find out: some graphs need more registers than AVX2 has in one snippet.
        settings['SNIPPETS_MODE'] = 'DISABLE'
        compiled = core.compile_model(model, 'CPU', settings)
    inference = compiled.create_infer_request()
    inference.set_input_tensor(openvino.Tensor(images, shared_memory=True))

    def answer() -> None:
        inference.infer()

    return answer


def _backend_loop(request: BenchRequest) -> Loop:
    backend = open_backend(request.sized, [request.backend], strict=True).backend
    request.check_batch(backend.manifest)
    images = network_images(request.seen_by(backend.manifest), request.batch)

    def answer() -> None:
        backend.run(images)

    return answer


def _outputs(manifest: Manifest) -> list[str]:
    output = manifest.output
    return [output.depth, *([] if output.sigma is None else [output.sigma])]


_LOOPS: Final[Mapping[str, Callable[[BenchRequest, Manifest, NDArray[Any]], Loop]]] = {
    'onnxruntime': _onnxruntime_loop,
    'openvino': _openvino_loop,
}
