# SPDX-License-Identifier: Apache-2.0
"""Manifests of public graphs, one JSON file each, by the names that commands and the node take.

The weights are not ours and do not come with this package: a manifest says where to get the graph
or how to export it, under which licence, how its numbers become metres, and what of that is not
proven. `python -m depth_core.presets` lists them.
"""

from __future__ import annotations

from depth_core.presets.files import MANIFEST_HELP, find, preset_files

__all__ = ['MANIFEST_HELP', 'find', 'preset_files']
