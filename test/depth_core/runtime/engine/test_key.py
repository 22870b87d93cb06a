# SPDX-License-Identifier: Apache-2.0
"""What makes another key."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest

from depth_core.runtime.engine.key import EngineKey, key_of

KEY = EngineKey(
    graph_sha256='ab' * 32,
    input_shape=(1, 64, 96, 3),
    max_batch=1,
    precision='fp16',
    tensorrt='10.3.0.30',
    flavour='tensorrt',
    gpu='Orin',
    compute_capability='8.7',
    multiprocessors=16,
    memory_gib=61,
    platform='Linux-aarch64',
    workspace_bytes=None,
)


def test_a_key_is_the_hash_of_canonical_json() -> None:
    text = b'{"a":[1,null],"b":"\\u00e9"}'
    assert key_of({'b': 'é', 'a': [1, None]}) == hashlib.sha256(text).hexdigest()
    assert KEY.digest == key_of(KEY.fields())
    assert KEY.fields()['input_shape'] == [1, 64, 96, 3]


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('graph_sha256', 'cd' * 32),
        ('input_shape', (1, 64, 97, 3)),
        ('max_batch', 2),
        ('precision', 'fp32'),
        ('tensorrt', '10.3.0.31'),
        ('flavour', 'tensorrt-rtx'),
        ('gpu', 'Orin Nano'),
        ('compute_capability', '8.6'),
        ('multiprocessors', 8),
        ('memory_gib', 30),
        ('platform', 'Linux-x86_64'),
        ('workspace_bytes', 1 << 30),
        ('tf32', True),
        ('flags', ('STRICT_NANS',)),
        ('schema', 2),
    ],
)
def test_whatever_differs_is_another_key(field: str, value: Any) -> None:
    assert dataclasses.replace(KEY, **{field: value}).digest != KEY.digest


def test_every_field_is_tried_above() -> None:
    tried = set(test_whatever_differs_is_another_key.pytestmark[0].args[1])
    assert {name for name, _ in tried} == {item.name for item in dataclasses.fields(EngineKey)}
