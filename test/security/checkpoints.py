# SPDX-License-Identifier: Apache-2.0
"""Hostile checkpoints: bombs, damaged ones, and those whose options ask for what is elsewhere."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from depth_core.models import create_model
from depth_core.models.base import DepthModel

NAME: Final = 'packnet_slim'
TINY: Final[Mapping[str, Any]] = {
    'channels': (16, 16, 16, 32, 32),
    'blocks': (1, 1, 1, 1),
    'features_3d': 2,
}
_GIGABYTES: Final = 3 << 30


def _quantised(value: Tensor) -> Tensor:
    """What torch is about to give up, and files of former years hold."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.quantize_per_tensor(value.float(), 0.1, 0, torch.quint8)


def write_checkpoint(path: Path, **entries: object) -> None:
    """Write a checkpoint that is whole but for `entries`."""
    model = network()
    content: dict[str, object] = {
        'format': 'depth_ros.checkpoint',
        'version': 1,
        'name': NAME,
        'options': dict(model.options),
        'state': dict(model.state_dict()),
        'training': None,
        'provenance': None,
    }
    torch.save({**content, **entries}, path)


@functools.cache
def network() -> DepthModel:
    """The network of these checkpoints."""
    return create_model(NAME, **TINY)


def _entry(**entries: object) -> Callable[[Path], None]:
    return lambda path: write_checkpoint(path, **entries)


def _options(**options: object) -> Callable[[Path], None]:
    return lambda path: write_checkpoint(path, options={**network().options, **options})


def _model(name: str, **options: object) -> Callable[[Path], None]:
    return _entry(name=name, options=options)


def _weight(change: Callable[[torch.Tensor], object]) -> Callable[[Path], None]:
    """Change the first weight of the state."""

    def make(path: Path) -> None:
        state = dict(network().state_dict())
        key = next(iter(state))
        write_checkpoint(path, state={**state, key: change(state[key])})

    return make


def _pickle(content: bytes) -> Callable[[Path], None]:
    """A file of torch around a pickle that is given as it is."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', content)
            archive.writestr('archive/version', '3\n')

    return make


def _deflated(path: Path) -> None:
    """Zeros, packed: 6 MB of them became 6 GB."""
    whole = io.BytesIO()
    torch.save({'format': 'depth_ros.checkpoint', 'state': {}}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, 'w') as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
        with archive.open(zipfile.ZipInfo('archive/data/0'), 'w') as stored:
            stored.write(b'')
    with zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data/1', bytes(64 << 20))


def _overlapping(path: Path) -> None:
    """Many entries of the directory that all name the same stored bytes."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickle.dumps({}, 2))
        archive.writestr('archive/data/0', bytes(1 << 16))
        first = archive.getinfo('archive/data/0')
        for number in range(1, 500):
            again = zipfile.ZipInfo(f'archive/data/{number}')
            again.header_offset = first.header_offset
            again.CRC, again.file_size = first.CRC, first.file_size
            again.compress_size = first.compress_size
            archive.filelist.append(again)


def _state_of_pickle(inside: bytes) -> bytes:
    """A pickle of a dictionary of the right format whose state is what `inside` makes."""
    head = b'\x80\x02}('
    for key, value in (('format', 'depth_ros.checkpoint'), ('name', NAME)):
        head += _text(key) + _text(value)
    return head + _text('state') + inside + b'u.'


def _text(text: str) -> bytes:
    return b'X' + struct.pack('<I', len(text)) + text.encode()


def _doubling(begin: bytes, add: bytes) -> bytes:
    """Fifty containers, each of two references to the one before."""
    inside = begin + b'q\x00'
    for number in range(50):
        inside += b'0' + begin + b'(h' + bytes([number]) + b'h' + bytes([number]) + add
        inside += b'q' + bytes([number + 1])
    return inside


def _of_tuples() -> bytes:
    """A key whose hash is never done: fifty tuples, each of two references."""
    inside = b'K\x01q\x00'
    for number in range(50):
        inside += b'0h' + bytes([number]) * 1 + b'h' + bytes([number]) + b'\x86'
        inside += b'q' + bytes([number + 1])
    return b'}(' + inside + b'K\x01u'


def _without_storage(path: Path) -> None:
    """A tensor of four values that declares a thousand million."""
    small = torch.zeros(4)
    write_checkpoint(path, state={'weight': small.as_strided((1 << 30,), (0,))})


def _halves(path: Path, share: float) -> None:
    write_checkpoint(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _legacy(path: Path) -> None:
    """The old format, which states how many values follow before they do."""
    torch.save({'a': torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'K\x03', b'J\xff\xff\xff\x3f', 2))


class _Call:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._what = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._what


_ELSEWHERE: Final = '/nonexistent/elsewhere.ckpt'

FILES: Final[Mapping[str, Callable[[Path], None]]] = {
    'empty.ckpt': Path.touch,
    'deflated.ckpt': _deflated,
    'overlapping.ckpt': _overlapping,
    'half.ckpt': lambda path: _halves(path, 0.5),
    'nine_tenths.ckpt': lambda path: _halves(path, 0.9),
    'zip_of_text.ckpt': _pickle(b'hello'),
    'legacy_sizes.ckpt': _legacy,
    'buffer_by_size.ckpt': _pickle(
        b'\x80\x02c__builtin__\nbytearray\n\x8a\x05'
        + struct.pack('<q', _GIGABYTES)[:5]
        + b'\x85R.'
    ),
    'tensor_by_size.ckpt': _pickle(
        b'\x80\x02ctorch\nTensor\n\x8a\x05' + struct.pack('<q', _GIGABYTES)[:5] + b'\x85R.'
    ),
    'doubled_lists.ckpt': _pickle(_state_of_pickle(_doubling(b']', b'e'))),
    'doubled_tuples.ckpt': _pickle(_state_of_pickle(_of_tuples())),
    'contains_itself.ckpt': _pickle(_state_of_pickle(b'}q\x00(' + _text('a') + b'h\x00u')),
    'nested.ckpt': _pickle(b'\x80\x02' + b']' * 20_000 + b'a' * 19_999 + b'.'),
    'nested_tuples.ckpt': _pickle(b'\x80\x02)' + b'\x85' * 20_000 + b'.'),
    'calls.ckpt': _pickle(pickle.dumps(_Call(print, 'executed'), 2)),
    'long_number.ckpt': _pickle(
        b'\x80\x02\x8b' + struct.pack('<i', 20_000) + b'\x7f' * 20_000 + b'.'
    ),
    'shared_storage.ckpt': _without_storage,
    'no_state.ckpt': _entry(state=None),
    'state_of_text.ckpt': _entry(state={'a': 'b'}),
    'state_of_numbers.ckpt': _entry(state={1: torch.zeros(1)}),
    'state_nested.ckpt': _entry(state={'a': {'b': torch.zeros(1)}}),
    'state_ordered_methods.ckpt': _entry(state=OrderedDict(a=torch.zeros(1))),
    'name_of_list.ckpt': _entry(name=['packnet_slim']),
    'name_unknown.ckpt': _entry(name='a' * 100_000),
    'name_escapes.ckpt': _entry(name='\x1b[2J\x1b]0;title\x07\nerror: none'),
    'options_of_list.ckpt': _entry(options=[1, 2]),
    'options_of_numbers.ckpt': _entry(options={1: 2}),
    'options_unknown.ckpt': _options(**{'nonsense\x1b[31m': 1}),
    'options_nan.ckpt': _options(max_depth=float('nan')),
    'options_negative.ckpt': _options(channels=(-16, 16, 16, 32, 32)),
    'options_huge_number.ckpt': _options(channels=(1 << 40, 16, 16, 32, 32)),
    'options_wide.ckpt': _options(channels=(1 << 14,) * 5),
    'options_deep.ckpt': _options(blocks=(1_000_000, 1, 1, 1)),
    'options_many.ckpt': _options(channels=(16,) * 10_000),
    'options_bits.ckpt': _options(features_3d=1 << 4000),
    'options_of_tensors.ckpt': _options(channels=torch.ones(5)),
    'zoe_bins.ckpt': _model('zoedepth_small', n_bins=1 << 31),
    'zoe_table.ckpt': _model('zoedepth_n', encoder_options={'img_size': 1 << 14}),
    'zoe_path.ckpt': _model('zoedepth_n', encoder_options={'checkpoint_path': _ELSEWHERE}),
    'encoder_hub.ckpt': _model('densedepth_small', encoder='hf-hub:timm/resnet18.a1_in1k'),
    'encoder_path.ckpt': _model('densedepth_small', encoder='local-dir:/etc'),
    'encoder_of_number.ckpt': _model('densedepth_small', encoder=7),
    'fetches.ckpt': _model('densedepth', pretrained=True),
    'fetches_timm.ckpt': _model('densedepth_small', encoder_weights='download'),
    'fetches_former.ckpt': _model('densedepth_small', pretrained=True),
    'reads_elsewhere.ckpt': _model(
        'semantic_resnet18', semantic_weights=_ELSEWHERE, semantic_encoder='resnet18'
    ),
    'nan.ckpt': _weight(lambda value: value * float('nan')),
    'infinite_in_float32.ckpt': _weight(lambda value: value.double().fill_(1e300)),
    'infinite.ckpt': _weight(lambda value: value + float('inf')),
    'complex.ckpt': _weight(lambda value: value.to(torch.complex64)),
    'sparse.ckpt': _weight(lambda value: value.to_sparse()),
    'meta.ckpt': _weight(lambda value: value.to('meta')),
    'quantised.ckpt': _weight(_quantised),
    'whole_numbers.ckpt': _weight(lambda value: value.to(torch.int64)),
    'booleans.ckpt': _weight(lambda value: value > 0),
    'other_shape.ckpt': _weight(lambda value: value[:1]),
    'without_values.ckpt': _weight(lambda value: value[:0]),
    'trained_size.ckpt': _entry(provenance={'height': -5, 'width': 1 << 40}),
    'trained_of_text.ckpt': _entry(provenance={'height': '96', 'width': '96'}),
    'trained_of_truths.ckpt': _entry(provenance={'height': True, 'width': True}),
    'version_of_truth.ckpt': _entry(version=True),
    'version_of_tensor.ckpt': _entry(version=torch.ones(3)),
    'trained_huge.ckpt': _entry(provenance={'height': 1 << 20, 'width': 1 << 20}),
    'focal.ckpt': _entry(provenance={'canonical_focal_px': float('nan')}),
    'focal_of_text.ckpt': _entry(provenance={'canonical_focal_px': '900'}),
    'sigma_of_tensor.ckpt': _entry(provenance={'sigma_calibration': {'factor': torch.ones(3)}}),
    'sigma.ckpt': _entry(provenance={'sigma_calibration': {'factor': float('nan')}}),
    'sigma_of_text.ckpt': _entry(provenance={'sigma_calibration': {'factor': 'a'}}),
    'sigma_of_list.ckpt': _entry(provenance={'sigma_calibration': [1]}),
    'provenance_of_set.ckpt': _entry(provenance={'a': {1, 2}}),
    'provenance_of_complex.ckpt': _entry(provenance={'a': 1j}),
}
"""By name; each is refused."""
