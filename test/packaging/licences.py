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
_TEXTS: Final = {
    'Apache-2.0': 'Apache License Version 2.0',
    'MIT': 'Permission is hereby granted, free of charge, to any person obtaining a copy',
    'BSD-3-Clause': 'Neither the name of',
}
"""Words by which the text of a licence is known, where nothing else says which it is."""
_HEAD: Final = """# Licences of what is installed

Made by `python -m test.packaging.licences` (`make docs`) from what each package states in its
metadata, in its package.xml, or by the text of a licence. The extras are those that lead to it,
directly or through others. Nothing of these packages is part of ours.

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


def page(former: str) -> str:
    """The page, with a row for each package.

    Args:
        former: The page until now; what it says of extras that are not installed here stays.
    """
    absent = _absent_extras()
    rows: dict[str, tuple[str, set[str]]] = {}
    for name, stated, extras in re.findall(
        r'^\| `(\S+)` \| (.*) \| (.*) \|$', former, re.MULTILINE
    ):
        if kept := absent.intersection(extras.split(', ')):
            rows[name] = stated, kept
    for name, extras in needed().items():
        _, kept = rows.get(name, ('', set()))
        rows[name] = licence(name), kept | extras
    return _HEAD + ''.join(
        f'| `{name}` | {stated} | {", ".join(sorted(extras))} |\n'
        for name, (stated, extras) in sorted(rows.items())
    )


def licence(name: str) -> str:
    """What an installed package says of its licence: in its metadata, or in the files with it."""
    package = metadata.distribution(name)
    about = cast('Message', package.metadata)
    classified = [
        line.rpartition(' :: ')[2]
        for line in about.get_all('Classifier') or ()
        if line.startswith('License :: ') and not line.endswith(' :: OSI Approved')
    ]
    lines = (about.get('License') or '').strip().splitlines()
    stated = (
        about.get('License-Expression')
        or ', '.join(classified)
        or ''.join(lines[:1])
        or _of_manifest(package)
        or texts_of(package)
        or _of_lists(package)
    )
    return re.sub(r'[|\s]+', ' ', stated)[:_LONGEST] or 'not stated'


def _of_manifest(package: metadata.Distribution) -> str:
    """What the package.xml says that comes with a package of ROS."""
    stated = []
    for path in _files(package, r'(^|/)package\.xml$'):
        stated += re.findall(r'<license[^>]*>([^<]+)</license>', path.read_text(encoding='utf-8'))
    return ', '.join(dict.fromkeys(stated))


def texts_of(package: metadata.Distribution) -> str:
    """The licences whose texts come with a package, but for those of what it carries in it."""
    stated = []
    own = r'(^|/)[^/]*\.dist-info/(licenses/)?(LICEN[CS]E|COPYING)[^/]*$'
    for path in _files(package, own):
        text = ' '.join(path.read_text(encoding='utf-8', errors='replace').split())
        stated += [name for name, words in _TEXTS.items() if words in text]
    return ', '.join(dict.fromkeys(stated))


def _of_lists(package: metadata.Distribution) -> str:
    """What stands for a package that only names others and brings no file: those have a row."""
    inside = [file for file in package.files or () if '.dist-info/' not in str(file)]
    no_files = bool(package.requires) and not inside
    return 'of the packages that it names, no file itself' if no_files else ''


def _files(package: metadata.Distribution, pattern: str) -> list[Path]:
    found = [file for file in package.files or () if re.search(pattern, str(file))]
    nested = [file for file in found if '_vendor/' not in str(file)]
    paths = (Path(str(package.locate_file(file))) for file in nested)
    return [path for path in paths if path.is_file()]


def _extras(known: Sequence[Requirement]) -> list[str]:
    """Names of the extras of setup.py."""
    found = (re.findall(r'extra == "([^"]+)"', str(one.marker)) for one in known)
    return sorted({name for names in found for name in names})


def _absent_extras() -> set[str]:
    """The extras of setup.py of which a package is not installed here."""
    installed = {canonicalize_name(one.metadata['Name'] or '') for one in metadata.distributions()}
    known = declared()
    return {
        extra
        for extra in _extras(known)
        for one in known
        if _is_of(one, extra) and canonicalize_name(one.name) not in installed
    }


def _is_of(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement of ours belongs to an extra, or to all."""
    return _applies(requirement, {extra}) and (
        extra == 'core' or not _applies(requirement, {'core'})
    )


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({'extra': extra}) for extra in extras)


if __name__ == '__main__':
    PAGE.write_text(page(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
