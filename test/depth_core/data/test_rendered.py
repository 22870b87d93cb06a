# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_core.data import open_dataset
from depth_core.data.render import main
from depth_core.data.rendered import RenderedDataset, RenderSettings, fill
from depth_core.data.synthetic import VariedDataset
from depth_core.errors import ConfigError, DataError

SETTINGS = RenderSettings(seed=5, scenes='varied', sizes=((12, 16), (8, 20)), part=2)


@pytest.fixture(scope='module')
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('rendered')
    assert fill(root, SETTINGS, frames=8) == 8
    return root


def test_stored_samples_are_those_that_were_rendered(filled: Path) -> None:
    stored = open_dataset('rendered', root=filled / '8x20')
    assert len(stored) == 4
    fresh = VariedDataset(seed=5, scenes='varied', start=10_000_000, length=4, height=8, width=20)
    for index in (0, 3, -2):
        assert stored[index].key == fresh[index].key
        assert torch.equal(stored[index].image, fresh[index].image)
        error = (stored[index].depth_m / fresh[index].depth_m - 1.0).abs()
        assert float(error.nan_to_num().max()) <= 2.0**-11


def test_filling_goes_on_after_a_break_and_grows(tmp_path: Path) -> None:
    fill(tmp_path, SETTINGS, frames=4)
    part = tmp_path / '12x16' / 'part_00000'
    before = np.load(part / 'image.npy')
    flags = np.load(part / 'stored.npy')
    flags[1] = False  # as a kill before the second sample leaves it
    np.save(part / 'stored.npy', flags)
    np.save(part / 'image.npy', np.where(np.arange(2)[:, None, None, None] == 1, 0, before))
    with pytest.raises(DataError, match='0 complete parts'):
        RenderedDataset(tmp_path / '12x16')
    assert fill(tmp_path, SETTINGS, frames=5) == 8
    assert np.array_equal(np.load(part / 'image.npy'), before)
    assert len(RenderedDataset(tmp_path / '12x16')) == 4
    assert len(RenderedDataset(tmp_path / '12x16', parts=1)) == 2


def test_samples_come_at_the_size_asked_for(filled: Path) -> None:
    stored = RenderedDataset(filled / '12x16', height=6, width=8)
    assert stored[0].image.shape == (3, 6, 8)
    assert float(stored[0].intrinsics[0, 0]) == pytest.approx(
        0.5 * float(RenderedDataset(filled / '12x16')[0].intrinsics[0, 0])
    )


def test_scenes_are_told_apart(filled: Path) -> None:
    root = filled / '12x16'
    everything, rooms, streets = (
        [sample.key for sample in (stored[index] for index in range(len(stored)))]
        for stored in (
            RenderedDataset(root, scenes=scenes) for scenes in ('varied', 'indoor', 'outdoor')
        )
    )
    assert 0 < len(rooms) < 4
    assert sorted(rooms + streets) == sorted(everything)
    with pytest.raises(ConfigError, match="did you mean 'indoor'"):
        RenderedDataset(root, scenes='indor')
    with pytest.raises(DataError, match="no sample of scenes 'hall' in 2 parts"):
        RenderedDataset(root, scenes='hall')


def test_other_settings_and_impossible_ones_are_refused(filled: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match='was filled with'):
        fill(filled, RenderSettings(seed=6), frames=1)
    with pytest.raises(ConfigError, match='at least 1'):
        fill(tmp_path, SETTINGS, frames=0)
    with pytest.raises(ConfigError, match='parts=0'):
        RenderedDataset(filled / '12x16', parts=0)
    with pytest.raises(DataError, match='9 are needed'):
        RenderedDataset(filled / '12x16', parts=9)


def test_the_command_says_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ['--frames', '1', '--part', '1', '--sizes', '8x12', '--scenes', 'near_shelf']
    main(['--output', str(tmp_path), *options])
    assert 'holds 1 samples' in capsys.readouterr().out
    with pytest.raises(ConfigError, match='8by12'):
        main(['--output', str(tmp_path), '--sizes', '8by12'])
