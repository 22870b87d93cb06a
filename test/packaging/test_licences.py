# SPDX-License-Identifier: Apache-2.0
"""Every package that comes along has its licence in the docs, and every pin is needed."""

from __future__ import annotations

import re
from importlib import metadata
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from test.packaging.dockerfiles import constraints, declared
from test.packaging.licences import PAGE, licence, needed, page, texts_of


def test_each_package_stands_in_the_table() -> None:
    stated = set(re.findall(r'^\| `([^`]+)` \|', PAGE.read_text(encoding='utf-8'), re.MULTILINE))
    assert sorted(set(needed()) - stated) == [], 'make docs'


def test_the_page_keeps_what_it_says_of_extras_that_are_not_installed() -> None:
    former = PAGE.read_text(encoding='utf-8')
    rows = re.compile(r'^\| `(?:mlflow-skinny|databricks-sdk)` .*$', re.MULTILINE)
    assert len(rows.findall(former)) == 2
    assert rows.findall(page(former)) == rows.findall(former)


def test_no_licence_is_unknown() -> None:
    assert '| not stated |' not in PAGE.read_text(encoding='utf-8')


def test_each_pin_is_of_a_package_that_something_needs() -> None:
    installed = {canonicalize_name(one.metadata['Name'] or '') for one in metadata.distributions()}
    pins = {canonicalize_name(one.name) for one in constraints()}
    assert sorted((pins & installed) - set(needed())) == [], 'remove them from constraints.txt'


def test_a_licence_is_what_the_package_says() -> None:
    assert licence('pytest') == 'MIT'


def test_a_licence_is_read_from_its_text_where_the_metadata_say_nothing(tmp_path: Path) -> None:
    information = tmp_path / 'quiet-1.dist-info'
    (information / 'licenses').mkdir(parents=True)
    (information / 'METADATA').write_text('Metadata-Version: 2.4\nName: quiet\nVersion: 1\n')
    (information / 'RECORD').write_text(
        'quiet-1.dist-info/licenses/LICENSE,,\nquiet/_vendor/other-1.dist-info/LICENSE,,\n'
    )
    text = 'Permission is hereby granted, free of charge, to any person\nobtaining a copy'
    (information / 'licenses' / 'LICENSE').write_text(text)
    assert texts_of(PathDistribution(information)) == 'MIT'


@pytest.mark.parametrize(
    ('package', 'least'),
    [
        ('torch', '2.6'),  # weights_only cannot be made to run code
        ('pillow', '10.3'),  # no known overflow in what is decoded here
        ('numpy', '1.16.3'),  # no pickles in arrays unless asked for
        ('onnx', '1.16'),  # no weights from outside the folder of a graph
        ('pyyaml', '5.4'),  # no objects from the loaders that are called safe
    ],
)
def test_the_lower_bounds_that_safety_relies_on(package: str, least: str) -> None:
    bounds = [
        Version(item.version)
        for one in declared()
        if canonicalize_name(one.name) == package
        for item in one.specifier
        if item.operator == '>='
    ]
    assert bounds
    assert min(bounds) >= Version(least)
