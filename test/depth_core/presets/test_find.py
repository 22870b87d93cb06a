# SPDX-License-Identifier: Apache-2.0
"""What the name of a manifest means."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_core.errors import ConfigError, ModelError
from depth_core.presets import find, preset_files


def test_a_preset_is_found_by_its_name() -> None:
    path = find('depth_anything_3_metric')
    assert path.name == 'depth_anything_3_metric.json'
    assert path == preset_files()['depth_anything_3_metric']


def test_a_file_comes_before_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'moge_2').write_text('{}')
    assert find('moge_2') == Path('moge_2')


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown preset 'depth_anything3_metric'; did you mean"
    ):
        find('depth_anything3_metric')


@pytest.mark.parametrize('name', ['no_such.json', 'folder/moge_2'])
def test_a_path_that_is_not_there_is_no_misspelt_preset(name: str) -> None:
    with pytest.raises(ModelError, match='does not exist'):
        find(name)


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='is a folder'):
        find(tmp_path)
