# SPDX-License-Identifier: Apache-2.0
"""Reading the weight files that authors published, without running anything they hold.

PyTorch files are pickles, and a pickle may call any function by name. They are read by torch's
own restricted reader, which knows tensors and plain containers. What some authors saved beside
their weights (settings, metrics as arrays) is allowed by name and replaced by inert containers:
nothing of it is needed, and neither yacs nor easydict nor NumPy's unpickling takes part. Any
other name is refused before anything is called. Safetensors and Keras files hold no code.
"""

from __future__ import annotations

import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.weights.pickle_names import foreign_names

_HDF5_SIGNATURE: Final = b'\x89HDF\r\n\x1a\n'
_SAFETENSORS: Final = '.safetensors'
_LENGTH_BYTES: Final = 8
_STATE_NAMES: Final = ('state_dict', 'model_state_dict', 'model')
_PLAIN_ENTRIES: Final = frozenset({'height', 'width', 'use_stereo'})
_DEPTH_FILES: Final = ('encoder.pth', 'depth.pth')
_POSE_FILES: Final = ('pose_encoder.pth', 'pose.pth')
_SHOWN: Final = 10


class _Left:
    """Stands where a file holds an object that is not needed; keeps nothing, calls nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_ALLOWED: Final[Mapping[str, Callable[..., object]]] = {
    'argparse.Namespace': OrderedDict,
    'easydict.EasyDict': OrderedDict,
    'yacs.config.CfgNode': OrderedDict,
    'numpy.core.multiarray._reconstruct': _Left,
    'numpy.core.multiarray.scalar': _Left,
    'numpy._core.multiarray._reconstruct': _Left,
    'numpy._core.multiarray.scalar': _Left,
    'numpy.dtype': _Left,
    'numpy.ndarray': _Left,
}
"""What authors pickled beside their weights, and what is made in its place."""


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """The weights of a published file or folder, on the CPU."""

    tensors: Mapping[str, Tensor]
    """Names and values as the file has them."""
    is_keras: bool
    """Whether the names are Keras's `layer/parameter` and the values in its order of axes."""
    paths: tuple[Path, ...]
    """The files that were read."""


def read_official_file(path: Path | str) -> OfficialFile:
    """Read PyTorch (zip or old pickle), safetensors or Keras HDF5, told apart by their content.

    A folder is read as monodepth2 publishes its networks, `encoder.pth` and `depth.pth` with
    their own names, `pose_encoder.pth` and `pose.pth` with `pose_encoder.` and `pose.` before
    theirs; or as Hugging Face does, `model.safetensors`.

    Args:
        path: The file or folder.

    Returns:
        The state dict, also from inside `state_dict`, `model_state_dict` or `model`. Values may
        be views of the file: they are valid while it is left as it is.

    Raises:
        CheckpointError: It is missing, truncated, of another kind, or a pickle that would call
            something; nothing was called.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        message = f'official weights {path}: there is no such file; check the path.'
        raise CheckpointError(message)
    kind = _kind_of(path)
    if kind == 'hdf5':
        return OfficialFile(tensors=_read_keras(path), is_keras=True, paths=(path,))
    tensors = _read_safetensors(path) if kind == 'safetensors' else _read_pytorch(path)
    return OfficialFile(tensors=tensors, is_keras=False, paths=(path,))


def _kind_of(path: Path) -> str:
    with path.open('rb') as file:
        start = file.read(_LENGTH_BYTES + 1)
    if start.startswith(_HDF5_SIGNATURE):
        return 'hdf5'
    # The length of a JSON header, then the header.
    length = int.from_bytes(start[:_LENGTH_BYTES], 'little')
    is_header = start.endswith(b'{') and 0 < length <= path.stat().st_size
    return 'safetensors' if is_header or path.suffix == _SAFETENSORS else 'pytorch'


def _read_folder(folder: Path) -> OfficialFile:
    hub = folder / f'model{_SAFETENSORS}'
    if hub.is_file():
        return read_official_file(hub)
    missing = [name for name in _DEPTH_FILES if not (folder / name).is_file()]
    if missing:
        message = (
            f'{folder} is a folder without {" and ".join(missing)}; give a weight file, a folder '
            f'of monodepth2 ({", ".join((*_DEPTH_FILES, *_POSE_FILES))}), or one with {hub.name}.'
        )
        raise CheckpointError(message)
    paths = [folder / name for name in _DEPTH_FILES]
    pose_paths = [folder / name for name in _POSE_FILES if (folder / name).is_file()]
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= _read_pytorch(path)
    for path in pose_paths:
        tensors |= {f'{path.stem}.{key}': value for key, value in _read_pytorch(path).items()}
    return OfficialFile(tensors=tensors, is_keras=False, paths=(*paths, *pose_paths))


# PyTorch


def _read_pytorch(path: Path) -> dict[str, Tensor]:
    state = _state_inside(_unpickle(path))
    if isinstance(state, dict) and 'format' in state and 'options' in state:
        message = f'{path} is a checkpoint of this package already; it needs no conversion.'
        raise CheckpointError(message)
    tensors = {
        str(key): value
        for key, value in (state.items() if isinstance(state, dict) else ())
        if key not in _PLAIN_ENTRIES
    }
    others = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
    if others or not tensors:
        what = f'entries that are no tensors: {", ".join(others[:_SHOWN])}' if others else 'none'
        message = f'{path} holds no state dict (names and tensors), but {what}.'
        raise CheckpointError(message)
    return tensors


def _state_inside(content: object) -> object:
    if not isinstance(content, dict):
        return content
    # A copy, since a file may set attributes on its containers, methods among them.
    content = dict(dict.items(content))
    for name in _STATE_NAMES:
        if isinstance(content.get(name), dict):
            return _state_inside(content[name])
    return content


def _unpickle(path: Path) -> object:
    try:
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_zip(path)
        with _allowing(_ALLOWED):
            # Mapped, since some files hold three times as much beside the weights.
            return torch.load(str(path), map_location='cpu', weights_only=True, mmap=is_zip)
    except CheckpointError:
        raise
    except Exception as error:  # no pickle, or a broken one, ends anywhere in torch's reader
        names = foreign_names(path, known=_ALLOWED)
        if names:
            message = (
                f'{path} is refused: beside weights it wants to call {_listed(names)}. Nothing of '
                'it was executed. Save the state dict alone where you trust the file.'
            )
            raise CheckpointError(message) from error
        message = (
            f'{path} ({path.stat().st_size} bytes) is no complete weight file of PyTorch, '
            'safetensors or Keras; check the path, or download it again.'
        )
        raise CheckpointError(message) from error


@contextmanager
def _allowing(names: Mapping[str, Callable[..., object]]) -> Iterator[None]:
    stand_ins: list[Any] = [(stand_in, name) for name, stand_in in names.items()]
    with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of old formats, which these files have
        yield


def _check_zip(path: Path) -> None:
    """Refuse a zip that holds no pickle of torch, or whose checksums are wrong."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not any(name.endswith('data.pkl') for name in names):
            message = (
                f'{path} is a zip file, but not one of PyTorch (it holds {_listed(names)}); '
                'unpack it, and give what is inside.'
            )
            raise CheckpointError(message)
        damaged = archive.testzip()  # torch does not compare them
    if damaged is not None:
        message = f'{path} is corrupt: the checksum of {damaged} is wrong; download it again.'
        raise CheckpointError(message)


def _listed(names: list[str]) -> str:
    more = f', and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return f'{", ".join(names[:_SHOWN])}{more}'


# Safetensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        message = (
            f'{path} ({path.stat().st_size} bytes) is no complete safetensors file ({error}); '
            'download it again.'
        )
        raise CheckpointError(message) from error


# Keras


def _read_keras(path: Path) -> dict[str, Tensor]:
    """Read the weights of a Keras model file by `layer/parameter`; needs no Keras.

    The file lists its layers in an attribute of `model_weights` (of the root, when only weights
    were saved), and each layer its arrays; `/` in a layer's name becomes `_`.
    """
    try:
        with h5py.File(path, 'r') as file:
            root = file.get('model_weights', file)
            arrays: dict[str, Tensor] = {}
            for layer in _names(root, 'layer_names'):
                group = root[layer]
                for name in _names(group, 'weight_names'):
                    parameter = name.rsplit('/', 1)[-1].split(':')[0]
                    array = torch.from_numpy(group[name][()])
                    arrays[f'{layer.replace("/", "_")}/{parameter}'] = array
            return arrays
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        message = (
            f'{path} ({path.stat().st_size} bytes) is no complete Keras weight file ({error}); '
            'download it again: the published ones have about 173 MB.'
        )
        raise CheckpointError(message) from error


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Names that Keras stores as one attribute, or numbered ones where HDF5 limits its size."""
    if attribute in group.attrs:
        chunks = [group.attrs[attribute]]
    else:
        count = sum(name.startswith(attribute) for name in group.attrs)
        chunks = [group.attrs[f'{attribute}{index}'] for index in range(max(count, 1))]
    return [
        name.decode() if isinstance(name, bytes) else str(name) for part in chunks for name in part
    ]
