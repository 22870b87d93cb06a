# SPDX-License-Identifier: Apache-2.0
"""Where the numbers of a report come from: command, model, data, machine and versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = (
    'depth_ros',
    'numpy',
    'torch',
    'timm',
    'onnxruntime',
    'openvino',
    'tensorrt',
    'opencv-python-headless',
)


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a report says about where its numbers come from."""

    command: str
    """The command line, to be run again."""
    model: str
    """Path of the model file."""
    model_sha256: str
    manifest: Mapping[str, Any] | None
    """What travels with the model, when anything does."""
    dataset: str
    """Name of the data set, as `open_dataset` takes it."""
    data: str
    """Where the data is."""
    split: str | None
    limit: int | None
    options: Mapping[str, object] = field(default_factory=dict)
    """Further options of the data set and the runtime."""


def environment() -> dict[str, object]:
    """The machine and the versions that matter for the numbers."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        'python': platform.python_version(),
        'platform': platform.platform(),
        'processor': _processor(),
        'cpus': os.cpu_count(),
        'versions': versions,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
