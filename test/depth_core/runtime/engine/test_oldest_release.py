# SPDX-License-Identifier: Apache-2.0
"""The oldest TensorRT that a manifest allows its graph to be built by."""

from __future__ import annotations

import pytest

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import BackendError, ConfigError
from depth_core.manifest import GraphSection, Manifest
from depth_core.runtime.engine.graph_checks import check_oldest


def test_a_manifest_asks_for_a_later_tensorrt() -> None:
    manifest = Manifest(
        name='plain',
        input=InputSpec(height=32, width=48),
        output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0),
        graph=GraphSection(min_trt='10.12'),
    )
    for release in ((10, 3, 0), (9, 13), (10, 11, 9)):
        with pytest.raises(BackendError, match=r'min_trt of plain is 10\.12.* is older'):
            check_oldest(manifest, flavour='tensorrt', release=release)
    for release in ((10, 12), (10, 12, 1), (11, 0)):
        check_oldest(manifest, flavour='tensorrt', release=release)
    check_oldest(manifest, flavour='tensorrt-rtx', release=(1, 7))  # numbers of its own


@pytest.mark.parametrize('words', ['new', '10.', '10.3-rc1', '10,3'])
def test_what_is_no_release_is_refused(words: str) -> None:
    with pytest.raises(ConfigError, match=r'graph\.min_trt'):
        GraphSection(min_trt=words)
