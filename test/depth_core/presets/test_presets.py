# SPDX-License-Identifier: Apache-2.0
"""What a preset has to say, how they are listed, and that their page is made from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depth_core.contracts import DepthKind
from depth_core.errors import ConfigError
from depth_core.manifest import read_manifest
from depth_core.presets import preset_files
from depth_core.presets.__main__ import main, page

MANIFESTS = {name: read_manifest(path) for name, path in preset_files().items()}


@pytest.mark.parametrize('name', MANIFESTS)
def test_a_preset_says_where_it_is_from_and_what_is_unsure(name: str) -> None:
    manifest = MANIFESTS[name]
    graph = manifest.graph
    assert manifest.name == name
    assert graph.source.startswith('https://')
    for said in (graph.summary, graph.license, graph.obtain, graph.unsure, manifest.domain.note):
        assert said
    assert not any('|' in one for one in graph.unsure), 'it would break the table of the page'


@pytest.mark.parametrize('name', MANIFESTS)
def test_a_preset_is_written_again_as_it_was_read(name: str) -> None:
    manifest = MANIFESTS[name]
    assert type(manifest).from_json(manifest.to_json()) == manifest


def test_those_that_know_no_metres_need_no_camera() -> None:
    relative = (DepthKind.INVERSE, DepthKind.UP_TO_SCALE)
    assert [
        name
        for name, manifest in MANIFESTS.items()
        if manifest.output.kind in relative and manifest.needs_intrinsics
    ] == []


def test_the_table_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    lines = capsys.readouterr().out.splitlines()
    named = {line.split()[0] for line in lines[1 : len(MANIFESTS) + 1]}
    assert named == set(MANIFESTS)
    assert any('metres x f / 300' in line and 'needed' in line for line in lines)


def test_one_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    main(['moge_2'])
    said = capsys.readouterr().out
    assert 'Ruicheng/moge-2-vits-normal-onnx' in said
    assert str(preset_files()['moge_2']) in said
    assert said.count('unsure') == len(MANIFESTS['moge_2'].graph.unsure)


def test_programs_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(['--json'])
    content = {one['name']: one for one in json.loads(capsys.readouterr().out)}
    assert set(content) == set(MANIFESTS)
    assert content['fsnet']['needs_camera']
    assert content['fsnet']['manifest'] == json.loads(preset_files()['fsnet'].read_text())


def test_an_unknown_one_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'metric3d_v2'"):
        main(['metric3dv2'])


def test_the_page_of_foreign_models_is_made_from_the_presets(repository: Path) -> None:
    text = (repository / 'docs' / 'foreign_models.md').read_text(encoding='utf-8')
    assert text.endswith(f'\n\n{page(MANIFESTS.values())}\n'), 'make docs renews it'
