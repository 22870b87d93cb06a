# SPDX-License-Identifier: Apache-2.0
"""The model that the node serves: opened as the parameters say, checked, and described."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from depth_core.errors import ModelError
from depth_core.manifest import ErrorSpread, Manifest, PrecisionError, read_manifest
from depth_core.runtime import Predictor
from depth_core.runtime.backends import default_chain
from depth_core.runtime.engine import EngineOptions
from depth_core.runtime.sized_model import chosen_manifest
from depth_ros.frames.camera import initial_state
from depth_ros.health.identity import KEY_CHARACTERS, Identity
from depth_ros.settings import Settings


def open_model(path: Path, settings: Settings, options: EngineOptions) -> Predictor:
    """Open the model at `path`.

    Args:
        path: An ONNX file or a checkpoint.
        settings: The parameters of the node.
        options: How an engine is built, and what is told of it meanwhile.

    Raises:
        DepthError: The model or a parameter is wrong, or no backend can run it as asked.
    """
    if path.suffix == '.onnx':  # before an engine is built of what cannot be served
        check_model(path, manifest_of(path, settings), settings)
    predictor = Predictor.open(
        path,
        manifest=settings.manifest or None,
        backend=settings.backends,
        precision=settings.precision,
        strict=settings.strict_backend,
        threads=settings.threads or None,
        device=settings.device or None,
        engine=options,
        image_size=settings.image_size,
        assumed_hfov_deg=settings.assumed_hfov_deg or None,
    )
    check_model(path, predictor.manifest, settings)
    return predictor


def manifest_of(path: Path, settings: Settings) -> Manifest:
    """The manifest that counts for the graph at `path`.

    Raises:
        ConfigError: It is not valid, or there is no preset of its name.
        ModelError: It is missing.
    """
    return chosen_manifest(settings.manifest, path) if settings.manifest else read_manifest(path)


def check_model(path: Path, manifest: Manifest, settings: Settings) -> None:
    """Refuse a model that this node cannot serve.

    Raises:
        ModelError: It does not give metres, there is no source of scale, and it is not to be
            published as relative.
        ConfigError: A parameter contradicts it.
    """
    serves = settings.scale_source != 'none' or settings.publish_relative
    if not manifest.output.kind.is_metric and not serves:
        message = (
            f'model {manifest.name} ({path}) gives {manifest.output.kind} depth and this node '
            'publishes metres; choose a metric model, or set scale_source to sparse_depth or '
            'lidar where another sensor measures depth; up_to_scale depth also takes '
            'ground_plane, speed and fixed. publish_relative publishes it as it is, without unit.'
        )
        raise ModelError(message)
    settings.check(manifest)


def identity_of(predictor: Predictor, settings: Settings) -> Identity:
    """What the diagnostics say of an open model."""
    manifest = predictor.manifest
    error = manifest.precision_error
    return Identity(
        model=manifest.name,
        model_file=str(predictor.path),
        weights_sha256=manifest.weights_sha256,
        backend=predictor.backend,
        device=settings.device,
        precision=predictor.precision,
        precision_error='' if error is None else precision_text(error),
        engine=predictor.engine,
        passed_over=dict(predictor.passed_over),
        fell_back=settings.names_backends and bool(predictor.passed_over),
        scale_state=initial_state(manifest),
        transport=settings.image_transport,
    )


def backends_left(path: Path, predictor: Predictor, settings: Settings) -> tuple[str, ...]:
    """The backends that may run the model should the one in use fail, the preferred one first."""
    if settings.strict_backend:
        return (predictor.backend,)
    names = settings.backends if settings.names_backends else default_chain(path)
    refused = dict(predictor.passed_over)
    return tuple(name for name in names if name not in refused)


def described(identity: Identity, manifest: Manifest) -> Iterator[str]:
    """Say what serves, one line a subject, for the log."""
    spec, output = manifest.input, manifest.output
    size = f'{spec.width}x{spec.height}' if spec.size is None else 'sized by the camera'
    limits = f' from {output.min_depth:g} to {output.max_depth:g} m'
    depth = f'depth{limits}' if output.kind.is_metric else f'{output.kind} depth'
    yield f'model {manifest.name}, {size}, {depth}'
    if identity.engine is not None:
        engine = identity.engine
        yield (
            f'engine {engine.key[:KEY_CHARACTERS]} of {engine.tensorrt} on {engine.gpu}, '
            f'{identity.precision}: {engine.agreement}'
        )
    if identity.precision_error:
        yield f'{identity.precision} differs from fp32: {identity.precision_error}'


def precision_text(error: PrecisionError) -> str:
    """Say how far a graph of lower precision is from the one in fp32."""
    spreads = [f'depth {_spread(error.depth)}']
    if error.sigma is not None:
        spreads.append(f'sigma {_spread(error.sigma)}')
    if error.abs_rel_change is not None:
        spreads.append(f'AbsRel {error.abs_rel_change:+.2%} on {error.abs_rel_set}')
    return f'{"; ".join(spreads)} ({error.method}, {error.image_count} images)'


def _spread(spread: ErrorSpread) -> str:
    return f'mean {spread.mean:.2%}, 99.9 % of pixels {spread.p999:.2%}, max {spread.max:.2%}'
