# SPDX-License-Identifier: Apache-2.0
"""The JSON that travels with a graph: what it takes, what its numbers mean, where it comes from.

An exported ONNX file carries its manifest twice: in its metadata under `METADATA_KEY` and beside
it as `<stem>.json`. A foreign graph gets one by hand; `EXAMPLE` shows the few keys that needs.
"""

from __future__ import annotations

from depth_core.manifest.files import (
    METADATA_KEY,
    SUFFIX,
    manifest_path,
    read_manifest,
    write_manifest,
)
from depth_core.manifest.manifest import EXAMPLE, Manifest
from depth_core.manifest.measured import (
    CalibratedSigma,
    ErrorSpread,
    GateError,
    Parity,
    PrecisionError,
)
from depth_core.manifest.reading import plain
from depth_core.manifest.sections import (
    AuxSection,
    Confidence,
    DomainSection,
    EstimatedIntrinsics,
    ExtraInput,
    GraphSection,
    Mask,
    Normal,
    SelfCheck,
)

__all__ = [
    'EXAMPLE',
    'METADATA_KEY',
    'SUFFIX',
    'AuxSection',
    'CalibratedSigma',
    'Confidence',
    'DomainSection',
    'ErrorSpread',
    'EstimatedIntrinsics',
    'ExtraInput',
    'GateError',
    'GraphSection',
    'Manifest',
    'Mask',
    'Normal',
    'Parity',
    'PrecisionError',
    'SelfCheck',
    'manifest_path',
    'plain',
    'read_manifest',
    'write_manifest',
]
