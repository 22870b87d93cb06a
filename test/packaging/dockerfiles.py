# SPDX-License-Identifier: Apache-2.0
"""What the Dockerfiles install with pip, and whether that can be had.

`python -m test.packaging.dockerfiles` lets pip resolve each line for the Python and the processor
of its image, without installing; it needs a network, so that the tests do not run it. Markers of
packages that are not ours are those of the Python that runs this: pip knows no better.
"""

from __future__ import annotations

import re
import shlex
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parents[2]
_PROJECT: Final = re.compile(r'\.(?:\[(?P<extras>[\w,]+)\])?')

_WITHOUT_WHEELS: Final = ('empy',)
"""Pure Python in source alone."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image that is built from a Dockerfile."""

    name: str
    file: str
    python: str
    machine: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Of the build."""

    @property
    def environment(self) -> dict[str, str]:
        """What markers are evaluated against."""
        return {
            'python_version': self.python,
            'python_full_version': f'{self.python}.0',
            'sys_platform': 'linux',
            'platform_system': 'Linux',
            'platform_machine': self.machine,
        }


IMAGES: Final = (
    Image(name='cpu', file='cpu.Dockerfile', python='3.11', machine='x86_64'),
    Image(name='desktop', file='desktop.Dockerfile', python='3.12', machine='x86_64'),
    Image(name='jetpack6', file='jetson.Dockerfile', python='3.10', machine='aarch64'),
    Image(
        name='jetpack7',
        file='jetson.Dockerfile',
        python='3.12',
        machine='aarch64',
        arguments={'JETPACK': '7'},
    ),
)


@dataclass(frozen=True, kw_only=True)
class PipLine:
    """One `pip install` of an image, variables replaced."""

    image: Image
    options: tuple[str, ...]
    extras: tuple[str, ...] | None
    """Of this project; None where it is not installed by the line."""
    requirements: tuple[Requirement, ...]
    """What else is named."""


def instructions(file: Path) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile with its text; comments gone, continued lines joined."""
    lines = file.read_text(encoding='utf-8').splitlines()
    text = '\n'.join(line for line in lines if not line.lstrip().startswith('#'))
    for line in text.replace('\\\n', ' ').splitlines():
        name, _, rest = line.strip().partition(' ')
        if name:
            yield name.upper(), rest.strip()


def pip_lines(image: Image) -> Iterator[PipLine]:
    """Each `pip install` of the stages that an image is made of."""
    for command in _commands(image):
        words = shlex.split(command)
        if words[1:2] == ['install'] and Path(words[0]).name == 'pip':
            yield _pip_line(image, words[2:])


def _commands(image: Image) -> Iterator[str]:
    """The commands of all RUN instructions, with the variables that hold where they stand."""
    values: dict[str, str] = {}
    stages: dict[str, dict[str, str]] = {}
    for name, text in instructions(ROOT / 'docker' / image.file):
        replaced = string.Template(text).safe_substitute(values)
        if name == 'ARG':
            key, _, value = text.partition('=')
            values[key] = image.arguments.get(key, value)
        elif name == 'FROM':
            parent, _, alias = replaced.partition(' AS ')
            values = {**image.arguments, **values, **stages.get(parent, {})}
            stages[alias] = values = dict(values)
        elif name == 'ENV':
            values |= dict(word.split('=', 1) for word in shlex.split(replaced))
        elif name == 'RUN':
            yield from replaced.split('&&')


def _pip_line(image: Image, words: Sequence[str]) -> PipLine:
    options, requirements = [], []
    extras: tuple[str, ...] | None = None
    for place, word in enumerate(words):
        if word.startswith('-') or words[max(place - 1, 0)] == '--constraint':
            options.append(word)
        elif project := _PROJECT.fullmatch(word):
            extras = tuple((project['extras'] or '').split(',')) if project['extras'] else ()
        else:
            requirements.append(Requirement(word))
    return PipLine(
        image=image, options=tuple(options), extras=extras, requirements=tuple(requirements)
    )


def declared(root: Path = ROOT) -> list[Requirement]:
    """Every requirement of setup.py, with its extra as a marker."""
    with tempfile.TemporaryDirectory() as folder:
        for file in ('package.xml', 'setup.py', 'README.md', 'LICENSE'):
            shutil.copy(root / file, folder)
        command = [sys.executable, 'setup.py', '--quiet', 'egg_info']
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
        text = Path(folder, 'depth_ros.egg-info', 'PKG-INFO').read_text(encoding='utf-8')
    lines = HeaderParser().parsestr(text).get_all('Requires-Dist', [])
    return [Requirement(line) for line in lines]


def constraints(root: Path = ROOT) -> list[Requirement]:
    """The pins of constraints.txt."""
    lines = (root / 'constraints.txt').read_text(encoding='utf-8').splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def applies(requirement: Requirement, image: Image, extra: str = '') -> bool:
    """Whether a requirement is one in an image."""
    marker = requirement.marker
    return marker is None or marker.evaluate({**image.environment, 'extra': extra})


def requirements_of(line: PipLine, known: Sequence[Requirement]) -> list[Requirement]:
    """All that a line asks for, the requirements of this project's extras included."""
    found = list(line.requirements)
    if line.extras is not None and '--no-deps' not in line.options:
        for extra in ('', *line.extras):
            found += [one for one in known if applies(one, line.image, extra)]
    return list({str(one): one for one in found}.values())


def resolve(line: PipLine) -> subprocess.CompletedProcess[str]:
    """Let pip look for everything that a line installs, for the image that it installs it in."""
    image = line.image
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, 'constraints.txt')
        _build_wheels(Path(folder, 'wheels'))
        held = [one for one in constraints() if applies(one, image)]
        pins.write_text(''.join(f'{one.name}{one.specifier}\n' for one in held))
        wanted = requirements_of(line, declared())
        options = [option for option in line.options if option == '--no-deps']
        if '--constraint' in line.options:
            options += ['--constraint', str(pins)]
        platforms = [f'manylinux_2_{minor}_{image.machine}' for minor in (35, 34, 31, 28, 27, 17)]
        command = [
            *(sys.executable, '-m', 'pip', 'install', '--dry-run', '--quiet', '--report', '-'),
            *('--find-links', str(Path(folder, 'wheels'))),
            *('--ignore-installed', '--only-binary', ':all:', '--target', folder),
            *('--python-version', image.python, '--implementation', 'cp'),
            *(word for name in platforms for word in ('--platform', name)),
            *('--platform', f'manylinux2014_{image.machine}'),
            *options,
            *(f'{one.name}{_extras(one)}{one.specifier}' for one in wanted),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def _build_wheels(folder: Path) -> None:
    """Make wheels of what has none: for another platform pip takes nothing but wheels."""
    wanted = [one for one in constraints() if one.name in _WITHOUT_WHEELS]
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '-w', str(folder)]
    names = [f'{one.name}{one.specifier}' for one in wanted]
    subprocess.run([*command, *names], capture_output=True, check=True)


def _extras(requirement: Requirement) -> str:
    return f'[{",".join(sorted(requirement.extras))}]' if requirement.extras else ''


def main() -> int:
    """Resolve every line of every image."""
    failed = 0
    for image in IMAGES:
        for line in pip_lines(image):
            named = ' '.join(map(str, line.requirements))
            extras = '' if line.extras is None else f'.[{",".join(line.extras)}] '
            if not requirements_of(line, declared()):
                print(f'{image.name}: {extras}{named}: no dependencies')
                continue
            finished = resolve(line)
            failed += finished.returncode != 0
            found = len(re.findall(r'"download_info"', finished.stdout))
            said = f'{found} packages' if finished.returncode == 0 else finished.stderr[-800:]
            print(f'{image.name}: {extras}{named}: {said}')
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
