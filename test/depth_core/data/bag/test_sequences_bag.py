# SPDX-License-Identifier: Apache-2.0
"""Sequences of a robot's own recording: neighbours, gaps, and the speed from its topics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_core.data import collate, open_dataset
from depth_core.data.bag.dataset import BagDataset
from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError
from test.depth_core.data.bag.recording import (
    BOTH_FRAMES,
    IMAGE,
    INFO,
    START_NS,
    STEP_NS,
    Recording,
    camera_info,
    odometry,
    pixels_of,
    raw_image,
    record,
    twist,
    twist_stamped,
)

ODOM = '/wheels/odometry'


def drive(*, frames: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Recording:
    """Images 0.1 s apart, each of another grey; none of `frames` is missing."""
    recording = Recording()
    recording.add('/tf_static', START_NS, BOTH_FRAMES)
    for frame in frames:
        stamp_ns = START_NS + frame * STEP_NS
        # Recording is late, and not always by as much.
        late_ns = stamp_ns + 20_000_000 * (frame % 3)
        recording.add(IMAGE, late_ns, raw_image(stamp_ns, pixels_of(frame)))
        recording.add(INFO, late_ns, camera_info(stamp_ns))
    return recording


def add_speeds(
    recording: Recording,
    topic: str,
    message: Callable[[int, float], Any],
    *,
    from_ms: int = -50,
    to_ms: int = 450,
) -> Recording:
    """Speeds every 20 ms: 1 m/s at the start and 10 m/s more each second."""
    for offset_ms in range(from_ms, to_ms, 20):
        stamp_ns = START_NS + offset_ms * 1_000_000
        recording.add(topic, stamp_ns + 5_000_000, message(stamp_ns, 1.0 + 0.01 * offset_ms))
    return recording


def frames_of(sample: Sample) -> list[int]:
    assert sample.neighbour_images is not None
    images = [sample.image, *sample.neighbour_images]
    return [round(float(image[0, 0, 0]) * 255.0) // 40 for image in images]


def speeds_of(sample: Sample) -> list[float]:
    assert sample.speed_mps is not None
    return [float(speed) for speed in sample.speed_mps]


def test_neighbours_come_with_time_and_speed(tmp_path: Path) -> None:
    recording = add_speeds(drive(), ODOM, odometry)
    path = recording.write(tmp_path / 'b')
    dataset = open_dataset('bag', root=path, neighbours=[-1, 1])
    assert len(dataset) == 3
    sample = dataset[1]
    assert frames_of(sample) == [2, 1, 3]
    assert sample.key == f'{IMAGE} {START_NS + 2 * STEP_NS}'
    assert sample.neighbour_dt_s is not None
    assert sample.neighbour_dt_s.tolist() == pytest.approx([-0.1, 0.1])
    assert sample.neighbour_offsets is not None
    assert sample.neighbour_offsets.tolist() == [-1, 1]
    # Linear in time, so the mean on the way is the speed half way.
    assert speeds_of(sample) == pytest.approx([1.0 + 1.5, 1.0 + 2.5], abs=1e-4)
    assert sample.neighbour_poses is None
    assert not sample.valid.any()
    batch = collate([dataset[0], sample])
    assert batch.speed_mps is not None
    assert batch.speed_mps.shape == (2, 2)
    small = open_dataset('bag', root=path, neighbours=[1], height=6, width=10)[0]
    assert small.neighbour_images is not None
    assert small.neighbour_images.shape == (1, 3, 6, 10)


def test_images_beside_a_gap_are_left_out(tmp_path: Path) -> None:
    recording = drive(frames=(0, 1, 2, 4, 5, 6))
    dataset = BagDataset(recording.write(tmp_path / 'b'), neighbours=[-1, 1])
    assert [frames_of(dataset[index]) for index in range(len(dataset))] == [[1, 0, 2], [5, 4, 6]]


def test_images_recorded_out_of_order_are_ordered_by_their_stamps(tmp_path: Path) -> None:
    recording = drive()
    for place, (topic, recorded_ns, message) in enumerate(recording.messages):
        if topic == IMAGE:
            mirrored_ns = 2 * START_NS + 5 * STEP_NS - recorded_ns
            recording.messages[place] = (topic, mirrored_ns, message)
    recording.messages.sort(key=lambda item: item[1])
    dataset = BagDataset(recording.write(tmp_path / 'b'), neighbours=[-1, 1])
    assert [frames_of(dataset[index]) for index in range(len(dataset))] == [
        [1, 0, 2],
        [2, 1, 3],
        [3, 2, 4],
    ]


@pytest.mark.parametrize('key', ['max_speed_offset_s', 'max_speed_gap_s'])
@pytest.mark.parametrize('limit_s', [-1.0, float('nan')])
def test_limits_that_are_no_times_are_refused(tmp_path: Path, key: str, limit_s: float) -> None:
    options: dict[str, Any] = {key: limit_s}
    with pytest.raises(ConfigError, match=f'{key} is {limit_s}; give seconds'):
        BagDataset(tmp_path, **options)


def test_a_bag_of_no_window_is_refused(tmp_path: Path) -> None:
    path = record().write(tmp_path / 'b')
    assert len(BagDataset(path, neighbours=[-1, 1])) == 1
    with pytest.raises(DataError, match=r'none of the 3 images on /cam/image_raw .*\[-2, 2\]'):
        BagDataset(path, neighbours=[-2, 2])
    with pytest.raises(ConfigError, match=r'neighbours \[0\] are no offsets'):
        BagDataset(path, neighbours=[0])


def test_lidar_stays_the_ground_truth(tmp_path: Path) -> None:
    path = record().write(tmp_path / 'b')
    dataset = BagDataset(path, neighbours=[1])
    assert [int(dataset[index].valid.sum()) for index in range(2)] == [2, 0]


@pytest.mark.parametrize('stamped', [True, False])
def test_velocities_are_read_when_named(tmp_path: Path, *, stamped: bool) -> None:
    def message(stamp_ns: int, speed_mps: float) -> Any:
        return twist_stamped(stamp_ns, speed_mps) if stamped else twist(speed_mps)

    recording = add_speeds(drive(), '/vel', message)
    path = recording.write(tmp_path / 'b')
    sample = BagDataset(path, neighbours=[1], velocity_topic='/vel')[0]
    # A Twist has no stamp: it counts when it was recorded, here 5 ms late.
    late = 0.0 if stamped else 0.05
    assert speeds_of(sample) == pytest.approx([1.5 - late], abs=1e-4)


def test_commands_are_not_taken_for_measurements(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = add_speeds(drive(), '/cmd_vel', twist_stamped).write(tmp_path / 'b')
    with caplog.at_level(logging.INFO):
        dataset = BagDataset(path, neighbours=[-1, 1])
    assert 'if /cmd_vel is measured, and no command, name it as velocity_topic' in caplog.text
    assert dataset.topics.speed is None
    assert all(np.isnan(speed) for speed in speeds_of(dataset[0]))


def test_a_speed_too_far_in_time_is_unknown(tmp_path: Path) -> None:
    path = add_speeds(drive(), ODOM, odometry, to_ms=160).write(tmp_path / 'b')
    dataset = BagDataset(path, neighbours=[-1, 1], max_speed_offset_s=0.07)
    assert speeds_of(dataset[0])[0] == pytest.approx(1.5, abs=1e-4)
    assert not np.isnan(speeds_of(dataset[0])).any(), '0.2 s is 50 ms after the last speed'
    assert np.isnan(speeds_of(dataset[1])).tolist() == [False, True]


def test_odometry_of_two_a_second_is_interpolated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = drive()
    for offset_ms in (-50, 450):
        stamp_ns = START_NS + offset_ms * 1_000_000
        recording.add(ODOM, stamp_ns, odometry(stamp_ns, 1.0 + 0.01 * offset_ms))
    path = recording.write(tmp_path / 'b')
    with caplog.at_level(logging.INFO):
        dataset = BagDataset(path, neighbours=[-1, 1])
    # The image half way is 0.25 s from either, beyond max_speed_offset_s.
    assert speeds_of(dataset[1]) == pytest.approx([2.5, 3.5], abs=1e-4)
    assert f'topic {ODOM} of bag {path}: the speed of all 3 sequences is known' in caplog.text
    caplog.clear()
    narrow = BagDataset(path, neighbours=[-1, 1], max_speed_gap_s=0.3)
    assert np.isnan(speeds_of(narrow[1])).all()
    assert (
        'the speed of 0 of 3 sequences is known; for the others its messages are up to 0.5 s '
        'apart; raise max_speed_gap_s (now 0.3 s)'
    ) in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_speeds_of_another_clock_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = drive()
    for step in range(-2, 26):
        recorded_ns = START_NS + step * 20_000_000
        recording.add(ODOM, recorded_ns, odometry(recorded_ns - 3_600_000_000_000, 2.0))
    dataset = BagDataset(recording.write(tmp_path / 'b'), neighbours=[-1, 1])
    assert np.isnan(speeds_of(dataset[0])).all()
    (warning,) = [item for item in caplog.records if item.levelno == logging.WARNING]
    assert (
        'the speed of 0 of 3 sequences is known; for the others its stamps lie 3.6e+03 s off all '
        'those of the images: another clock'
    ) in warning.getMessage()


def test_speeds_that_end_early_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = add_speeds(drive(), ODOM, odometry, to_ms=280).write(tmp_path / 'b')
    with caplog.at_level(logging.INFO):
        BagDataset(path, neighbours=[-1, 1], max_speed_offset_s=0.07)
    assert 'the speed of 2 of 3 sequences is known; for the others there the im' in caplog.text
    assert all(item.levelno == logging.INFO for item in caplog.records)


def test_images_recorded_twice_count_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = drive()
    twice = [item for item in recording.messages if item[0] == IMAGE]
    for topic, recorded_ns, message in twice:
        recording.add(topic, recorded_ns + 1_000_000, message)
    with caplog.at_level(logging.INFO):
        dataset = BagDataset(recording.write(tmp_path / 'b'), neighbours=[-1, 1])
    assert [frames_of(dataset[index]) for index in range(len(dataset))] == [
        [1, 0, 2],
        [2, 1, 3],
        [3, 2, 4],
    ]
    assert '5 of 10 images of /cam/image_raw have the stamp of another' in caplog.text


def test_odometry_without_velocities_is_differentiated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = drive()
    for step in range(-2, 26):
        stamp_ns = START_NS + step * 20_000_000
        recording.add(ODOM, stamp_ns, odometry(stamp_ns, 0.0, x_m=3.0 * 0.02 * step))
    path = recording.write(tmp_path / 'b')
    dataset = BagDataset(path, neighbours=[-1, 1])
    assert speeds_of(dataset[1]) == pytest.approx([3.0, 3.0], rel=1e-3)
    assert 'velocities are all zero; positions are differentiated' in caplog.text


def test_a_robot_that_stands_has_speed_zero(tmp_path: Path) -> None:
    recording = drive()
    for step in range(-2, 26):
        stamp_ns = START_NS + step * 20_000_000
        recording.add(ODOM, stamp_ns, odometry(stamp_ns, 0.0, x_m=7.0))
    assert speeds_of(BagDataset(recording.write(tmp_path / 'b'), neighbours=[1])[0]) == [0.0]


def test_slow_sequences_can_be_left_out(tmp_path: Path) -> None:
    path = add_speeds(drive(), ODOM, odometry).write(tmp_path / 'b')
    # Means over 0.2 s about images 1, 2 and 3: 2, 3 and 4 m/s.
    for limit_mps, left in ((1.9, 3), (2.1, 2), (3.9, 1)):
        dataset = BagDataset(path, neighbours=[-1, 1], min_speed_mps=limit_mps)
        assert len(dataset) == left
        assert frames_of(dataset[-1]) == [3, 2, 4], 'the fastest is the last'
    with pytest.raises(DataError, match=r'all 3 sequences .* slower than 4.1 m/s by /wheels/od'):
        BagDataset(path, neighbours=[-1, 1], min_speed_mps=4.1)
    bare = drive().write(tmp_path / 'bare')
    with pytest.raises(ConfigError, match=r'min_speed_mps is 1.0, but bag .* without speeds'):
        BagDataset(bare, neighbours=[-1, 1], min_speed_mps=1.0)


def test_topics_are_chosen_or_named(tmp_path: Path) -> None:
    recording = add_speeds(add_speeds(drive(), ODOM, odometry), '/lidar/odometry', odometry)
    add_speeds(recording, '/vel', twist_stamped)
    path = recording.write(tmp_path / 'b')
    assert len(BagDataset(path)) == 5, 'without sequences there is no need to choose'
    with pytest.raises(
        ConfigError, match=r'2 odometry topics \(/lidar/odometry, /wheels/odometry\); choose one'
    ):
        BagDataset(path, neighbours=[1])
    assert BagDataset(path, neighbours=[1], odometry_topic=ODOM).topics.speed == ODOM
    assert BagDataset(path, neighbours=[1], velocity_topic='/vel').topics.speed == '/vel'
    with pytest.raises(ConfigError, match=r"'/wheels/odom'; did you mean '/wheels/odometry'"):
        BagDataset(path, neighbours=[1], odometry_topic='/wheels/odom')
    with pytest.raises(ConfigError, match=r'both say where the speed comes from'):
        BagDataset(path, neighbours=[1], odometry_topic=ODOM, velocity_topic='/vel')
    with pytest.raises(ConfigError, match=r"'/vel' is to give the speed, but no neighbours"):
        BagDataset(path, velocity_topic='/vel')


def test_a_named_topic_in_a_bag_that_has_none_is_answered_with_all_topics(tmp_path: Path) -> None:
    path = drive().write(tmp_path / 'b')
    with pytest.raises(
        DataError, match=r'no odometry topic \(nav_msgs/msg/Odometry\).*/cam/image_raw \(sensor'
    ):
        BagDataset(path, neighbours=[1], odometry_topic='/odom')
    with pytest.raises(DataError, match=r'no velocity topic \(geometry_msgs/msg/TwistStamped or'):
        BagDataset(path, neighbours=[1], velocity_topic='/vel')


def test_velocities_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    recording = add_speeds(drive(), ODOM, odometry)
    stamp_ns = START_NS + STEP_NS
    recording.add(ODOM, stamp_ns, odometry(stamp_ns, float('nan')))
    path = recording.write(tmp_path / 'b')
    with pytest.raises(DataError, match=rf'topic {ODOM} of bag .* states 1 velocities'):
        BagDataset(path, neighbours=[1])


def test_a_recorded_bag_gives_sequences_of_unknown_speed(shared_dir: Path) -> None:
    dataset = BagDataset(
        shared_dir / 'data/bags/kitti_0052_mini_mcap', neighbours=[-1, 1], height=96, width=320
    )
    assert len(dataset) >= 1
    sample = dataset[0]
    assert sample.neighbour_images is not None
    assert sample.neighbour_images.shape == (2, 3, 96, 320)
    assert sample.neighbour_dt_s is not None
    assert sample.neighbour_dt_s.tolist() == pytest.approx([-0.1, 0.1], abs=1e-3)
    assert sample.speed_mps is not None
    assert sample.speed_mps.isnan().all()
