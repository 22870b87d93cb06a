# SPDX-License-Identifier: Apache-2.0
"""Keras files are read from their own bytes alone; what points elsewhere is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from depth_core.errors import CheckpointError
from depth_core.tensor_files.keras import is_hdf5, read_keras

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def written(path: Path, add: Callable[[h5py.Group], None], *, layer: str = 'conv') -> Path:
    """A file of one layer, into whose group `add` puts the array `conv/kernel:0`."""
    with h5py.File(path, 'w') as file:
        root = file.create_group('model_weights')
        root.attrs['layer_names'] = [layer.encode()]
        group = root.create_group(layer)
        group.attrs['weight_names'] = [b'conv/kernel:0']
        add(group.create_group('conv'))
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Another file, whose content must not come out."""
    path = tmp_path / 'secret.h5'
    with h5py.File(path, 'w') as file:
        file['kernel:0'] = VALUES
    return path


@pytest.mark.parametrize(
    'options',
    [{}, {'compression': 'gzip'}, {'compression': 'lzf', 'shuffle': True}, {'fletcher32': True}],
)
def test_stored_values_are_read(tmp_path: Path, options: dict[str, object]) -> None:
    path = written(
        tmp_path / 'a.h5', lambda group: group.create_dataset('kernel:0', data=VALUES, **options)
    )
    assert is_hdf5(path)
    ((name, value),) = read_keras(path).items()
    assert name == 'conv/kernel'
    assert torch.equal(value, torch.from_numpy(VALUES))


def test_values_of_the_other_byte_order_and_of_half_precision(tmp_path: Path) -> None:
    for kind in ('>f4', '<f2', '>f8'):
        path = written(
            tmp_path / 'a.h5',
            lambda group: group.create_dataset('kernel:0', data=VALUES.astype(kind)),  # noqa: B023
        )
        value = read_keras(path)['conv/kernel']
        assert torch.equal(value.float(), torch.from_numpy(VALUES)), kind


def test_a_link_to_another_file_is_refused(tmp_path: Path, secret: Path) -> None:
    def add(group: h5py.Group) -> None:
        group['kernel:0'] = h5py.ExternalLink(secret.name, '/kernel:0')

    path = written(tmp_path / 'a.h5', add)
    with h5py.File(path) as file:  # it does give the other file's values when read carelessly
        assert np.array_equal(file['model_weights/conv/conv/kernel:0'][()], VALUES)
    rule = r'a\.h5 is refused: /model_weights/conv/conv/kernel:0 is a link to another file'
    with pytest.raises(CheckpointError, match=rf'{rule} \(secret\.h5\)'):
        read_keras(path)


@pytest.mark.parametrize('linked', ['model_weights', 'conv'])
def test_a_group_that_is_a_link_to_another_file(tmp_path: Path, linked: str) -> None:
    other = written(
        tmp_path / 'other.h5', lambda group: group.create_dataset('kernel:0', data=VALUES)
    )
    path = tmp_path / 'a.h5'
    with h5py.File(path, 'w') as file:
        if linked == 'model_weights':
            file[linked] = h5py.ExternalLink(other.name, linked)
        else:
            root = file.create_group('model_weights')
            root.attrs['layer_names'] = [b'conv']
            root[linked] = h5py.ExternalLink(other.name, f'model_weights/{linked}')
    with pytest.raises(CheckpointError, match=rf'{linked} is a link to another file \(other\.h5'):
        read_keras(path)


def test_a_link_to_another_object_is_refused(tmp_path: Path) -> None:
    def add(group: h5py.Group) -> None:
        group['values'] = VALUES
        group['kernel:0'] = h5py.SoftLink('/model_weights/conv/conv/values')

    with pytest.raises(CheckpointError, match='kernel:0 is a link to another object'):
        read_keras(written(tmp_path / 'a.h5', add))


def test_values_stored_in_another_file_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / 'raw.bin'
    raw.write_bytes(b'secret of 24 bytes, here.')

    def add(group: h5py.Group) -> None:
        group.create_dataset('kernel:0', (2, 3), np.float32, external=[(str(raw), 0, 24)])

    with pytest.raises(CheckpointError, match=r'kernel:0 is stored in another file \(.*raw\.bin'):
        read_keras(written(tmp_path / 'a.h5', add))


def test_values_put_together_from_another_file_are_refused(tmp_path: Path, secret: Path) -> None:
    layout = h5py.VirtualLayout(shape=(2, 3), dtype=np.float32)
    layout[:] = h5py.VirtualSource(secret.name, 'kernel:0', shape=(2, 3))

    def add(group: h5py.Group) -> None:
        group.create_virtual_dataset('kernel:0', layout)

    with pytest.raises(CheckpointError, match=r'kernel:0 is put together .* \(virtual\)'):
        read_keras(written(tmp_path / 'a.h5', add))


@pytest.mark.parametrize(
    'options',
    [
        {},  # never written: HDF5 would make the values up
        {'chunks': (1024, 1024)},
        {'chunks': (1024, 1024), 'compression': 'gzip'},
    ],
)
def test_more_values_than_the_file_holds_are_refused(
    tmp_path: Path, options: dict[str, object]
) -> None:
    shape = (2**20, 2**20)  # 4 TiB
    path = written(
        tmp_path / 'a.h5', lambda group: group.create_dataset('kernel:0', shape, 'f4', **options)
    )
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r'kernel:0 declares 4398046511104 bytes'):
        read_keras(path)


def test_an_array_that_hardly_takes_room_is_refused(tmp_path: Path) -> None:
    zeros = np.zeros(1_000_000, np.float32)
    path = written(
        tmp_path / 'a.h5',
        lambda group: group.create_dataset('kernel:0', data=zeros, compression='gzip'),
    )
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match='kernel:0 declares 4000000 bytes'):
        read_keras(path)


def test_the_same_values_under_many_names_are_refused(tmp_path: Path) -> None:
    path = written(
        tmp_path / 'a.h5', lambda group: group.create_dataset('kernel:0', data=np.zeros(10_000))
    )
    with h5py.File(path, 'a') as file:
        layer = file['model_weights/conv']
        for index in range(1, 3):
            layer[f'conv/kernel_{index}:0'] = layer['conv/kernel:0']
        names = [f'conv/kernel{end}:0'.encode() for end in ('', '_1', '_2')]
        layer.attrs['weight_names'] = names
    with pytest.raises(CheckpointError, match='declares 80000 bytes'):
        read_keras(path)


@pytest.mark.parametrize('kind', [h5py.ref_dtype, h5py.string_dtype(), np.dtype([('a', 'f4')])])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, kind: np.dtype) -> None:
    path = written(
        tmp_path / 'a.h5', lambda group: group.create_dataset('kernel:0', (2,), dtype=kind)
    )
    with pytest.raises(CheckpointError, match=r'kernel:0 has values of type .*, no numbers'):
        read_keras(path)


def test_a_compression_that_another_library_would_undo_is_refused(tmp_path: Path) -> None:
    def add(group: h5py.Group) -> None:
        group.create_dataset('kernel:0', data=VALUES, scaleoffset=2)

    with pytest.raises(CheckpointError, match=r'kernel:0 is compressed by filter 6, unknown here'):
        read_keras(written(tmp_path / 'a.h5', add))


def test_an_array_in_the_place_of_a_layer(tmp_path: Path) -> None:
    path = tmp_path / 'a.h5'
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [b'conv']
        file['conv'] = VALUES
    with pytest.raises(CheckpointError, match='/conv is no group of layers'):
        read_keras(path)
