# SPDX-License-Identifier: Apache-2.0
"""Depth images as the ground truth of a recorded camera, by REP-118."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depth_core.data.bag.dataset import BagDataset
from depth_core.data.bag.reading import Record
from depth_core.data.bag.truth import Truth, clocks_apart
from depth_core.errors import ConfigError, DataError
from test.depth_core.data.bag.recording import (
    HEIGHT,
    IMAGE,
    INFO,
    START_NS,
    WIDTH,
    Recording,
    camera_info,
    header,
    make,
    pixels_of,
    raw_image,
)

DEPTH = '/camera/depth/image_rect'


def depth_message(values: NDArray[Any], encoding: str) -> Any:
    return make(
        'sensor_msgs/msg/Image',
        header=header(START_NS, 'optical'),
        height=values.shape[0],
        width=values.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=values.strides[0],
        data=np.ascontiguousarray(values).view(np.uint8).ravel(),
    )


def written(path: Path, values: NDArray[Any], encoding: str) -> Path:
    recording = Recording()
    recording.add(IMAGE, START_NS, raw_image(START_NS, pixels_of(0)))
    recording.add(INFO, START_NS, camera_info(START_NS))
    recording.add(DEPTH, START_NS, depth_message(values, encoding))
    return Path(recording.write(path))


def plane(value: float, kind: type[np.generic]) -> NDArray[Any]:
    return np.full((HEIGHT, WIDTH), value, kind)


def test_floats_are_metres_and_integers_millimetres(tmp_path: Path) -> None:
    floats = plane(2.5, np.float32)
    floats[0, 0], floats[0, 1] = np.nan, 0.0
    sample = BagDataset(written(tmp_path / 'f', floats, '32FC1'))[0]
    assert sample.depth_m[1, 1] == 2.5
    assert sample.valid[0, :3].tolist() == [False, False, True]
    codes = plane(2500, np.uint16)
    codes[0, 0] = 0
    sample = BagDataset(written(tmp_path / 'c', codes, '16UC1'))[0]
    assert sample.depth_m[1, 1] == 2.5
    assert not sample.valid[0, 0]


def test_millimetres_stated_as_metres_are_doubted_and_can_be_mended(tmp_path: Path) -> None:
    path = written(tmp_path / 'b', plane(2500.0, np.float32), '32FC1')
    with pytest.raises(DataError, match=r'median distance of 2500 m.*--depth_unit_m 0\.001'):
        _ = BagDataset(path)[0]
    sample = BagDataset(path, depth_unit_m=0.001)[0]
    np.testing.assert_allclose(sample.depth_m, 2.5)


def test_depth_of_another_size_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / 'b', np.ones((HEIGHT, WIDTH + 1), np.float32), '32FC1')
    match = f'depth of {HEIGHT}x{WIDTH + 1} .* does not belong to images of {HEIGHT}x{WIDTH}'
    with pytest.raises(DataError, match=match):
        _ = BagDataset(path)[0]


def test_a_topic_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    path = written(tmp_path / 'b', plane(2.5, np.float32), '32FC1')
    held = f"unknown depth topic '/depth'.* The bag holds .*{DEPTH} .sensor_msgs/msg/Image"
    with pytest.raises(ConfigError, match=held):
        BagDataset(path, depth_topic='/depth')
    with pytest.raises(ConfigError, match='both say where the true depth comes from'):
        BagDataset(path, depth_topic=DEPTH, cloud_topic='/points')


def test_depth_follows_when_images_are_resized(tmp_path: Path) -> None:
    """Left half 2 m, right half 8 m, at twice and at half the recorded size."""
    values = plane(2.0, np.float32)
    values[:, WIDTH // 2 :] = 8.0
    bag = written(tmp_path / 'bag', values, '32FC1')
    for height, width in ((2 * HEIGHT, 2 * WIDTH), (HEIGHT // 2, WIDTH // 2)):
        sample = BagDataset(bag, height=height, width=width)[0]
        assert sample.depth_m.shape == sample.image.shape[1:] == (height, width)
        assert bool((sample.depth_m[:, : width // 2] == 2.0).all())
        assert bool((sample.depth_m[:, width // 2 :] == 8.0).all())


def test_scattered_depth_keeps_its_values_when_images_shrink(tmp_path: Path) -> None:
    """One value in sixteen pixels: each stays, in the pixel it falls on."""
    values = plane(np.nan, np.float32)
    values[1::4, 1::4] = 5.0
    bag = written(tmp_path / 'bag', values, '32FC1')
    sample = BagDataset(bag, height=HEIGHT // 2, width=WIDTH // 2)[0]
    assert int(sample.valid.sum()) == int(np.isfinite(values).sum())


def test_metres_stated_as_millimetres_are_doubted_and_can_be_mended(tmp_path: Path) -> None:
    bag = written(tmp_path / 'b', plane(4, np.uint16), '16UC1')
    with pytest.raises(DataError, match=r'median distance of 0\.0040 m, .* --depth_unit_m 1\.'):
        BagDataset(bag)[0]
    assert BagDataset(bag, depth_unit_m=1.0)[0].depth_m[1, 1] == 4.0


@pytest.mark.parametrize(
    ('late_s', 'what', 'told'),
    [
        (0.12, 'scans', False),  # stamped at the begin of a turn
        (0.22, 'scans', True),  # two scans of 10 Hz
        (-0.18, 'scans', True),
        (0.22, 'depth images', False),  # computed from two cameras
        (-6.98, 'depth images', True),
    ],
)
def test_clocks_that_differ_are_seen_though_every_image_finds_a_scan(
    late_s: float, what: str, told: bool
) -> None:
    """Scans of a long recording, stamped by a clock that is off."""
    images = [Record(stamp_ns=at, recorded_ns=at + 20_000_000) for at in range(0, 10**10, 10**8)]
    scans = [
        Record(stamp_ns=at, recorded_ns=at + round(late_s * 1e9)) for at in range(0, 10**10, 10**8)
    ]
    truth = Truth(topic='/velo', records=scans, max_offset_s=0.05, what=what, bag='b')
    assert truth.nearest(images[50].stamp_ns) is not None
    note = clocks_apart(images, truth)
    assert (note is not None) == told
    if note is not None:
        assert f'seem to be {abs(late_s - 0.02):.2f} s apart' in note
