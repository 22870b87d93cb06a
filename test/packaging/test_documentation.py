# SPDX-License-Identifier: Apache-2.0
"""What the documents tell a reader to type or to open exists."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import runpy
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import pytest

from depth_core.models.__main__ import page
from depth_ros.frames.outputs import OUTPUTS, RELATIVE_OUTPUTS
from test.packaging.engine_tables import PAGE, TABLES, filled

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md'), *ROOT.glob('*/README.md')])

COMMAND = re.compile(r'(?:python|torchrun .*?) -m (depth_(?:core|ros)(?:\.\w+)+)([^\n]*)')
PATH = re.compile(r'(?<![\w./])((?:config|launch|docs|examples|test|docker)/[\w./-]*\w)')
LINK = re.compile(r'\]\(([^)#]+)\)')
LAUNCH = re.compile(r'((?:examples/)?\w+\.launch\.py)((?: \w+:=\S+)*)')
TARGET = re.compile(r'\bmake ([a-z]+)\b')


def text_of(document: Path) -> str:
    """The text, with the lines that a trailing backslash continues joined."""
    return document.read_text(encoding='utf-8').replace('\\\n', ' ')


def commands() -> dict[str, set[str]]:
    """Each module that a document runs, with the options it is given anywhere."""
    found: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        for module, arguments in COMMAND.findall(text_of(document)):
            given = arguments.split('--ros-args', maxsplit=1)[0].split(' #')[0]
            found.setdefault(module, set()).update(re.findall(r'(?<=\s)(--[\w.]+)', given))
    return found


COMMANDS = commands()


@cache
def help_of(module: str) -> str:
    """What `python -m module --help` prints; run here, where torch has been imported already."""
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        warnings.catch_warnings(),
    ):
        patch.setattr(sys, 'argv', [module, '--help'])
        # That the module was imported before, by another test.
        warnings.simplefilter('ignore', RuntimeWarning)
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name='__main__', alter_sys=True)
    assert not ended.value.code
    return printed.getvalue()


def identify(document: Path) -> str:
    return str(document.relative_to(ROOT))


def test_the_documents_were_read() -> None:
    assert {'README.md', 'docs/dependencies.md'} <= {identify(path) for path in DOCUMENTS}
    assert '--trainer.max_steps' in COMMANDS['depth_core.train']


@pytest.mark.parametrize('module', sorted(COMMANDS))
def test_a_command_has_the_options_it_is_shown_with(module: str) -> None:
    known = set(re.findall(r'--[\w.]+', help_of(module)))
    assert COMMANDS[module] - known == set()


SHIPPED = re.compile(r'-m depth_core\.(?:bench|predict)\b[^\n`]*\s+densedepth_small\b[^\n`]*')


def test_the_shipped_model_is_shown_with_the_camera_that_it_needs() -> None:
    shown = [line for file in DOCUMENTS for line in SHIPPED.findall(text_of(file))]
    assert shown
    assert [line for line in shown if not re.search(r'--(?:hfov_deg|focal_px) \d', line)] == []


NODE = re.compile(r'(?:-m depth_ros\.mono_depth_node|docker run) [^\n]*-r image:=[^\n]*')


def test_a_node_whose_images_are_named_is_shown_with_their_calibration() -> None:
    shown = [line for file in DOCUMENTS for line in NODE.findall(text_of(file))]
    assert len(shown) >= 5
    assert [line for line in shown if '-r camera_info:=' not in line] == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=identify)
def test_links_lead_somewhere(document: Path) -> None:
    links = [link for link in LINK.findall(text_of(document)) if '://' not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=identify)
def test_files_that_are_named_exist(document: Path) -> None:
    assert [name for name in PATH.findall(text_of(document)) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=identify)
def test_make_targets_that_are_named_exist(document: Path) -> None:
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    code = re.findall(r'`([^`\n]+)`|^    (.+)$', text_of(document), flags=re.MULTILINE)
    targets = {name for pair in code for name in TARGET.findall(' '.join(pair))}
    assert {
        name for name in targets if not re.search(rf'^{name}:', makefile, re.MULTILINE)
    } == set()


def test_launch_files_have_the_arguments_they_are_shown_with() -> None:
    unknown = []
    for file, given in LAUNCH.findall(text_of(ROOT / 'README.md')):
        declared = launch_arguments(ROOT / ('' if '/' in file else 'launch') / file)
        assert declared, f'{file} declares nothing'
        unknown += [name for name in re.findall(r'(\w+):=', given) if name not in declared]
    assert unknown == []


def launch_arguments(file: Path) -> set[str]:
    """What a launch file declares, read without the launch library."""
    tree = ast.parse(file.read_text(encoding='utf-8'))
    declared = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == 'DeclareLaunchArgument'
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
    parameters = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'PARAMETERS'
    ]
    return declared.union(*map(ast.literal_eval, parameters))


def test_the_page_of_parameters_is_the_table_of_the_node() -> None:
    finished = subprocess.run(
        [sys.executable, '-m', 'depth_ros.parameters'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() in (ROOT / 'docs' / 'parameters.md').read_text(encoding='utf-8')


def test_the_page_of_models_is_what_the_families_state() -> None:
    text = (ROOT / 'docs' / 'models.md').read_text(encoding='utf-8')
    assert text.endswith(f'\n\n{page()}\n')


def test_the_tables_of_the_engines_are_those_of_the_code_and_of_the_results() -> None:
    text = PAGE.read_text(encoding='utf-8')
    assert set(re.findall(r'<!-- table: (\w+) -->', text)) == set(TABLES)
    assert filled(text) == text, 'make docs renews them'


def test_the_topics_of_the_readme_are_those_of_the_node() -> None:
    rows = re.findall(r'^\| out \| .*$', text_of(ROOT / 'README.md'), flags=re.MULTILINE)
    assert set(rows[:-2]) == {
        f'| out | `{output.topic}` | {output.type_text} | {output.sentence} |'
        for output in (*OUTPUTS, *RELATIVE_OUTPUTS)
    }
    assert rows[-2].startswith('| out | `scale` | Float64 |')
    assert rows[-1].startswith('| out | `/diagnostics` | DiagnosticArray |')


def test_the_rates_at_the_head_of_the_readme_are_those_that_were_measured() -> None:
    found = json.loads((ROOT / 'docs' / 'results' / 'shipped_models.json').read_text())
    rates = [round(max(model['frames_per_s'].values())) for model in found['models'].values()]
    readme = text_of(ROOT / 'README.md')
    assert f'[{min(rates)} to {max(rates)} images a second]' in readme
