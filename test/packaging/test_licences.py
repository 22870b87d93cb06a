# SPDX-License-Identifier: Apache-2.0
"""Every package that comes along has its licence in the docs, and every pin is needed."""

from __future__ import annotations

import re
from importlib import metadata

from packaging.utils import canonicalize_name

from test.packaging.dockerfiles import constraints
from test.packaging.licences import PAGE, licence, needed


def test_each_package_stands_in_the_table() -> None:
    stated = set(re.findall(r'^\| `([^`]+)` \|', PAGE.read_text(encoding='utf-8'), re.MULTILINE))
    assert sorted(set(needed()) - stated) == [], 'make docs'


def test_each_pin_is_of_a_package_that_something_needs() -> None:
    installed = {canonicalize_name(one.metadata['Name'] or '') for one in metadata.distributions()}
    pins = {canonicalize_name(one.name) for one in constraints()}
    assert sorted((pins & installed) - set(needed())) == [], 'remove them from constraints.txt'


def test_a_licence_is_what_the_package_says() -> None:
    assert licence('pytest') == 'MIT'
