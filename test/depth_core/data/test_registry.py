# SPDX-License-Identifier: Apache-2.0
"""Each row of the table of data sets is true."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from depth_core.data.registry import (
    DATASETS,
    DatasetRow,
    _builder,
    dataset_table,
    detect_dataset,
    evaluation_options,
    open_dataset,
)
from depth_core.errors import ConfigError, DataError
from test.packaging.data_table import PAGE, renewed


@pytest.mark.parametrize('name', DATASETS)
def test_the_row_names_code_that_takes_its_options(name: str) -> None:
    known = inspect.signature(_builder(name)).parameters
    assert set(DATASETS[name].options) <= set(known)
    assert {'height', 'width'} <= set(known)


@pytest.mark.parametrize('name', DATASETS)
def test_what_a_data_set_offers_it_takes_options_for(name: str) -> None:
    known = set(inspect.signature(_builder(name)).parameters)
    if name != 'mix':
        assert ('sequences' in DATASETS[name].offers) is ('neighbours' in known)


def test_an_option_of_several_data_sets_says_what_it_is_for_each() -> None:
    found = evaluation_options()
    assert (
        found['camera'].help
        == 'synthetic: the camera; kitti: without split: left, right or both; '
        'kitti_odometry: left, right, gray_left or gray_right'
    )
    assert found['depth_unit_m'].kind('0.001') == 0.001


@pytest.mark.parametrize(
    ('file', 'name'),
    [
        ('a.mcap', 'bag'),
        ('a.DB3', 'bag'),
        ('a.bag', 'bag'),
        ('a.mcap.zstd', 'bag'),
        ('folder/metadata.yaml', 'bag'),
        ('folder/2011_09_26/2011_09_26_drive_0001_sync/x', 'kitti'),
        ('folder/scene/sync_depth_1.png', 'nyu'),
        ('folder/images/a.jpg', 'folder'),
        ('folder/._x.mcap', None),
        ('notes.txt', None),
    ],
)
def test_data_is_recognised(tmp_path: Path, file: str, name: str | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'')
    root = tmp_path / file.split('/', maxsplit=1)[0]
    if name is not None:
        assert detect_dataset(root) == name
        return
    with pytest.raises(DataError, match=r'empty folder|no data set reads'):
        detect_dataset(root)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    row = DatasetRow(target='not_there_at_all:X', summary='', offers=(), install='depth_ros[x]')
    monkeypatch.setitem(DATASETS, 'new', row)
    with pytest.raises(ConfigError, match=r'not_there_at_all, .*install depth_ros\[x\]'):
        open_dataset('new')


def test_the_documentation_has_the_table() -> None:
    text = PAGE.read_text(encoding='utf-8')
    assert dataset_table() in text, 'run make docs'
    stale = text.replace(dataset_table(), '| name | reads | samples can hold |\n| old | x | y |')
    assert renewed(stale) == text, 'make docs changes the table alone'
