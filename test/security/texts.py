# SPDX-License-Identifier: Apache-2.0
"""Hostile text: manifests, configurations and lists."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from test.security.graphs import PLAIN


def _text(content: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text(content, encoding='utf-8', errors='surrogatepass')

    return make


def _bytes(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def _packed(content: bytes, parts: int = 1) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(gzip.compress(content, 6) * parts)

    return make


def _manifest(key: str, value: object) -> Callable[[Path], None]:
    """A manifest that is whole but for one dotted key."""
    content: Any = copy.deepcopy(dict(PLAIN))
    inside = content
    *groups, last = key.split('.')
    for group in groups:
        inside = inside.setdefault(group, {})
    inside[last] = value
    return _text(json.dumps(content))


_LAUGHS: Final = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{new}: &{new} [{", ".join([f"*{old}"] * 9)}]\n'
    for old, new in zip('abcdefghi', 'bcdefghij', strict=True)
)

MANIFESTS: Final[Mapping[str, Callable[[Path], None]]] = {
    'empty.json': _text(''),
    'list.json': _text('[]'),
    'nested_lists.json': _text('[' * 100_000),
    'nested_groups.json': _text('{"a":' * 50_000),
    'nested_options.json': _manifest('options', json.loads('{"a":' * 400 + '1' + '}' * 400)),
    'digits.json': _text('{"version": ' + '9' * 5000 + '}'),
    'version_huge.json': _manifest('version', 1 << 70),
    'surrogate.json': _manifest('name', '\ud800'),
    'surrogate_key.json': _manifest('\udfff', 1),
    'surrogate_output.json': _manifest('depth.output', '\udc80'),
    'not_utf8.json': _bytes(b'{"name": "\xff\xfe\xfd"}'),
    'zeros.json': _bytes(bytes(1000)),
    'nan.json': _text('{"version": 2, "name": NaN}'),
    'escapes.json': _manifest('\x1b[2Jkey\n', 1),
    'long_key.json': _manifest('k' * 1_000_000, 1),
    'long_value.json': _manifest('depth.unit_m', 'v' * 1_000_000),
    'unit_zero.json': _manifest('depth.unit_m', 0),
    'unit_negative.json': _manifest('depth.unit_m', -1),
    'unit_infinite.json': _text(json.dumps({**PLAIN, 'depth': {'unit_m': float('inf')}})),
    'unit_huge.json': _manifest('depth.unit_m', 10**400),
    'divisor_zero.json': _manifest('divisor', 0),
    'divisor_negative.json': _manifest('divisor', -32),
    'divisor_huge.json': _manifest('divisor', 1 << 62),
    'multiple_zero.json': _manifest('input.size', {'fixed': [32, 32], 'multiple': 0}),
    'size_zero.json': _manifest('input.size', {'fixed': [0, 0]}),
    'size_huge.json': _manifest('input.size', {'fixed': [1 << 20, 1 << 20]}),
    'target_huge.json': _manifest('input.size', {'mode': 'short', 'target': 1 << 40}),
    'batch_huge.json': _manifest('input.batch', 1 << 30),
    'batch_negative.json': _manifest('input.batch', -1),
    'range_turned.json': _manifest('depth.min_m', 90.0),
    'std_zero.json': _manifest('input.std', [0, 0, 0]),
    'scale_zero.json': _manifest('input.scale', 0),
    'true_number.json': _text('{"version": true}'),
    'channel.json': _manifest('depth.channel', {'axis': 1 << 40, 'index': 0}),
    'rtol.json': _manifest('graph', {'selfcheck': {'rtol': 0}}),
    'release.json': _manifest('graph', {'min_trt': '1' * 100_000}),
    'thousand_inputs.json': _manifest('extra_inputs', [{'name': 'image', 'kind': 'focal'}] * 1000),
}

CONFIGURATIONS: Final[Mapping[str, Callable[[Path], None]]] = {
    'laughs.yaml': _text(_LAUGHS),
    'itself.yaml': _text('model: &a {options: *a}'),
    'merged.yaml': _text('model: &a {<<: *a}'),
    'nested.yaml': _text('model: ' + '[' * 20_000),
    'dashes.yaml': _text('- ' * 20_000),
    'object.yaml': _text('model: !!python/object/apply:os.system ["true"]'),
    'date.yaml': _text('model: 2001-99-99'),
    'digits.yaml': _text('trainer: {max_steps: ' + '9' * 5000 + '}'),
    'binary.yaml': _bytes(bytes(range(256)) * 10),
    'escapes.yaml': _text('"\\e[2J\\nkey": 1'),
    'list.yaml': _text('[1, 2]'),
    'unhashable.yaml': _text('? {a: 1}\n: 2'),
    'many_keys.yaml': _text(''.join(f'key{number}: 1\n' for number in range(2000))),
}

LISTS: Final[Mapping[str, Callable[[Path], None]]] = {
    'bomb.txt.gz': _packed(b'a' * (64 << 20)),
    'lines.txt.gz': _packed(b'\n' * (1 << 20), 40),
    'parts.txt.gz': _packed(b'a\n' * (1 << 20), 20),
    'cut.txt.gz': _bytes(gzip.compress(b'a\n' * 1000)[:-8]),
    'damaged.txt.gz': _bytes(gzip.compress(b'a\n' * 1000)[:20] + bytes(40)),
    'no_gzip.txt.gz': _bytes(b'hello'),
    'long_line.txt': _bytes(b'a' * 100_000),
    'zeros.txt': _bytes(bytes(1000)),
    'empty.txt': _bytes(b''),
    'not_utf8.txt': _bytes(b'\x80\xfe\xfd' * 3),
}
