# SPDX-License-Identifier: Apache-2.0
"""Semantic labels of one's own images, as the semantic network learns from."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from depth_core.contracts import Uint8Array
from depth_core.data import open_dataset
from depth_core.data.folder import FolderDataset
from depth_core.data.sample import collate
from depth_core.data.transforms import HorizontalFlip, Transformed
from depth_core.errors import ConfigError, DataError
from depth_core.train.semantic import main

CONFIG = Path(__file__).resolve().parents[3] / 'config/train/semantic_synthetic.yaml'
TRAIN_IDS = np.array([[0, 1, 2, 255], [10, 13, 18, 5]], np.uint8)
LABEL_IDS = np.array([[7, 8, 11, 0], [23, 26, 33, 17]], np.uint8)
"""The same classes: road, sidewalk, building, none; sky, car, bicycle, pole."""


def write(root: Path, stem: str, labels: NDArray[np.integer] | None, *, size: int = 1) -> None:
    """An image whose red channel gives the class, and its labels, each pixel `size` wide."""
    for folder in ('images', 'semantic'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows, columns = TRAIN_IDS.shape if labels is None else labels.shape[:2]
    image = np.zeros((rows * size, columns * size, 3), np.uint8)
    if labels is not None:
        labels = labels.repeat(size, 0).repeat(size, 1)
        image[..., 2] = labels if labels.ndim == 2 else labels[..., 0]
        assert cv2.imwrite(str(root / f'semantic/{stem}.png'), labels)
    assert cv2.imwrite(str(root / f'images/{stem}.png'), image)


def semantic(dataset: FolderDataset, index: int = 0) -> list[list[int]]:
    labels = dataset[index].semantic
    assert labels is not None
    assert labels.dtype == torch.int64
    return [[int(value) for value in row] for row in labels]


def test_labels_are_matched_by_name(tmp_path: Path) -> None:
    write(tmp_path, 'a', TRAIN_IDS)
    write(tmp_path, 'b', None)
    dataset = FolderDataset(tmp_path)
    assert semantic(dataset) == TRAIN_IDS.tolist()
    assert semantic(dataset, 1) == [[255] * 4] * 2, 'no file, no label'
    batch = collate([dataset[0], dataset[1]])
    assert batch.semantic is not None
    assert batch.semantic.shape == (2, 2, 4)
    only = tmp_path / 'only.txt'
    only.write_text('b\n')
    assert FolderDataset(tmp_path, split=only)[0].semantic is None


def test_label_ids_become_train_ids(tmp_path: Path) -> None:
    write(tmp_path, 'a', LABEL_IDS)
    dataset = open_dataset('folder', root=tmp_path, labels='label_ids')
    assert isinstance(dataset, FolderDataset)
    assert semantic(dataset) == TRAIN_IDS.tolist()
    with pytest.raises(DataError, match=r'hold the codes 23, 26, 33; train_ids are 0\.\.18, and '
                       r'255 .* or labels label_ids if they are'):  # fmt: skip
        FolderDataset(tmp_path)[0]


def test_labels_are_picked_and_mirrored_never_mixed(tmp_path: Path) -> None:
    write(tmp_path, 'a', TRAIN_IDS, size=3)
    dataset = FolderDataset(tmp_path, height=2, width=4)
    assert semantic(dataset) == TRAIN_IDS.tolist()
    mirrored = Transformed(dataset, HorizontalFlip(probability=1.0), seed=0)[0]
    assert mirrored.semantic is not None
    assert mirrored.semantic.tolist() == TRAIN_IDS[:, ::-1].tolist()
    # Red is the class: labels and image moved alike.
    red = (mirrored.image[0] * 255.0).round().long()
    assert torch.equal(red, mirrored.semantic)
    larger = FolderDataset(tmp_path, height=12, width=24)[0]
    assert larger.semantic is not None
    assert set(larger.semantic.flatten().tolist()) == set(TRAIN_IDS.flatten().tolist())


def test_a_palette_colours_the_ids_and_does_not_change_them(tmp_path: Path) -> None:
    write(tmp_path, 'a', TRAIN_IDS)
    image = Image.fromarray(TRAIN_IDS)
    image.putpalette([value for code in range(256) for value in (255 - code, 7, code)])
    image.save(tmp_path / 'semantic/a.png')
    assert semantic(FolderDataset(tmp_path)) == TRAIN_IDS.tolist()


@pytest.mark.parametrize(
    ('labels', 'kind', 'message'),
    [
        (TRAIN_IDS.astype(np.uint16), 'train_ids', r'a.png have pixel type I;16; .* give the ids'),
        (np.stack([TRAIN_IDS] * 3, -1), 'train_ids', 'pixel type RGB; labels are 8-bit PNG files'),
        (TRAIN_IDS[:, :2], 'train_ids', 'a: labels of 2x2 does not belong to an image of 2x4'),
        (TRAIN_IDS + np.uint8(1), 'train_ids', 'hold the codes 19; train_ids are 0..18'),
        (
            LABEL_IDS + np.uint8(1),
            'label_ids',
            r'codes 34; label_ids are 0\.\.33, .* convert them',
        ),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, labels: Uint8Array, kind: str, message: str
) -> None:
    write(tmp_path, 'a', TRAIN_IDS)
    assert cv2.imwrite(str(tmp_path / 'semantic/a.png'), labels)
    dataset = FolderDataset(tmp_path, labels=kind)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        dataset[0]


def test_broken_files_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    write(tmp_path, 'a', TRAIN_IDS)
    path = tmp_path / 'semantic/a.png'
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r'a.png \(40 bytes\) cannot be decoded'):
        FolderDataset(tmp_path)[0]
    with pytest.raises(ConfigError, match="unknown kind of labels 'trainids'; did you mean"):
        open_dataset('folder', root=tmp_path, labels='trainids')


def test_a_semantic_network_learns_from_a_folder(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path, f'{index}', LABEL_IDS, size=16)
    for name, stems in (('train', '0\n1\n'), ('held_out', '2\n')):
        (tmp_path / f'{name}.txt').write_text(stems)
    data = [
        argument
        for part, split in (('train', 'train'), ('validation', 'held_out'))
        for argument in (
            f'--data.{part}.name=folder', f'--data.{part}.root={tmp_path}',
            f'--data.{part}.split={tmp_path / split}.txt',
            f'--data.{part}.options={{"labels": "label_ids"}}',
        )
    ]  # fmt: skip
    main([
        '--config', str(CONFIG), *data,
        '--model.options.semantic_encoder', 'tu-mobilenetv3_small_050',
        '--model.options.semantic_channels', '16', '--model.options.semantic_head_channels', '32',
        '--data.height', '64', '--data.width', '64', '--data.workers', '0',
        f'--data.cache={tmp_path / "cache"}', '--trainer.max_steps', '2',
        '--trainer.batch_size', '2', '--schedule.warmup_steps', '1',
        '--trainer.run_dir', str(tmp_path / 'run'),
    ])  # fmt: skip
    (written,) = json.loads((tmp_path / 'run/metrics.json').read_text())
    iou = {key[4:]: value for key, value in written.items() if key.startswith('iou/')}
    assert set(iou) == {'road', 'sidewalk', 'building', 'pole', 'sky', 'car', 'bicycle'}
    assert written['miou'] == pytest.approx(np.mean(list(iou.values())))
