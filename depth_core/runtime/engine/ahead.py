# SPDX-License-Identifier: Apache-2.0
"""Building an engine before it is needed, for the commands that do."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final, get_args

from depth_core.errors import BackendError
from depth_core.names import printable
from depth_core.runtime.backends.base import BackendRequest, Precision
from depth_core.runtime.engine.api import load_tensorrt
from depth_core.runtime.engine.options import BuildProgress, EngineOptions, Flavour
from depth_core.runtime.engine.provide import open_engine
from depth_core.runtime.sized_model import chosen_manifest

FLAVOURS: Final[tuple[Flavour, ...]] = get_args(Flavour)
_MIB: Final = 1 << 20


def build_ahead(
    model: Path,
    *,
    manifest: Path | str | None = None,
    precision: Precision = 'fp32',
    max_batch: int = 1,
    workspace_mb: int | None = None,
    cache_dir: Path | None = None,
    flavour: Flavour | None = None,
    device: str | None = None,
) -> str:
    """Build the engine of `model` on the GPU that is here, compare it with the graph, keep it.

    Progress is written to stderr.

    Args:
        model: The ONNX file.
        manifest: What counts in place of the manifest that the graph has with it: the path of
            one, or the name of a preset.
        precision: What the engine computes in.
        max_batch: Most images at once.
        workspace_mb: Most GPU memory for scratch while building, MiB; None as in
            `EngineOptions`.
        cache_dir: Where engines are kept; None takes the user's cache.
        flavour: Which TensorRT; None takes the first that is installed.
        device: Which GPU, such as `cuda:1`; None takes the first.

    Returns:
        What was built and how it compares, in two lines.

    Raises:
        BackendError: There is no TensorRT or GPU, the build failed, or the engine does not answer
            as its graph or cannot be kept.
        ConfigError: More images at once were asked for than the graph takes.
        ModelError: The model is missing, corrupt or contradicts its manifest.
    """
    start = time.monotonic()
    options = EngineOptions(
        cache_dir=cache_dir,
        workspace_bytes=None if workspace_mb is None else workspace_mb * _MIB,
        max_batch=max_batch,
        report=_say_progress,
    )
    request = BackendRequest(
        path=model,
        manifest=None if manifest is None else chosen_manifest(manifest, model),
        precision=precision,
        device=device,
        engine=options,
    )
    engine = open_engine(request, flavour or _installed_flavour()).engine
    engine.check_kept()
    return (
        f'{printable(model)}: {precision} engine {engine.key[:12]} of {engine.tensorrt} '
        f'for {engine.gpu}, ready after {time.monotonic() - start:.1f} s\n  {engine.agreement}\n'
    )


def _installed_flavour() -> Flavour:
    """The first TensorRT that loads.

    Raises:
        BackendError: None does.
    """
    reasons = []
    for flavour in FLAVOURS:
        try:
            return load_tensorrt(flavour).flavour
        except BackendError as error:  # noqa: PERF203  two of them
            reasons.append(str(error))
    raise BackendError(' '.join(reasons))


def _say_progress(progress: BuildProgress) -> None:
    done = '' if progress.fraction is None else f', {progress.fraction:.0%}'
    sys.stderr.write(f'{progress.elapsed_s:6.1f} s  {progress.phase}{done}\n')
