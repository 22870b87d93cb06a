# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_core.data.cache import CachedDataset, cached
from depth_core.data.folder import FolderDataset
from depth_core.data.sample import DepthDataset, Sample
from depth_core.data.synthetic import SyntheticDataset
from depth_core.errors import DataError


def scenes(**changes: object) -> SyntheticDataset:
    settings = {
        'seed': 3,
        'length': 5,
        'height': 24,
        'width': 80,
        'scenes': 'outdoor',
        'neighbours': (1,),
        **changes,
    }
    return SyntheticDataset(**settings)  # type: ignore[arg-type]  # one table of settings


class Counting:
    """A dataset that says how often it was asked, and can break off."""

    def __init__(self, length: int = 6, fail_at: int = -1, size: int = 8) -> None:
        self.length = length
        self._fail_at = fail_at
        self._size = size
        self._asked: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        self._asked.append(index)
        if index == self._fail_at:
            raise KeyboardInterrupt
        size = 4 if index == 0 else self._size
        return Sample(
            image=torch.full((3, 4, size), index / 255.0),
            depth_m=torch.full((4, size), 1.0 + index / 3.0),
            valid=torch.ones(4, size, dtype=torch.bool),
            intrinsics=torch.eye(3),
            key=f'count/{index}',
        )


def test_cached_samples_equal_the_originals(tmp_path: Path) -> None:
    source = scenes()
    store: DepthDataset = cached(source, tmp_path / 'c', depth_precision='float32')
    assert len(store) == 5
    for index in (0, 4, -2):
        stored, fresh = store[index], source[index]
        assert stored.key == fresh.key
        for name in ('image', 'depth_m', 'valid', 'intrinsics', 'pose', 'semantic'):
            assert torch.equal(getattr(stored, name), getattr(fresh, name)), name
            assert getattr(stored, name).dtype == getattr(fresh, name).dtype
        for name in (
            'scene_class',
            'neighbour_images',
            'neighbour_poses',
            'neighbour_dt_s',
            'speed_mps',
        ):
            assert torch.equal(getattr(stored, name), getattr(fresh, name)), name
    with pytest.raises(IndexError, match='5 samples'):
        store[5]


def test_half_precision_is_stated_and_kept(tmp_path: Path) -> None:
    source = scenes()
    store = cached(source, tmp_path)
    assert store.depth_precision == 'float16'
    stored, fresh = store[1].depth_m, source[1].depth_m
    assert torch.equal(torch.isinf(stored), torch.isinf(fresh))
    near = torch.isfinite(fresh)
    assert float((stored[near] / fresh[near] - 1.0).abs().max()) <= 2.0**-11


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    first = Counting(size=4)
    steps: list[tuple[int, int]] = []
    cached(first, tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 6) for done in range(1, 7)]
    again = Counting(size=4)
    cached(again, tmp_path)
    # Only the first sample, which identifies the data.
    assert again._asked == [0]


def test_an_interrupted_build_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(Counting(size=4, fail_at=3), tmp_path)
    with pytest.raises(DataError, match='lacks 3 of 6'):
        CachedDataset(tmp_path)
    rest = Counting(size=4)
    store = cached(rest, tmp_path)
    assert rest._asked == [0, 3, 4, 5]
    assert [round(float(store[index].image[0, 0, 0]) * 255) for index in range(6)] == list(
        range(6)
    )


def test_a_killed_build_goes_on(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'cache'
    program = (
        'from depth_core.data.cache import cached;'
        'from test.depth_core.data.test_cache import Counting;'
        f'cached(Counting(length=250, size=4), {str(folder)!r}, progress=lambda done, total:'
        ' done < 70 or (print(done, flush=True), input()))'  # where it stays until it is killed
    )
    with subprocess.Popen(
        [sys.executable, '-c', program],
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == 70
        process.send_signal(signal.SIGKILL)
    done: list[int] = []
    source = Counting(length=250, size=4)
    store = cached(source, folder, progress=lambda count, _: done.append(count))
    assert 64 < done[0] < 250
    for index in (0, 70, 249):
        assert torch.equal(store[index].image, source[index].image)


def test_workers_store_the_same(tmp_path: Path) -> None:
    alone = cached(scenes(), tmp_path / 'alone')
    shared = cached(scenes(), tmp_path / 'shared', workers=2)
    for index in range(5):
        assert torch.equal(alone[index].image, shared[index].image)
        assert alone[index].key == shared[index].key


@pytest.mark.parametrize(
    'changes', [{'seed': 4}, {'length': 6}, {'width': 96}, {'camera': 'vga'}, {'neighbours': ()}]
)
def test_a_folder_made_by_other_settings_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    cached(scenes(), tmp_path)
    with pytest.raises(DataError, match='made from other data') as caught:
        cached(scenes(**changes), tmp_path)
    assert 'Choose another folder' in str(caught.value)
    with pytest.raises(DataError, match='made from other data'):
        cached(scenes(), tmp_path, depth_precision='float32')


def test_data_that_changed_under_the_same_settings_is_refused(tmp_path: Path) -> None:
    class Brighter(Counting):
        __qualname__ = Counting.__qualname__

        def __getitem__(self, index: int) -> Sample:
            return super().__getitem__(index + 1)

    Brighter.__module__ = Counting.__module__
    cached(Counting(size=4), tmp_path)
    with pytest.raises(DataError, match='first_sample'):
        cached(Brighter(size=4), tmp_path)


def folder(root: Path, *metres: float) -> FolderDataset:
    """An image with a depth file for each number, of that depth in metres."""
    (root / 'images').mkdir(parents=True)
    (root / 'depth').mkdir()
    for index, depth_m in enumerate(metres):
        assert cv2.imwrite(str(root / f'images/{index}.png'), np.zeros((4, 6, 3), np.uint8))
        write_depth(root, index, depth_m)
    return FolderDataset(root)


def write_depth(root: Path, index: int, depth_m: float) -> None:
    np.save(root / f'depth/{index}.npy', np.full((4, 6), depth_m, np.float32))


def depths(store: CachedDataset) -> list[float]:
    return [float(store[index].depth_m.max()) for index in range(len(store))]


@pytest.mark.parametrize(('index', 'workers'), [(0, 0), (2, 2)])
def test_samples_whose_files_were_replaced_are_made_again(
    tmp_path: Path, index: int, workers: int
) -> None:
    dataset = folder(tmp_path / 'd', 1.0, 2.0, 3.0)
    assert depths(cached(dataset, tmp_path / 'c')) == [1.0, 2.0, 3.0]
    before = (tmp_path / f'd/depth/{index}.npy').stat()
    write_depth(tmp_path / 'd', index, 7.0)
    # As an archive is unpacked: same size, same time of modification.
    os.utime(tmp_path / f'd/depth/{index}.npy', ns=(before.st_atime_ns, before.st_mtime_ns))
    made: list[int] = []
    store = cached(
        dataset, tmp_path / 'c', workers=workers, progress=lambda done, _: made.append(done)
    )
    assert depths(store) == [7.0 if place == index else 1.0 + place for place in range(3)]
    assert made == [3]


def test_files_that_were_only_touched_or_copied_are_not_read_again(tmp_path: Path) -> None:
    dataset = folder(tmp_path / 'd', 1.0, 2.0)
    cached(dataset, tmp_path / 'c')
    for path in (tmp_path / 'd').rglob('*.*'):
        os.utime(path, ns=(1, 1))
    made: list[int] = []
    for _ in range(2):
        cached(dataset, tmp_path / 'c', progress=lambda done, _: made.append(done))
    assert made == []


def test_ground_truth_that_was_added_later_is_read(tmp_path: Path) -> None:
    folder(tmp_path / 'd', 1.0, 2.0)
    (tmp_path / 'd/depth/1.npy').rename(tmp_path / 'later.npy')
    store = cached(FolderDataset(tmp_path / 'd'), tmp_path / 'c')
    assert not store[1].valid.any()
    (tmp_path / 'later.npy').rename(tmp_path / 'd/depth/1.npy')
    assert depths(cached(FolderDataset(tmp_path / 'd'), tmp_path / 'c')) == [1.0, 2.0]


def test_intrinsics_belong_to_every_sample(tmp_path: Path) -> None:
    folder(tmp_path / 'd', 1.0, 2.0)
    cached(FolderDataset(tmp_path / 'd'), tmp_path / 'c')
    (tmp_path / 'd/intrinsics.txt').write_text('5 5 2.5 1.5')
    store = cached(FolderDataset(tmp_path / 'd'), tmp_path / 'c')
    assert [float(store[index].intrinsics[0, 0]) for index in (0, 1)] == [5.0, 5.0]


def test_an_interrupted_renewal_goes_on(tmp_path: Path) -> None:
    dataset = folder(tmp_path / 'd', 1.0, 2.0, 3.0)
    cached(dataset, tmp_path / 'c')
    for index in range(3):
        write_depth(tmp_path / 'd', index, 9.0)

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(dataset, tmp_path / 'c', progress=interrupt)
    with pytest.raises(DataError, match='lacks 2 of 3'):
        CachedDataset(tmp_path / 'c')
    assert depths(cached(dataset, tmp_path / 'c')) == [9.0, 9.0, 9.0]


def test_a_cache_of_an_older_format_is_made_again_and_a_newer_one_refused(tmp_path: Path) -> None:
    cached(Counting(size=4), tmp_path)
    header = tmp_path / 'cache.json'
    header.write_text(header.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(DataError, match='holds no cache'):
        CachedDataset(tmp_path)
    again = Counting(size=4)
    cached(again, tmp_path)
    assert again._asked == [0, *range(6)]
    header.write_text(header.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(DataError, match='has format 3, this version reads 2'):
        cached(Counting(size=4), tmp_path)


def test_samples_of_unequal_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='resize or crop before caching'):
        cached(Counting(size=8), tmp_path)


@pytest.mark.parametrize('left', [0.0, 0.1, 0.9])
def test_a_truncated_array_is_not_filled_with_zeros(tmp_path: Path, left: float) -> None:
    cached(Counting(size=4), tmp_path)
    image = tmp_path / 'image.npy'
    image.write_bytes(image.read_bytes()[: int(left * image.stat().st_size)])
    with pytest.raises(DataError, match=r'image\.npy is damaged'):
        cached(Counting(size=4), tmp_path)


def test_other_options_are_named_alone(tmp_path: Path) -> None:
    cached(Counting(size=4), tmp_path)
    header = tmp_path / 'cache.json'
    content = json.loads(header.read_text())
    content['dataset']['images'] = [f'{number}.png' for number in range(10_000)]
    header.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"made from other data \(dataset\.images: stored \['0"):
        cached(Counting(size=4), tmp_path)


def test_damage_is_named(tmp_path: Path) -> None:
    cached(Counting(size=4), tmp_path)
    depth = tmp_path / 'depth_m.npy'
    depth.write_bytes(depth.read_bytes()[:100])
    with pytest.raises(DataError, match=r'depth_m\.npy is damaged'):
        CachedDataset(tmp_path)
    (tmp_path / 'cache.json').write_text('{', encoding='utf-8')
    with pytest.raises(DataError, match=r'cache\.json is damaged'):
        CachedDataset(tmp_path)
    with pytest.raises(DataError, match='holds no cache'):
        CachedDataset(tmp_path / 'nothing')


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('', encoding='utf-8')
    with pytest.raises(DataError, match=r'cannot keep a cache in .*file'):
        cached(Counting(size=4), tmp_path / 'file' / 'cache')


def test_settings_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    class Odd(Counting):
        def __init__(self) -> None:
            super().__init__(size=4)
            self.function = np.sin

    with pytest.raises(DataError, match="'function'"):
        cached(Odd(), tmp_path)


def test_a_cache_travels_to_workers(tmp_path: Path) -> None:
    store = cached(Counting(size=4), tmp_path)
    store[0]
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - what a data loader does
    assert torch.equal(copy[2].image, store[2].image)
    assert '"length": 6' in copy.description
