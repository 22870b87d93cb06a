# SPDX-License-Identifier: Apache-2.0
"""What every file keeps to; the linter and the type checker hold the rest."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKES = ROOT / 'test' / 'fakes'
SPDX = 'SPDX-License-Identifier: Apache-2.0'
LINES_AT_MOST = 400

TEXT_NAMES = {'Makefile', 'run', '.gitignore', 'constraints.txt'}
TEXT_SUFFIXES = {'.py', '.md', '.rst', '.toml', '.yaml', '.yml', '.cfg', '.xml', '.rviz', '.json'}

FORBIDDEN_NAMES = re.compile(r'(?:^|_)(?:utils?|helpers?|misc|v\d+|new|old|tmp)(?:_|$)')
"""Names that say nothing about what is inside, or that keep a second copy of something."""

MACHINE_PATHS = re.compile(r'(?<![\w.-])/(?:work|root|home|Users|opt/(?:wheels|pypi))/')
UNFINISHED = re.compile(r'\b(?:TODO|FIXME|XXX|HACK)\b')


def kept_files() -> list[Path]:
    """Files that git has or would take; build products and ignored files are no concern."""
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / line for line in listed.stdout.splitlines())
    return [path for path in paths if path.is_file()]


KEPT = kept_files()
MODULES = [path for path in KEPT if path.suffix == '.py']
PACKAGED = [path for path in MODULES if path.relative_to(ROOT).parts[0].startswith('depth_')]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_rules_look_at_the_repository() -> None:
    assert ROOT / 'depth_core' / 'contracts' / '__init__.py' in PACKAGED
    assert ROOT / 'test' / 'conftest.py' in MODULES


def test_every_room_is_on_the_page_of_the_architecture() -> None:
    page = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    rooms = {path.relative_to(ROOT).parts[1].removesuffix('.py') for path in PACKAGED}
    missing = {room for room in rooms if f'`{room}`' not in page}
    assert missing == {'__init__', 'py.typed'} & rooms


def test_modules_are_short() -> None:
    lines = {named(path): path.read_text(encoding='utf-8').count('\n') for path in MODULES}
    long = {name: count for name, count in lines.items() if count > LINES_AT_MOST}
    assert long == {}, 'split them where their subject changes'


def test_the_licence_stands_at_the_top() -> None:
    commented = [
        path
        for path in KEPT
        if path.suffix in {'.py', '.yaml', '.yml', '.xml'}
        and path.relative_to(ROOT).parts[0] != 'recordings'  # bags, as the writer left them
    ]
    assert (
        [
            named(path)
            for path in commented
            if path.name != 'package.xml'  # it names its licence in an element
            and SPDX not in ''.join(path.read_text(encoding='utf-8').splitlines(keepends=True)[:2])
        ]
        == []
    ), f'begin with: # {SPDX}'


def test_a_package_says_what_it_is_for_and_what_is_public() -> None:
    folders = {path.parent for path in PACKAGED}
    assert (
        sorted(
            named(folder) for folder in folders if not introduces_itself(folder / '__init__.py')
        )
        == []
    ), 'an __init__.py needs a docstring and __all__'


def introduces_itself(init: Path) -> bool:
    if not init.is_file():
        return False
    tree = ast.parse(init.read_text(encoding='utf-8'))
    return ast.get_docstring(tree) is not None and '__all__' in set(assigned_names(tree))


def assigned_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_names_say_what_is_inside() -> None:
    assert [
        f'{named(path)}: {name}'
        for path in MODULES
        if FAKES not in path.parents  # they have the names of what they stand for
        for name in names_in(path)
        if is_empty_name(name)
    ] == []


def names_in(path: Path) -> Iterator[str]:
    yield from path.relative_to(ROOT).with_suffix('').parts
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def is_empty_name(name: str) -> bool:
    return not name.startswith('test_') and FORBIDDEN_NAMES.search(name.lower()) is not None


@pytest.mark.parametrize('name', ['utils', 'depth_utils', 'model_v2', 'helper', 'old_loss'])
def test_empty_names_are_seen(name: str) -> None:
    assert is_empty_name(name)


@pytest.mark.parametrize('name', ['newest_frame', 'resolution', 'mold', 'threshold_m', 'nyu_v'])
def test_other_names_pass(name: str) -> None:
    assert not is_empty_name(name)


def test_nothing_is_unfinished_or_bound_to_one_machine() -> None:
    text = [path for path in KEPT if path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES]
    assert [
        f'{named(path)}:{number}: {line.strip()}'
        for path in text
        if path != Path(__file__).resolve()  # the patterns themselves
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1)
        if MACHINE_PATHS.search(line) or UNFINISHED.search(line)
    ] == []


def test_lines_of_messages_are_indented() -> None:
    """A line break without two blanks behind it is shown escaped: it may be part of a name."""
    found = [
        f'{named(path)}:{node.lineno}'
        for path in MODULES
        if named(path).startswith(('depth_core', 'depth_ros'))
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == 'message' for target in node.targets)
        for part in ast.walk(node.value)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and part.value != '\n'  # joins or replaces
        and re.search(r'\n(?!  )', part.value)
    ]
    assert found == []


def test_commands_have_the_console_that_escapes_names() -> None:
    """A plain console of rich obeys names: `open_console` is where they get theirs."""
    assert [
        f'{named(path)}: {found}'
        for path in PACKAGED
        if path != ROOT / 'depth_core' / 'terminal.py'
        for found in plain_consoles(ast.parse(path.read_text(encoding='utf-8')))
    ] == []


CONSOLE_OF_ITS_OWN = {'Live', 'Progress', 'RichHandler', 'Status'}
"""Classes of rich that make a plain console where they are given none."""
WRITERS = {'get_console', 'inspect', 'install', 'print', 'print_json', 'track'}
"""Functions of rich that write to a plain console."""


def plain_consoles(tree: ast.Module) -> Iterator[str]:
    """What a module takes from rich, or calls, that is or makes a plain console."""
    of_rich: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            of_rich |= {
                alias.asname or alias.name.split('.')[0]: ''
                for alias in node.names
                if alias.name.split('.')[0] == 'rich'
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'rich':
            of_rich |= {alias.asname or alias.name: alias.name for alias in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        root = node.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or root.id not in of_rich:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else of_rich[root.id]
        given = {keyword.arg for keyword in node.keywords}
        if (
            called == 'Console'
            or called in WRITERS
            or (called in CONSOLE_OF_ITS_OWN and 'console' not in given)
        ):
            yield called


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('from rich.console import Console\nConsole(stderr=True)', ['Console']),
        ('from rich.console import Console as Plain\nPlain()', ['Console']),
        ('import rich.console\nrich.console.Console()', ['Console']),
        ('from rich import print as show\nshow(1)', ['print']),
        ('from rich.progress import Progress\nProgress()', ['Progress']),
        ('from rich import progress\nprogress.Progress(console=mine)', []),
        ('from rich.console import Console\ndef show(console: Console): console.print(1)', []),
        ('print(1)', []),
    ],
)
def test_plain_consoles_are_seen(text: str, found: list[str]) -> None:
    assert list(plain_consoles(ast.parse(text))) == found
