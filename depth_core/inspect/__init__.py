# SPDX-License-Identifier: Apache-2.0
"""What a graph takes and gives, which presets fit it, and a manifest to fill in where none does.

A file is read without an ONNX library and without its weights. Names, ranks and types are in it;
what its numbers mean is not.
"""

from __future__ import annotations

from depth_core.inspect.draft import BLANK, adapt_preset, draft_manifest
from depth_core.inspect.fits import Fit, presets_for

__all__ = ['BLANK', 'Fit', 'adapt_preset', 'draft_manifest', 'presets_for']
