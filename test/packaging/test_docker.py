# SPDX-License-Identifier: Apache-2.0
"""The Dockerfiles are sound, and install what setup.py and constraints.txt say."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from test.packaging.dockerfiles import (
    IMAGES,
    ROOT,
    Image,
    applies,
    constraints,
    declared,
    instructions,
    pip_lines,
    requirements_of,
)

FILES = sorted(ROOT.glob('docker/*.Dockerfile'))
HADOLINT = Path(sys.executable).with_name('hadolint')
PINNED = re.compile(r'[\w./-]+:[\w.-]*\d[\w.-]*')


@pytest.fixture(scope='module')
def known() -> list[Requirement]:
    return declared()


def identify(value: Path | Image) -> str:
    return value.name


def test_each_file_is_one_of_the_images() -> None:
    assert {file.name for file in FILES} == {image.file for image in IMAGES}


@pytest.mark.skipif(not HADOLINT.is_file(), reason='there is no hadolint for this platform')
@pytest.mark.parametrize('file', FILES, ids=identify)
def test_the_linter_has_no_complaint(file: Path) -> None:
    finished = subprocess.run(
        [HADOLINT, '--no-color', file], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (0, '')


@pytest.mark.skipif(not HADOLINT.is_file(), reason='there is no hadolint for this platform')
def test_the_linter_would_complain(tmp_path: Path) -> None:
    file = tmp_path / 'bad.Dockerfile'
    file.write_text('FROM python\nRUN pip install numpy\n')
    finished = subprocess.run([HADOLINT, file], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert 'DL3006' in finished.stdout


@pytest.mark.parametrize('file', FILES, ids=identify)
def test_images_are_based_on_a_version_and_run_as_a_user(file: Path) -> None:
    bases = [text.partition(' AS ')[0] for name, text in instructions(file) if name == 'FROM']
    stages = {text.partition(' AS ')[2] for name, text in instructions(file) if name == 'FROM'}
    foreign = [base for base in bases if base not in stages and '$' not in base]
    assert foreign
    assert [base for base in foreign if not PINNED.fullmatch(base)] == []
    users = [text for name, text in instructions(file) if name == 'USER']
    assert users == ['$UID']
    last = [name for name, _ in instructions(file)]
    assert last[-2:] == ['HEALTHCHECK', 'ENTRYPOINT']


@pytest.mark.parametrize('file', FILES, ids=identify)
def test_what_is_copied_is_in_the_build_context(file: Path, repository: Path) -> None:
    rules = (repository / '.dockerignore').read_text(encoding='utf-8').splitlines()
    kept = [rule.removeprefix('!') for rule in rules if rule.startswith('!')]
    copied = [
        source
        for name, text in instructions(file)
        if name == 'COPY' and not text.startswith('--from') and text != '. .'
        for source in text.split()[:-1]
    ]
    assert copied
    assert [source for source in copied if not (repository / source).exists()] == []
    assert [source for source in copied if not any(fnmatch(source, one) for one in kept)] == []


@pytest.mark.parametrize('image', IMAGES, ids=identify)
def test_what_pip_installs_is_declared_and_fits_the_constraints(
    image: Image, known: list[Requirement]
) -> None:
    pins = {canonicalize_name(one.name): one for one in constraints() if applies(one, image)}
    every_pin = {canonicalize_name(one.name) for one in constraints()}
    bounds: dict[str, Requirement] = {canonicalize_name(one.name): one for one in known}
    lines = list(pip_lines(image))
    assert [line.extras for line in lines if line.extras is not None], 'the package is installed'
    for line in lines:
        for one in line.requirements:
            name = canonicalize_name(one.name)
            assert name in bounds or name in every_pin, f'{one} is nowhere declared'
            if name in bounds:
                assert is_narrower(one, bounds[name]), f'{one}: setup.py has other bounds'
        for one in requirements_of(line, known):
            name = canonicalize_name(one.name)
            if name in pins:
                version = str(pins[name].specifier).removeprefix('==')
                assert one.specifier.contains(Version(version)), f'{one} against {pins[name]}'
        if requirements_of(line, known):
            assert '--constraint' in line.options
            assert 'constraints.txt' in line.options


def is_narrower(one: Requirement, bounds: Requirement) -> bool:
    """Whether every bound of a requirement lies within those of another."""
    return bool(one.specifier) and all(
        bounds.specifier.contains(bound.version) or bound in set(bounds.specifier)
        for bound in one.specifier
    )


@pytest.mark.parametrize(
    ('narrow', 'expected'),
    [('a>=12.8,<13', True), ('a>=12.8,<14', True), ('a>=12.8,<15', False), ('a', False)],
)
def test_bounds_are_compared(narrow: str, expected: bool) -> None:
    assert is_narrower(Requirement(narrow), Requirement('a>=12.8,<14')) is expected


def test_a_line_is_read_with_the_variables_of_its_image() -> None:
    jetpack6, jetpack7 = (
        [str(one) for line in pip_lines(image) for one in line.requirements]
        for image in IMAGES
        if image.file == 'jetson.Dockerfile'
    )
    assert 'cuda-bindings<13,>=12.8' in jetpack6
    assert 'cuda-bindings<14,>=12.8' in jetpack7


def test_an_extra_brings_its_requirements(known: list[Requirement]) -> None:
    (line, again) = pip_lines(IMAGES[0])
    assert line.extras == ('ros', 'onnx', 'openvino')
    names = {one.name for one in requirements_of(line, known)}
    assert {'numpy', 'ros-rclpy', 'onnxruntime', 'openvino'} <= names
    assert 'torch' not in names
    assert requirements_of(again, known) == []
