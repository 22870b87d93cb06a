# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from depth_core.compare import Subject, compare
from depth_core.compare.command import main
from depth_core.errors import ConfigError, DataError
from depth_core.evaluate.frames import COLUMNS


def report(folder: Path, abs_rel: Sequence[float], *, align: str = 'none', first: int = 0) -> Path:
    """A report of images `first`, `first` + 1, ... whose nine metrics are all as given."""
    folder.mkdir()
    rule = {'protocol': {'name': 'none'}, 'align': align, 'flip_average': 'none'}
    (folder / 'metrics.json').write_text(json.dumps(rule))
    start = COLUMNS.index('abs_rel')
    lines = [','.join(COLUMNS)]
    for index, value in enumerate(abs_rel, start=first):
        cells = [''] * len(COLUMNS)
        cells[1] = f'image {index}'
        cells[start : start + 9] = [str(value)] * 9
        lines.append(','.join(cells))
    (folder / 'frames.csv').write_text('\n'.join(lines) + '\n')
    return folder


def subjects(*folders: Path) -> list[Subject]:
    return [Subject(name=folder.name, report=folder) for folder in folders]


def test_a_difference_of_every_image_is_more_than_chance(tmp_path: Path) -> None:
    errors = np.random.default_rng(0).uniform(0.1, 0.5, 40)
    common, found = compare(
        subjects(
            report(tmp_path / 'a', errors.tolist()),
            report(tmp_path / 'b', (errors + 0.02).tolist()),
        ),
        ['abs_rel', 'a1'],
    )
    assert len(common) == 40
    assert [item.verdict for item in found] == ['first', 'worse', 'first', 'better']
    # The spread of images is larger than their difference, which is the same for all.
    assert found[0].high - found[0].low > 0.02
    assert (found[1].difference_low, found[1].difference_high) == pytest.approx((0.02, 0.02))


def test_a_difference_that_goes_both_ways_may_be_chance(tmp_path: Path) -> None:
    errors = np.full(40, 0.3)
    other = errors + np.where(np.arange(40) // 4 % 2, 0.1, -0.1)
    reports = subjects(
        report(tmp_path / 'a', errors.tolist()), report(tmp_path / 'b', other.tolist())
    )
    _, found = compare(reports, ['abs_rel'])
    assert found[1].verdict == 'may be chance'
    assert found[1].difference_low < -0.01 < 0.01 < found[1].difference_high


def test_only_images_of_all_reports_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [
        report(tmp_path / 'a', [0.9, 0.1, 0.1]),
        report(tmp_path / 'b', [0.2, 0.2], first=1),
    ]
    output = tmp_path / 'found.json'
    main([*map(str, reports), '--metrics', 'abs_rel', '--output', str(output)])
    content = json.loads(output.read_text())
    assert content['images'] == 2
    assert [item['mean'] for item in content['differences']] == pytest.approx([0.1, 0.2])
    assert content['differences'][1]['verdict'] == 'may be chance', 'two images say nothing'
    assert 'too few' in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = report(tmp_path / 'a', [0.1])
    with pytest.raises(ConfigError, match='1 report given'):
        compare(subjects(one), ['abs_rel'])
    with pytest.raises(DataError, match='different protocols'):
        compare(subjects(one, report(tmp_path / 'b', [0.1], align='median')), ['abs_rel'])
    with pytest.raises(DataError, match='no image was scored in all'):
        compare(subjects(one, report(tmp_path / 'c', [0.1], first=5)), ['abs_rel'])
    with pytest.raises(DataError, match='no table of images'):
        compare(subjects(one, tmp_path), ['abs_rel'])


def test_speed_stands_beside_the_errors_where_a_report_states_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [report(tmp_path / name, [0.1] * 6) for name in ('a', 'b')]
    timing = {'timing': {'inference_median_s': 0.0125}}
    (reports[0] / 'report.json').write_text(json.dumps(timing))
    output = tmp_path / 'out.json'
    main([*map(str, reports), '--metrics', 'abs_rel', '--output', str(output)])
    speed = json.loads(output.read_text())['speed']
    assert speed == {
        'a': {'ms': 12.5, 'words': '12.5'},
        'b': {'ms': None, 'words': 'not stated'},
    }
    assert 'as each report states it' in capsys.readouterr().out
