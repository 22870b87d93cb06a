# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rosbags.rosbag2 import StoragePlugin, Writer
from torch.utils.data import DataLoader, Dataset

from depth_core.data import open_dataset
from depth_core.data.bag.dataset import BagDataset
from depth_core.data.bag.frame_tree import rotation_matrix
from depth_core.data.bag.reading import Record
from depth_core.data.cache import describe
from depth_core.data.kitti.dataset import KittiDataset
from depth_core.data.sample import sample_to_score
from depth_core.errors import ConfigError, DataError
from test.depth_core.data.bag.recording import (
    BOTH_FRAMES,
    CLOUD,
    CX_PX,
    CY_PX,
    F_PX,
    HEIGHT,
    IMAGE,
    INFO,
    START_NS,
    STEP_NS,
    STORE,
    WIDTH,
    Recording,
    camera_info,
    cloud,
    pixels_of,
    raw_image,
    record,
    transforms,
)


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_images_and_projected_scans(
    tmp_path: Path, *, compressed: bool, plugin: StoragePlugin
) -> None:
    dataset = open_dataset(
        'auto', root=record(compressed=compressed).write(tmp_path / 'b', plugin)
    )
    assert len(dataset) == 3
    for frame in (2, 0, 1):  # in any order
        sample = dataset[frame]
        pixels = np.round(sample.image.permute(1, 2, 0).numpy() * 255.0)
        np.testing.assert_array_equal(pixels, pixels_of(frame))
        exact = sample_to_score(dataset, frame)
        assert exact.image.permute(1, 2, 0).numpy().tolist() == pixels_of(frame).tolist()
        expected = np.full((HEIGHT, WIDTH), np.nan, np.float32)
        if frame != 1:
            expected[3, 4], expected[8, 15] = 5.0 + frame, 20.0
        np.testing.assert_allclose(sample.depth_m.numpy(), expected, rtol=1e-5)
        assert sample.key == f'{IMAGE} {START_NS + frame * STEP_NS}'
        assert sample.intrinsics[0].tolist() == [F_PX, 0.0, CX_PX]


def test_padded_rows_are_unpacked(tmp_path: Path) -> None:
    image = raw_image(START_NS, pixels_of(0))
    rows = np.zeros((HEIGHT, WIDTH * 3 + 4), np.uint8)
    rows[:, : WIDTH * 3] = image.data.reshape(HEIGHT, -1)
    image.step, image.data = rows.shape[1], rows.ravel()
    recording = record()
    recording.messages[1] = (IMAGE, START_NS, image)
    sample = BagDataset(recording.write(tmp_path / 'b'))[0]
    pixels = np.round(sample.image.permute(1, 2, 0).numpy() * 255.0)
    np.testing.assert_array_equal(pixels, pixels_of(0))


def test_storage_file_stands_for_its_bag(tmp_path: Path) -> None:
    path = record().write(tmp_path / 'b')
    assert len(BagDataset(next(path.glob('*.mcap')))) == 3


def test_sample_size_moves_points_and_intrinsics(tmp_path: Path) -> None:
    path = record().write(tmp_path / 'b')
    sample = BagDataset(path, height=3 * HEIGHT, width=3 * WIDTH)[0]
    assert sample.depth_m.shape == (36, 60)
    assert sample.intrinsics[0, 2] == (CX_PX + 0.5) * 3 - 0.5
    # Pixel (4, 3) covers columns 12 to 14 and rows 9 to 11 now; its centre is the middle one.
    assert np.argwhere(sample.valid.numpy()).tolist() == [[10, 13], [25, 46]]


def test_a_scan_too_far_in_time_is_not_used(tmp_path: Path) -> None:
    path = record().write(tmp_path / 'b')
    assert BagDataset(path)[0].valid.any()
    assert not BagDataset(path, max_offset_s=0.005)[0].valid.any()
    assert BagDataset(path, max_offset_s=0.095)[1].valid.any()


def test_bag_without_lidar_has_images_and_no_ground_truth(tmp_path: Path) -> None:
    recording = record()
    recording.messages = [item for item in recording.messages if item[0] != CLOUD]
    dataset = BagDataset(recording.write(tmp_path / 'b'))
    assert dataset.topics.cloud is None
    assert not dataset[0].valid.any()


def test_distorted_images_are_rectified(tmp_path: Path) -> None:
    info = camera_info(START_NS, distortion=(-0.3, 0.05, 0.0, 0.0, 0.0), projection_f_px=20.0)
    sample = BagDataset(record(info=info).write(tmp_path / 'b'))[0]
    assert sample.intrinsics[0, 0] == 20.0
    # The point of image pixel (15, 8) under F_PX lies nearer to the centre under 20 px.
    row, column = 5.0 + (8.0 - 5.0) * 20.0 / F_PX, 9.0 + (15.0 - 9.0) * 20.0 / F_PX
    assert sample.depth_m[round(row), round(column)] == pytest.approx(20.0)
    assert not np.array_equal(np.round(sample.image[0].numpy() * 255.0), pixels_of(0)[..., 0])


def test_rectified_topics_are_described_by_the_projection(tmp_path: Path) -> None:
    info = camera_info(START_NS, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0), projection_f_px=20.0)
    recording = record(info=info)
    recording.messages = [
        ('/cam/image_rect' if topic == IMAGE else topic, stamp, message)
        for topic, stamp, message in recording.messages
    ]
    sample = BagDataset(recording.write(tmp_path / 'b'))[0]
    assert sample.intrinsics[0, 0] == 20.0
    np.testing.assert_array_equal(np.round(sample.image[0].numpy() * 255.0), pixels_of(0)[..., 0])


def test_all_zero_camera_info(tmp_path: Path) -> None:
    path = record(info=camera_info(START_NS, f_px=0.0)).write(tmp_path / 'b')
    with pytest.raises(DataError, match=r'/cam/camera_info of bag .* all-zero .*calibrate it'):
        BagDataset(path)[0]


def test_camera_info_of_odometry_bags_has_only_a_projection(tmp_path: Path) -> None:
    info = camera_info(START_NS, f_px=0.0, projection_f_px=F_PX)
    assert BagDataset(record(info=info).write(tmp_path / 'b'))[0].intrinsics[0, 0] == F_PX


def test_camera_info_that_does_not_fit(tmp_path: Path) -> None:
    path = record(info=camera_info(START_NS, height=99)).write(tmp_path / 'b')
    with pytest.raises(DataError, match='20x99 pixels are described and the image has 20x12'):
        BagDataset(path)[0]


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'distortion': (np.nan,) * 5}, 'D holds nan, and its numbers must be finite'),
        ({'f_px': np.inf}, 'K holds inf'),
        ({'projection_f_px': np.nan}, 'P holds nan'),
        ({'distortion': (0.1, 0.1)}, "distortion model 'plumb_bob' with 2 coefficients"),
        ({'distortion': (0.1, 0.1, 0.0)}, "distortion model 'plumb_bob' with 3 coefficients"),
        ({'distortion': (0.1,) * 6}, "distortion model 'plumb_bob' with 6 coefficients"),
        ({'distortion': (0.1,) * 5, 'model': 'equidistant'}, "'equidistant' with 5 coefficients"),
        ({'distortion': (0.1,) * 5, 'model': 'thin_prism'}, "'thin_prism' with 5 coefficients"),
    ],
)
def test_a_camera_info_that_cannot_be_used_says_why(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = record(info=camera_info(START_NS, **changes)).write(tmp_path / 'b')
    with pytest.raises(DataError, match=rf'/cam/camera_info of bag .*: .*{said}'):
        BagDataset(path)[0]


def test_a_rotation_that_is_none_is_refused(tmp_path: Path) -> None:
    info = camera_info(START_NS, distortion=(-0.1, 0.0, 0.0, 0.0, 0.0))
    for rotation, said in ((np.full(9, np.nan), 'R holds nan'), (np.ones(9), 'is no rotation')):
        info.r = rotation
        path = record(info=info).write(tmp_path / said.replace(' ', '_'))
        with pytest.raises(DataError, match=said):
            BagDataset(path)[0]


def test_a_binned_region_has_the_camera_of_its_pixels(tmp_path: Path) -> None:
    info = camera_info(START_NS, f_px=2 * F_PX, height=5 * HEIGHT)
    info.width = 5 * WIDTH
    info.binning_x = info.binning_y = 2
    roi = info.roi
    roi.x_offset, roi.y_offset, roi.width, roi.height = 4, 2, 2 * WIDTH, 2 * HEIGHT
    sample = BagDataset(record(info=info).write(tmp_path / 'b'))[0]
    # Principal point 9 less the corner 4, then halved around pixel centres: (5 + 0.5) / 2 - 0.5.
    assert sample.intrinsics[0].tolist() == [F_PX, 0.0, 2.25]
    assert sample.intrinsics[1].tolist() == [0.0, F_PX, (CY_PX - 2 + 0.5) / 2 - 0.5]


@pytest.mark.parametrize('model', ['', 'equidistant', 'rational_polynomial'])
def test_every_distortion_model_is_rectified(tmp_path: Path, model: str) -> None:
    coefficients = (0.2, 0.0, 0.0, 0.0, *(0.0,) * (10 if model.startswith('r') else 0))
    info = camera_info(START_NS, distortion=coefficients, model=model)
    sample = BagDataset(record(info=info).write(tmp_path / 'b'))[0]
    assert sample.intrinsics[0, 0] == F_PX
    assert not np.array_equal(np.round(sample.image[0].numpy() * 255.0), pixels_of(0)[..., 0])


@pytest.mark.parametrize(
    ('topic', 'rectified'),
    [
        ('/cam/image_raw', False),
        ('/cam/image_rect', True),
        ('/cam/image_rect_color', True),
        ('/cam/image_rectified', True),
        ('/rect/image', True),
        ('/direct_cam/image_raw', False),
        ('/corrected_exposure/image_raw', False),
        ('/redirect/image_raw', False),
        ('/cam/image_unrectified', False),
        ('/rectangle/image', False),
    ],
)
def test_a_topic_is_rectified_by_whole_words(tmp_path: Path, topic: str, rectified: bool) -> None:
    info = camera_info(START_NS, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0), projection_f_px=20.0)
    recording = record(info=info)
    recording.messages = [
        (topic if name == IMAGE else name, stamp, message)
        for name, stamp, message in recording.messages
    ]
    sample = BagDataset(recording.write(tmp_path / 'b'))[0]
    as_recorded = np.array_equal(np.round(sample.image[0].numpy() * 255.0), pixels_of(0)[..., 0])
    assert as_recorded is rectified


def test_lidar_that_is_nowhere(tmp_path: Path) -> None:
    path = record(tf=None).write(tmp_path / 'b')
    with pytest.raises(DataError, match=r"frame 'velo' .* 'optical' .*holds nothing"):
        BagDataset(path)[0]


def test_zero_rotation_is_no_rotation() -> None:
    with pytest.raises(DataError, match='identity is'):
        rotation_matrix((0.0, 0.0, 0.0, 0.0))
    turn = rotation_matrix((0.0, 0.0, 2.0, 2.0))  # a quarter turn about z, not normalised
    np.testing.assert_allclose(turn @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)


def test_topics_are_chosen_or_named(tmp_path: Path) -> None:
    recording = record()
    stamp_ns = START_NS + 9 * STEP_NS
    recording.add('/rear/image_raw', stamp_ns, raw_image(stamp_ns, pixels_of(4)))
    recording.add('/rear/camera_info', stamp_ns, camera_info(stamp_ns))
    path = recording.write(tmp_path / 'b')
    with pytest.raises(ConfigError, match=r'2 image topics \(/cam/image_raw, /rear/image_raw\)'):
        BagDataset(path)
    dataset = BagDataset(path, image_topic='/rear/image_raw')
    assert dataset.topics.camera_info == '/rear/camera_info'
    assert len(dataset) == 1
    with pytest.raises(ConfigError, match="did you mean '/cam/image_raw'"):
        BagDataset(path, image_topic='/cam/image_rwa')


def test_bag_without_images_lists_what_it_holds(tmp_path: Path) -> None:
    recording = Recording()
    recording.add('/tf_static', START_NS, BOTH_FRAMES)
    path = recording.write(tmp_path / 'b')
    with pytest.raises(DataError, match=r'no image topic .*holds /tf_static \(tf2_msgs'):
        BagDataset(path)


def test_empty_bag(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='is empty: 0 messages recorded'):
        BagDataset(Recording().write(tmp_path / 'b'))


def test_image_topic_without_messages(tmp_path: Path) -> None:
    path = tmp_path / 'b'
    with Writer(path, version=9) as writer:
        for topic, kind in (
            (IMAGE, 'sensor_msgs/msg/Image'),
            (INFO, 'sensor_msgs/msg/CameraInfo'),
        ):
            writer.add_connection(topic, kind, typestore=STORE)
        other = writer.add_connection('/other', 'std_msgs/msg/Bool', typestore=STORE)
        writer.write(other, START_NS, bytes((0, 1, 0, 0, 1)))
    with pytest.raises(DataError, match='has no message on its topic /cam/image_raw'):
        BagDataset(path)


def test_broken_messages(tmp_path: Path) -> None:
    image = raw_image(START_NS, pixels_of(0))
    image.data = image.data[:100]
    recording = record()
    recording.messages[1] = (IMAGE, START_NS, image)
    dataset = BagDataset(recording.write(tmp_path / 'b'))
    with pytest.raises(
        DataError,
        match=rf'{START_NS} .* cannot be decoded: 20x12 image in rgb8: 100 bytes',
    ):
        dataset[0]
    for message, complaint in (
        (cloud(START_NS, np.ones((3, 3)), names='abc'), 'needs x, y and z as floats'),
        (cloud(START_NS, np.ones((3, 3))), 'has 20 bytes for 1x3 points'),
    ):
        if 'bytes' in complaint:
            message.data = message.data[:20]
        recording = record()
        recording.messages[3] = (CLOUD, START_NS, message)
        path = recording.write(tmp_path / complaint.replace(' ', '_'))
        with pytest.raises(DataError, match=complaint):
            BagDataset(path)[0]


@pytest.mark.parametrize(
    'name',
    ['kitti_0052_mini_mcap', 'kitti_0052_rawimg_db3', 'kitti_0052_mini_ros1.bag'],
)
def test_recorded_bags_agree_with_the_files_they_were_made_from(
    shared_dir: Path, name: str
) -> None:
    bag = BagDataset(shared_dir / 'data/bags' / name)
    kitti = KittiDataset(
        shared_dir / 'data/kitti_raw_mini',
        split=shared_dir / 'data/splits/eigen_mini/test_files.txt',
    )
    ours, theirs = bag[0], kitti[0]
    np.testing.assert_array_equal(ours.image.numpy(), theirs.image.numpy())
    np.testing.assert_array_equal(ours.valid.numpy(), theirs.valid.numpy())
    np.testing.assert_allclose(
        ours.depth_m[ours.valid].numpy(), theirs.depth_m[theirs.valid].numpy(), atol=1e-4
    )
    np.testing.assert_allclose(ours.intrinsics.numpy(), theirs.intrinsics.numpy())


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_stays_open_in_each_process_for_itself(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    path = record().write(tmp_path / 'b', plugin)
    dataset = BagDataset(path)
    bag = dataset._bag._bag
    assert bag is not None
    expected = [dataset[index] for index in range(3)]
    assert dataset._bag._bag is bag
    given = BagDataset(path)
    bag_given = given._bag._bag
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(given.__getitem__, 1).result()
        torch.testing.assert_close(found.image, expected[1].image)
        assert given._bag._bag is bag_given
        assert given._bag._owner != dataset._bag._owner, 'the first thread that reads has it'
    torch.testing.assert_close(dataset[2].image, expected[2].image)
    assert dataset._bag._bag is bag, 'the index is read once'
    # Workers inherit the open file; reading through it would move the place of the others.
    loader = DataLoader(_Images(dataset), batch_size=None, num_workers=2)
    for _, image in zip(range(2), loader, strict=False):
        torch.testing.assert_close(dataset[0].image, expected[0].image)
        torch.testing.assert_close(image, expected[0].image)
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(dataset.__getitem__, 1).result()
    torch.testing.assert_close(found.image, expected[1].image)
    assert dataset._bag._bag is bag
    lost = Record(stamp_ns=1, recorded_ns=1)
    dataset._windows[1] = (lost,)
    with pytest.raises(DataError, match='is gone; the bag has changed'):
        dataset[1]
    torch.testing.assert_close(dataset[0].image, expected[0].image)
    assert dataset._bag._bag is not bag, 'after an error it is opened again'
    assert pickle.loads(pickle.dumps(dataset._bag))._root == dataset.root  # noqa: S301  our own


class _Images(Dataset[torch.Tensor]):
    """The first image, over and over."""

    def __init__(self, dataset: BagDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.dataset[0 * index].image


@pytest.mark.parametrize('changes', [{'max_offset_s': 0.2}, {'rectified': False}])
def test_options_that_change_samples_change_the_description(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = record().write(tmp_path / 'b')
    assert describe(BagDataset(path)) == describe(BagDataset(path))
    assert describe(BagDataset(path)) != describe(BagDataset(path, **changes))


@pytest.mark.parametrize(
    ('place', 'turn'),
    [((0.0, np.nan, 0.0), (0.0, 0.0, 0.0, 1.0)), ((0.0, 0.0, 0.0), (np.nan, 0.0, 0.0, 1.0))],
)
def test_a_transform_that_is_not_finite_is_named(
    tmp_path: Path, place: tuple[float, ...], turn: tuple[float, ...]
) -> None:
    tf = transforms(('base', 'optical', place, turn))
    with pytest.raises(DataError, match='base -> optical has numbers that are not finite'):
        BagDataset(record(tf=tf).write(tmp_path / 'b'))
