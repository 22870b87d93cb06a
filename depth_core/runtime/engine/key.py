# SPDX-License-Identifier: Apache-2.0
"""What a plan depends on, and the key made of it: another of any of these needs another plan."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from depth_core.runtime.engine.options import Flavour

SCHEMA: Final = 1
"""Raised when the meaning of a field changes, or the way in which graphs become plans."""


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """Everything that a plan depends on."""

    graph_sha256: str
    """Of the ONNX file and its external data: `GraphHashes.of`."""
    input_shape: tuple[int, ...]
    """Of one image, as the manifest states it."""
    max_batch: int
    precision: str
    tensorrt: str
    """Full version."""
    flavour: Flavour
    gpu: str
    """Name of the GPU."""
    compute_capability: str
    """As `8.7`."""
    multiprocessors: int
    memory_gib: int
    """Of the GPU, whole GiB: variants of one name differ by more, reservations by less."""
    platform: str
    """System and processor, as `Linux-aarch64`."""
    workspace_bytes: int | None
    tf32: bool = False
    flags: tuple[str, ...] = ()
    """Of the builder and the parser, whatever else is set, sorted."""
    schema: int = SCHEMA

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all of it, 64 hexadecimal digits."""
        return key_of(self.fields())

    def fields(self) -> dict[str, Any]:
        """All of it in the types that reading its JSON gives back."""
        fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return fields


def key_of(fields: dict[str, Any]) -> str:
    """SHA-256 over canonical JSON: sorted keys, no spaces, ASCII."""
    text = json.dumps(fields, sort_keys=True, separators=(',', ':'), allow_nan=False)
    return hashlib.sha256(text.encode('ascii')).hexdigest()
