# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.errors import ModelError
from depth_core.manifest import Manifest
from depth_core.runtime.graph import TensorInfo, check_graph

OUTPUTS = [TensorInfo(name='depth', dtype='float32', shape=None)]


def _check(batch: int, found: int | None) -> None:
    manifest = Manifest(
        name='any',
        input=InputSpec(height=4, width=6, batch=batch),
        output=OutputSpec(kind=DepthKind.METRIC, min_depth=0.5, max_depth=80.0, sigma=None),
    )
    taken = TensorInfo(name='image', dtype='uint8', shape=(found, 4, 6, 3))
    check_graph(Path('any.onnx'), manifest, [taken], OUTPUTS)


@pytest.mark.parametrize(('batch', 'found'), [(1, 1), (1, None), (3, 3), (3, None), (0, None)])
def test_a_graph_takes_the_batch_of_its_manifest_or_any(batch: int, found: int | None) -> None:
    _check(batch, found)


@pytest.mark.parametrize(
    ('batch', 'found', 'words'), [(0, 1, r'\[\?, 4, 6, 3\]'), (3, 1, r'\[3, 4, 6, 3\]')]
)
def test_a_graph_of_another_batch_is_refused(batch: int, found: int, words: str) -> None:
    with pytest.raises(ModelError, match=rf'\[1, 4, 6, 3\].*manifest says.*{words}'):
        _check(batch, found)
