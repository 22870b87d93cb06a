# SPDX-License-Identifier: Apache-2.0
"""Files for the Rerun viewer, read back with Rerun's own reader."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from depth_core.errors import ConfigError
from depth_ros.pictures.answered import Answered
from depth_ros.pictures.rerun_file import CAMERA, CLOUD, TIMELINE, check_rerun, rerun_file
from test.depth_ros.sample_messages import picture

needs_rerun = pytest.mark.skipif(
    importlib.util.find_spec('rerun') is None, reason='rerun-sdk is an optional extra'
)

HEIGHT, WIDTH = 6, 8
STAMP_NS = 1_700_000_000_123_456_789
MATRIX = np.array([[9.0, 0.0, 3.5], [0.0, 9.5, 2.5], [0.0, 0.0, 1.0]])


def answer(number: int) -> Answered:
    """An answer with everything, its depth `number` metres more in each row."""
    depth_m = np.arange(1, HEIGHT + 1, dtype=np.float32)[:, None] + np.zeros(
        (1, WIDTH), np.float32
    )
    depth_m[0, 0] = np.nan
    points_m = np.array([[0.0, 0.0, 1.0], [1.0, -1.0, 5.0 + number]], np.float32)
    return Answered(
        stamp_ns=STAMP_NS + number * 1_000_000_000,
        depth_m=depth_m + np.float32(number),
        truth_m=(depth_m + np.float32(number)) * np.float32(2.0),
        image=picture(number, height=HEIGHT, width=WIDTH),
        sigma_m=np.full((HEIGHT, WIDTH), 0.25, np.float32),
        confidence=np.full((HEIGHT, WIDTH), 0.75, np.float32),
        points_m=points_m,
        point_colours=np.array([[255, 0, 0], [1, 2, 3]], np.uint8),
        matrix=MATRIX,
    )


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What each entity holds: its rows in the order of their stamps, by component."""
    from rerun.chunk import RrdReader  # noqa: PLC0415 optional, see needs_rerun

    found: dict[str, list[dict[str, Any]]] = {}
    for chunk in RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        columns = {name: batch.column(name) for name in batch.schema.names}
        for row in range(batch.num_rows):
            values = {
                name: np.asarray(column[row].values)
                for name, column in columns.items()
                if ':' in name
            }
            if TIMELINE in columns:
                values[TIMELINE] = columns[TIMELINE][row].value
            found.setdefault(chunk.entity_path.lstrip('/'), []).append(values)
    return {key: sorted(rows, key=lambda row: row.get(TIMELINE, 0)) for key, rows in found.items()}


def pixels(row: dict[str, Any], kind: str, dtype: type[np.generic]) -> NDArray[Any]:
    """The pixels of an image entity, flat; the buffer is one list of bytes."""
    return np.asarray(row[f'{kind}:buffer'][0], np.uint8).view(dtype)


@needs_rerun
def test_everything_is_read_back_at_its_stamp(tmp_path: Path) -> None:
    path = tmp_path / 'answers.rrd'
    with rerun_file(path) as add:
        assert add is not None
        for number in range(2):
            add(answer(number))
    found = read(path)
    for number in range(2):
        given = answer(number)
        assert given.image is not None
        assert given.points_m is not None
        rows = {key: values[number] for key, values in found.items() if key.startswith(CAMERA)}
        assert {row[TIMELINE] for row in rows.values()} == {given.stamp_ns}
        matrix = np.asarray(rows[CAMERA]['Pinhole:image_from_camera'][0]).reshape(3, 3)
        assert_allclose(matrix.T, MATRIX)  # column by column
        assert np.asarray(rows[CAMERA]['Pinhole:resolution'][0]).tolist() == [WIDTH, HEIGHT]
        image = pixels(rows[f'{CAMERA}/image'], 'Image', np.uint8)
        assert_array_equal(image, given.image.ravel())
        depth_m = pixels(rows[f'{CAMERA}/depth'], 'DepthImage', np.float32)
        assert_array_equal(depth_m, given.depth_m.ravel())
        assert rows[f'{CAMERA}/depth']['DepthImage:meter'].tolist() == [1.0]
        truth_m = pixels(rows[f'{CAMERA}/truth'], 'DepthImage', np.float32)
        assert truth_m[0] == 0.0  # none
        assert_array_equal(truth_m[1:], 2.0 * depth_m[1:])
        error = pixels(rows[f'{CAMERA}/error'], 'DepthImage', np.float32)
        assert error[0] == 0.0
        assert (error[1:] == 0.5).all()
        for kind, name, value in (('DepthImage', 'sigma', 0.25), ('Image', 'confidence', 0.75)):
            assert (pixels(rows[f'{CAMERA}/{name}'], kind, np.float32) == value).all()
        ends = [rows[f'{CAMERA}/{name}']['DepthImage:depth_range'] for name in ('depth', 'truth')]
        assert_allclose(ends[0][0], ends[1][0])
        assert ends[0][0][1] <= 2.0 * HEIGHT  # of the first truth, in every image
        cloud = found[CLOUD][number]
        points_m = np.stack([np.asarray(point) for point in cloud['Points3D:positions']])
        assert_array_equal(points_m, given.points_m)
        assert [int(colour) for colour in cloud['Points3D:colors']] == [0xFF0000FF, 0x010203FF]


@needs_rerun
def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / 'depth.rrd'
    with rerun_file(path) as add:
        assert add is not None
        add(Answered(stamp_ns=STAMP_NS, depth_m=np.ones((HEIGHT, WIDTH), np.float32)))
    assert {key for key in read(path) if key.startswith('world/')} == {f'{CAMERA}/depth'}


@needs_rerun
def test_the_file_says_how_it_is_shown(tmp_path: Path) -> None:
    path = tmp_path / 'answers.rrd'
    with rerun_file(path) as add:
        assert add is not None
        add(answer(0))
    command = (sys.executable, '-m', 'rerun', 'rrd', 'print', str(path))
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert 'Blueprint' in printed
    # One space and a view of each of six images.
    assert printed.count('ViewBlueprint:class_identifier') == 7


@needs_rerun
def test_sky_that_is_seen_as_sky_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / 'sky.rrd'
    depth_m = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    truth_m = depth_m.copy()
    truth_m[0, 0] = 5.0
    with rerun_file(path) as add:
        assert add is not None
        add(Answered(stamp_ns=STAMP_NS, depth_m=depth_m, truth_m=truth_m))
    error = pixels(read(path)[f'{CAMERA}/error'][0], 'DepthImage', np.float32)
    assert error[0] == np.inf
    assert (error[1:] == 0.0).all()


@needs_rerun
def test_a_file_appears_only_when_all_went_well(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), rerun_file(tmp_path / 'a.rrd'):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_nothing_is_recorded() -> None:
    check_rerun(None)
    with rerun_file(None) as add:
        assert add is None


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'files that end in \.rrd'):
        check_rerun(tmp_path / 'answers.bag')


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'rerun', None)
    with pytest.raises(ConfigError, match=r"pip install 'depth_ros\[rerun\]'"):
        check_rerun(Path('answers.rrd'))
