# SPDX-License-Identifier: Apache-2.0
"""The licence of every package that is installed with this one.

`python -m test.packaging.licences` writes docs/licences.md from what the installed packages say of
themselves; `make docs` calls it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Final, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from test.packaging.dockerfiles import declared

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / 'docs' / 'licences.md'
_LONGEST: Final = 60
"""Characters of a licence; some packages put the whole text there."""
_HEAD: Final = """# Licences of what is installed

Made by `python -m test.packaging.licences` (`make docs`) from what each package states. The extras
are those that lead to it, directly or through others. Nothing of these packages is part of ours.

| package | licence | by |
|---|---|---|
"""


def needed() -> Mapping[str, frozenset[str]]:
    """Every installed package that a requirement leads to, and the extras it is needed for."""
    installed = {
        canonicalize_name(one.metadata['Name']): one.requires or ()
        for one in metadata.distributions()
        if one.metadata['Name']
    }
    found: dict[str, set[str]] = {}
    known = declared()
    for extra in ('core', *_extras(known)):
        waiting = [one for one in known if _is_of(one, extra)]
        seen = set()
        while waiting:
            requirement = waiting.pop()
            name = canonicalize_name(requirement.name)
            key = (name, frozenset(requirement.extras))
            if key in seen or name not in installed:
                continue
            seen.add(key)
            found.setdefault(name, set()).add(extra)
            waiting += [
                other
                for other in map(Requirement, installed[name])
                if _applies(other, {'', *requirement.extras})
            ]
    return {name: frozenset(extras) for name, extras in sorted(found.items())}


def page() -> str:
    """The page, with a row for each package."""
    rows = [
        f'| `{name}` | {licence(name)} | {", ".join(sorted(extras))} |'
        for name, extras in needed().items()
    ]
    return _HEAD + '\n'.join(rows) + '\n'


def licence(name: str) -> str:
    """What an installed package says of its licence."""
    about = cast('Message', metadata.metadata(name))
    classified = [
        line.rpartition(' :: ')[2]
        for line in about.get_all('Classifier') or ()
        if line.startswith('License ::')
    ]
    lines = (about.get('License') or '').strip().splitlines()
    stated = about.get('License-Expression') or ', '.join(classified) or ''.join(lines[:1])
    return re.sub(r'[|\s]+', ' ', stated)[:_LONGEST] or 'not stated'


def _extras(known: Sequence[Requirement]) -> list[str]:
    """Names of the extras of setup.py."""
    found = (re.findall(r'extra == "([^"]+)"', str(one.marker)) for one in known)
    return sorted({name for names in found for name in names})


def _is_of(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement of ours belongs to an extra, or to all."""
    return _applies(requirement, {extra}) and (
        extra == 'core' or not _applies(requirement, {'core'})
    )


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({'extra': extra}) for extra in extras)


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
