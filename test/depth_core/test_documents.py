# SPDX-License-Identifier: Apache-2.0
"""JSON and YAML from outside: bounded, and refused by the place and the rule."""

from __future__ import annotations

import pytest

from depth_core.documents import DocumentError, parse_json
from depth_core.yaml_text import check_yaml, parse_yaml

LAUGHS = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{new}: &{new} [{", ".join([f"*{old}"] * 9)}]\n'
    for old, new in zip('abcdefgh', 'bcdefghi', strict=True)
)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('[' * 100_000, 'nests more than 64 levels'),
        ('{"a": ' * 70 + '1' + '}' * 70, 'a.a.a.* nests more than 64 levels'),
        ('1' * 5000, 'thousands of digits'),
        (f'{{"a": [{2**70}]}}', r'a\[0\] is a whole number of 71 bits; give one of 64'),
        ('{"a": {"b": "\\ud800"}}', r'a.b holds half a letter \(a lone surrogate\)'),
        ('{"\\udfff": 1}', 'a key of it holds half a letter'),
        ('{', 'Expecting property name'),
    ],
)
def test_json_that_is_not_taken(text: str, said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        parse_json(text)


def test_json_of_whole_letters() -> None:
    assert parse_json('{"a": ["\\ud83d\\ude00", 18446744073709551615, null]}') == {
        'a': ['\U0001f600', 2**64 - 1, None]
    }


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (LAUGHS, 'its aliases stand for .* values'),
        ('a: &a [*a]', 'an alias stands within what it repeats'),
        ('a: &a {<<: *a}', 'an alias stands within what it repeats'),
        ('[' * 5000, 'nests more than 64 levels'),
        ('- ' * 5000, 'nests more than 64 levels'),
        ('a: [', 'while parsing'),
    ],
)
def test_yaml_that_is_not_taken(text: str, said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        check_yaml(text)


@pytest.mark.parametrize(
    'text',
    [
        '2001-99-99',
        '!!python/object/apply:os.system [ls]',
        '? [1, 2]\n: 3',
        '!!float x',
        '1' * 5000,
    ],
)
def test_yaml_whose_values_are_none(text: str) -> None:
    with pytest.raises(DocumentError):
        parse_yaml(text)


def test_yaml_may_repeat_a_little() -> None:
    assert parse_yaml('a: &a {b: 1}\nc: *a') == {'a': {'b': 1}, 'c': {'b': 1}}
