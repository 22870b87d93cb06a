# SPDX-License-Identifier: Apache-2.0
"""The parameters of TensorRT engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from depth_core.runtime.engine import EngineOptions
from depth_ros.options.fields import parameter

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class EngineParameters:
    """How TensorRT engines are built, kept and run."""

    cache_dir: str = parameter(
        'Folder for the engines built on this machine (a path), which nobody else may write to; '
        'without one, the cache folder of the user.',
        default='',
    )
    workspace_mb: int = parameter(
        'Most GPU memory that building an engine may use for scratch; 0 leaves it to TensorRT.',
        default=0,
        minimum=0,
        maximum=1048576,
        unit='MiB',
    )
    cuda_graph: bool = parameter(
        'Record the work of one inference as a CUDA graph and replay it, which saves launches.',
        default=False,
    )

    @property
    def options(self) -> EngineOptions:
        """What the runtime takes."""
        return EngineOptions(
            cache_dir=Path(self.cache_dir).expanduser() if self.cache_dir else None,
            workspace_bytes=self.workspace_mb * MEBIBYTE or None,
            cuda_graph=self.cuda_graph,
        )
