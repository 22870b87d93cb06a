# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_core.data.__main__ import main
from depth_core.errors import ConfigError, DataError


def write_folder(root: Path, *, images: int, depths: int, scale: float = 1.0) -> Path:
    """A folder data set whose depth goes from 2 to 4 m over the columns."""
    for name in ('images', 'depth'):
        (root / name).mkdir(parents=True, exist_ok=True)
    for index in range(images):
        picture = np.full((20, 40, 3), (250, 30 * index, 10), np.uint8)  # blue
        assert cv2.imwrite(str(root / f'images/{index}.png'), picture)
    for index in range(depths):
        depth_m = np.tile(np.linspace(2.0, 4.0, 41, dtype=np.float32)[:40], (20, 1))
        depth_m[:10] = np.nan
        np.save(root / f'depth/{index}.npy', depth_m * scale)
    return root


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(['check', *arguments])
    return capsys.readouterr().out


def test_counts_depths_and_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / 'data', images=3, depths=2)
    (root / 'intrinsics.txt').write_text('30 31 20 10\n')
    sheet = tmp_path / 'sheet.png'
    said = check(capsys, str(root), '--sheet', str(sheet))
    rows = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert rows['images'] == '3'
    assert 'with depth     2\n' in said
    assert '1 of 3 images have no depth; depth of 2 would be' in said
    assert rows['sizes'] == '20x40 (2)'
    assert rows['fx'] == '30.00 .. 30.00 px'
    assert 'valid pixels   50.0%' in said
    assert 'median 2.98 m' in said
    assert rows['extremes'] == '2.00 .. 3.95 m'
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture[5, 5].tolist() == [250, 0, 10]  # the first image
    first, last = picture[120, 330], picture[120, 630]  # its depth, near and far
    assert np.abs(first.astype(int) - last).max() > 100


def test_millimetres_taken_for_metres_are_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / 'data', images=1, depths=1, scale=1000.0)
    said = check(capsys, str(root), '--sheet', str(tmp_path / 'a.png'))
    assert 'the median depth is 2975 m, which is no usual distance: check the unit' in said


def test_a_unit_is_given_as_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / 'data', images=1, depths=1, scale=1000.0)
    option = ('--option', 'depth_unit_m=0.001', '--sheet', str(tmp_path / 'a.png'))
    assert 'median 2.98 m' in check(capsys, str(root), *option)


def test_nothing_to_use_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / 'data', images=2, depths=0)
    with pytest.raises(DataError, match=r'cannot be used as it is: 2 of 2 images have no depth'):
        check(capsys, str(root), '--sheet', str(tmp_path / 'a.png'))
    assert 'with depth     0' in capsys.readouterr().out


def test_damaged_samples_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before what has no depth: many do not have any, and few are damaged, of these too."""
    root = write_folder(tmp_path / 'data', images=4, depths=2)
    for name in '13':
        path = root / f'images/{name}.png'
        path.write_bytes(path.read_bytes()[:-9])
    damaged = r'cannot be used as it is: 2 samples cannot be read: image .*1.png.*; image .*3.png'
    with pytest.raises(DataError, match=damaged):
        check(capsys, str(root), '--sheet', str(tmp_path / 'a.png'))
    said = capsys.readouterr().out
    assert 'samples read   2' in said
    assert 'sizes          20x40 (1)' in said


def test_a_folder_of_bags_is_no_folder_of_images(tmp_path: Path) -> None:
    for name in ('monday', 'tuesday'):
        (tmp_path / 'bags' / name).mkdir(parents=True)
        (tmp_path / 'bags' / name / 'metadata.yaml').touch()
    with pytest.raises(DataError, match=r'bags is no data set but a folder of 2 bags: .*monday, '):
        main(['check', str(tmp_path / 'bags')])
    (tmp_path / 'logs').mkdir()
    for name in ('a.bag', 'b.bag'):
        (tmp_path / 'logs' / name).touch()
    with pytest.raises(DataError, match=r'what belongs together of a.bag, b.bag; give one'):
        main(['check', str(tmp_path / 'logs')])


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (('--name', 'fodler'), r"unknown data set 'fodler'; did you mean 'folder'"),
        (('--option', 'depth_unit_m'), r'is no option; give name=value'),
        (('--option', 'depth_unit_m=small'), r'has the wrong kind'),
        (('--option', 'dept_unit_m=1'), r"did you mean 'depth_unit_m'"),
    ],
)
def test_wrong_options(tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    root = write_folder(tmp_path / 'data', images=1, depths=1)
    with pytest.raises(ConfigError, match=complaint):
        main(['check', str(root), *options])
