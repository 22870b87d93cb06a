# SPDX-License-Identifier: Apache-2.0
"""Every name of TensorRT that is used exists in each version that would come to use it.

The table of which version has which name, test/data/tensorrt_api.json, was made by importing the
Python bindings of each version and asking for the names; 8.5.2 is 8.6.1 without what its release
notes and source add.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from test.depth_core.runtime.engine.tensorrt_names import (
    ENGINE,
    Code,
    Table,
    column,
    read_table,
)
from test.depth_core.runtime.engine.tensorrt_walk import uses

FILES = tuple(
    path
    for path in sorted(ENGINE.glob('*.py'))
    if path.name == 'api.py' or 'engine.api import' in path.read_text(encoding='utf-8')
)
"""Where objects of TensorRT are handled."""
SUPPORTED = ('8.5.2', '8.6.1', '10.3.0', '10.13.3', '10.16.1', '11.0.0', '11.4.0', 'rtx-1.7.1')


@pytest.fixture(scope='module')
def table() -> Table:
    return read_table()


def sources() -> dict[Path, str]:
    return {path: path.read_text(encoding='utf-8') for path in FILES}


def missing(table: Table, texts: Mapping[Path, str]) -> list[str]:
    """What is touched by a version that lacks it, or is not in the table at all."""
    code = Code.of(texts)
    return sorted(
        f'{version}: {use}'
        for version in table.versions
        for use in uses(code, table, version)
        if not table.has(use.name, version)
    )


def test_no_version_comes_to_a_name_that_it_lacks(table: Table) -> None:
    assert not missing(table, sources())
    assert set(SUPPORTED) <= set(table.versions)


def test_the_walk_sees_what_is_used(table: Table) -> None:
    code = Code.of(sources())
    seen = {version: {use.name for use in uses(code, table, version)} for version in SUPPORTED}
    for version, names in seen.items():
        assert {'Builder.build_serialized_network', 'OnnxParser.parse'} <= names, version
        assert 'IExecutionContext.execute_async_v3' in names, version
        assert ('BuilderFlag.FP16' in names) is version.startswith('8'), version
        assert ('IBuilderConfig.progress_monitor' in names) is not version.startswith('8'), version
        assert ('ComputeCapability' in names) is version.startswith('rtx'), version
    assert 'NetworkDefinitionCreationFlag.EXPLICIT_BATCH' in seen['8.6.1']
    assert 'NetworkDefinitionCreationFlag.EXPLICIT_BATCH' not in seen['11.0.0']
    assert 'NetworkDefinitionCreationFlag.STRONGLY_TYPED' in seen['10.3.0']


@pytest.mark.parametrize(
    ('file', 'before', 'after', 'name'),
    [
        (  # a name of 8 and 10 only, without asking for it
            'builder.py',
            '    trt.register_plugins()\n',
            '    trt.register_plugins()\n    print(builder.platform_has_fast_fp16)\n',
            'Builder.platform_has_fast_fp16',
        ),
        (  # a guard is dropped
            'builder.py',
            "if trt.weakly_typed and hasattr(parser, 'set_flag'):",
            'if trt.weakly_typed:',
            'OnnxParser.set_flag',
        ),
        (  # a flag that 11 has no more
            'builder.py',
            '    if not trt.weakly_typed:\n        return\n',
            '',
            'ILayer.precision',
        ),
        (  # the condition is the wrong way round
            'api.py',
            "return hasattr(self.module, 'IProgressMonitor')",
            "return not hasattr(self.module, 'IProgressMonitor')",
            'IBuilderConfig.progress_monitor',
        ),
        (  # where there is no monitor
            'builder.py',
            'if trt.has_progress_monitor:',
            'if True:',
            'IProgressMonitor',
        ),
    ],
    ids=['unguarded', 'guard_dropped', 'early_return_dropped', 'inverted', 'always'],
)
def test_a_name_that_some_version_lacks_is_found(
    table: Table, file: str, before: str, after: str, name: str
) -> None:
    texts = sources()
    path = ENGINE / file
    assert texts[path].count(before) == 1, 'the code has changed: choose another mutation'
    texts[path] = texts[path].replace(before, after)
    complaints = missing(table, texts)
    assert any(line.endswith(f' {name}') for line in complaints), complaints


USES = """
    config.in_a_statement |= 1
    other = config
    other.of_another_name()
    with config as held:
        held.in_a_block()
    for each in (config,):
        each.in_a_loop()
    either = None or config
    either.in_a_choice()
    [config][0].in_a_list()
    def call(given=config.in_a_default):
        return lambda: config.in_a_lambda
    config.get_timing_cache().in_what_is_given()
    module.BuilderFlag.IN_AN_ENUMERATION
    module.InTheModule
"""
"""Ways to come to a name that no version has."""


def test_a_name_that_no_version_has_is_found_however_it_is_come_to(table: Table) -> None:
    texts = sources()
    path = ENGINE / 'builder.py'
    before = '    config.clear_flag(module.BuilderFlag.TF32)\n'
    assert texts[path].count(before) == 1
    texts[path] = texts[path].replace(before, before + USES)
    found = {line.rpartition(' ')[2].rpartition('.')[2] for line in missing(table, texts)}
    assert found == set(re.findall(r'\b(?:in_|of_|IN_|In)\w+', USES))


@pytest.mark.parametrize(
    ('use', 'said'),
    [
        ("setattr(config, 'nothing', 1)", r'no version has IBuilderConfig\.nothing'),
        ("operator.attrgetter('nothing')(config)", 'attrgetter hides which names are used'),
        ("ask = methodcaller('nothing')", 'methodcaller hides which names are used'),
        ("config.__getattribute__('nothing')", '__getattribute__ hides which names are used'),
        ('getattr(config, wanted)', 'a name of IBuilderConfig is asked for by a variable'),
        ('import tensorrt_rtx', 'tensorrt_rtx is imported by a statement'),
        ('from tensorrt import Builder', 'tensorrt is imported by a statement'),
    ],
)
def test_what_the_walk_cannot_follow_is_refused(table: Table, use: str, said: str) -> None:
    path = ENGINE / 'builder.py'
    before = '    config.clear_flag(module.BuilderFlag.TF32)\n'
    text = sources()[path].replace(before, f'{before}    {use}\n')
    with pytest.raises(AssertionError, match=said):
        missing(table, {**sources(), path: text})


def test_asking_for_a_name_that_no_version_has_is_found(table: Table) -> None:
    texts = sources()
    path = ENGINE / 'builder.py'
    texts[path] = texts[path].replace("'node_operator'", "'nodeoperator'")
    with pytest.raises(AssertionError, match=r'no version has ParserError\.nodeoperator'):
        missing(table, texts)


def test_the_table_is_true_of_the_tensorrt_that_is_installed(table: Table) -> None:
    module = pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is for x86-64 machines')
    names = {*table.everywhere, *table.only}
    assert column(module, names) == {name for name in names if table.has(name, 'rtx-1.7.1')}


def test_the_table_holds_what_is_used_and_no_more(table: Table) -> None:
    code = Code.of(sources())
    touched = {use.name for version in table.versions for use in uses(code, table, version)}
    assert {*table.everywhere, *table.only} == touched | code.asked
