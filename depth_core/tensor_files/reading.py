# SPDX-License-Identifier: Apache-2.0
"""Reading files of PyTorch and safetensors, without running anything they hold.

PyTorch files are pickles, and a pickle may call any function by name. They are read by torch's
own restricted reader, which takes tensors and plain containers. What some authors saved beside
their weights (settings, metrics as arrays) is allowed by name and replaced by inert containers:
nothing of it is needed, and neither yacs nor easydict nor NumPy's unpickling takes part. Any
other name is refused before anything is called. Safetensors files hold no code.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.onnx_file import is_onnx
from depth_core.tensor_files.differences import shown
from depth_core.tensor_files.entries import OF_TRAINING, inside
from depth_core.tensor_files.pickle_names import foreign_names
from depth_core.tensor_files.pickle_size import refuse_expanding
from depth_core.tensor_files.tensors import refuse_not_stored

SAFETENSORS: Final = '.safetensors'

_LENGTH_BYTES: Final = 8
_LFS_POINTER: Final = b'version https://git-lfs'
_DEEPEST: Final = 4
_PLAIN: Final = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


class _Array:
    """Stands where a file holds a NumPy array; keeps nothing, calls nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _number(*_: object) -> None:
    """Stand where a file holds a number of NumPy."""


_ALLOWED: Final[Mapping[str, Callable[..., object]]] = {
    'argparse.Namespace': OrderedDict,
    'easydict.EasyDict': OrderedDict,
    'yacs.config.CfgNode': OrderedDict,
    'numpy.core.multiarray._reconstruct': _Array,
    'numpy.core.multiarray.scalar': _number,
    'numpy._core.multiarray._reconstruct': _Array,
    'numpy._core.multiarray.scalar': _number,
    'numpy.dtype': _Array,
    'numpy.ndarray': _Array,
}
"""What authors pickled beside their weights, and what is made in its place."""


@dataclass(frozen=True, kw_only=True)
class StateFile:
    """The state dict of a file, and which of its entries that was."""

    tensors: dict[str, Tensor]
    """Names and values as the file has them."""
    entry: str | None = None
    """Name of the entry that was read; None where the file is the state dict."""
    others: tuple[str, ...] = ()
    """Entries that could have been meant too, as an average of the weights."""


def read_state(path: Path, content: object = None) -> dict[str, Tensor]:
    """Read the state dict of a published file; as `read_state_file`, of which it is a part."""
    return read_state_file(path, content).tensors


def read_state_file(path: Path, content: object = None, *, entry: str | None = None) -> StateFile:
    """Read the state dict of a published file, PyTorch or safetensors by its content.

    Args:
        path: The file.
        content: What `read_content` gave for it, where that was called before.
        entry: The entry to read; None = the first that authors name so: `state_dict`,
            `model_state_dict`, `model`, `net`, `params`, then averages of these (`model_ema`,
            `state_dict_ema`, `params_ema`), or a single other one.

    Returns:
        Names and tensors as the file has them. Where it holds several networks, each by a name,
        that name and a dot are put before theirs. Plain values, settings and the states of
        optimizers beside the weights are left out. Tensors may be views of the file: they are
        valid while it is left as it is.

    Raises:
        CheckpointError: It is missing, truncated, of another kind, or a pickle that would call
            something, and nothing was called; or it has no such entry.
    """
    if content is None and is_safetensors(path):
        if entry is not None:
            message = f'{path} is a safetensors file, which has no entries; leave out {entry}.'
            raise CheckpointError(message)
        return StateFile(tensors=_read_safetensors(path))
    found = inside(read_content(path, mapped=True) if content is None else content, entry)
    others: list[str] = []
    held = found.content
    tensors = _tensors_in(held, others) if isinstance(held, dict) else {}
    if others or not tensors:
        what = f'entries that are no tensors: {shown(others)}' if others else 'none'
        message = f'{path} holds no state dict (names and tensors), but {what}.'
        raise CheckpointError(message)
    refuse_not_stored(tensors, source=str(path), stored_bytes=path.stat().st_size)
    return StateFile(tensors=tensors, entry=found.entry, others=found.others)


def read_content(path: Path, *, what: str = 'weight file', mapped: bool = False) -> object:
    """Read a PyTorch file, zip or old pickle, on the CPU.

    Args:
        path: The file.
        what: It is said to be, for the error message.
        mapped: Leave tensors in the file until they are used; some files hold three times as
            much beside the weights.

    Raises:
        CheckpointError: It is missing, truncated, of another kind, or would call something.
    """
    if not path.is_file():
        beside = sorted(item.name for item in path.parent.glob(f'*{path.suffix or ".ckpt"}'))
        hint = f' In that folder: {shown(beside)}.' if beside else ''
        message = f'{what} {path} does not exist; check the path.{hint}'
        raise CheckpointError(message)
    try:
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_zip(path)
        refuse_expanding(path)
        with _allowing(_ALLOWED):
            return torch.load(
                str(path), map_location='cpu', weights_only=True, mmap=mapped and is_zip
            )
    except CheckpointError:
        raise
    except Exception as error:  # no pickle, or a broken one, ends anywhere in torch's reader
        names = foreign_names(path, known=_ALLOWED)
        if names:
            message = (
                f'{path} is refused: beside weights it calls {shown(names)}. Nothing of '
                'it was executed. Save the state dict alone where you trust the file.'
            )
            raise CheckpointError(message) from error
        reason: object = error
        if isinstance(error, pickle.UnpicklingError):  # its text is about torch's own options
            reason = 'no pickle of tensors and plain values'
        raise incomplete(path, what, 'PyTorch, safetensors or Keras', reason) from error


def incomplete(path: Path, what: str, kind: str, reason: object) -> CheckpointError:
    """Say that a file is truncated, corrupt or of another kind."""
    if first_bytes(path, len(_LFS_POINTER)) == _LFS_POINTER:
        message = f'{what} {path} is a pointer of Git LFS; fetch the file with git lfs pull.'
        return CheckpointError(message)
    if is_onnx(path):
        return is_a_graph(path)
    first = str(reason).splitlines()[0] if str(reason) else 'no content'
    return CheckpointError(
        f'{what} {path} ({path.stat().st_size} bytes) is no complete file of {kind}: it is '
        f'truncated, corrupt or of another kind ({first}); copy or download it again.'
    )


def is_a_graph(path: Path) -> CheckpointError:
    """Say that a file which was to hold weights is an ONNX graph."""
    return CheckpointError(
        f'{path} is an ONNX graph, made to be run: norm layers are folded into its convolutions, '
        'so that its weights are those of no network that could be trained. Give the checkpoint '
        'it was exported from (.ckpt); those of shipped models are taken by name.'
    )


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file; none where it cannot be read, which its reader says better."""
    try:
        with path.open('rb') as file:
            return file.read(count)
    except OSError:
        return b''


def is_safetensors(path: Path) -> bool:
    """Whether a file is one of safetensors, by its beginning or its name."""
    if not path.is_file():
        return False
    start = first_bytes(path, _LENGTH_BYTES + 1)
    # The length of a JSON header, then the header.
    length = int.from_bytes(start[:_LENGTH_BYTES], 'little')
    is_header = start.endswith(b'{') and 0 < length <= path.stat().st_size
    return is_header or path.suffix == SAFETENSORS


def _tensors_in(
    content: dict[Any, object], others: list[str], before: str = '', depth: int = 0
) -> dict[str, Tensor]:
    """Tensors of `content` and of the containers in it; `others` gets what cannot be left out."""
    tensors: dict[str, Tensor] = {}
    for key, value in dict.items(content):
        name = f'{before}{key}'
        if isinstance(value, Tensor):
            tensors[name] = value
        elif OF_TRAINING.search(str(key).lower()):
            continue
        elif isinstance(value, dict) and depth < _DEEPEST:
            tensors |= _tensors_in(value, others, f'{name}.', depth + 1)
        elif not (_is_plain(value) or (isinstance(value, _Array) and '.' not in name)):
            others.append(name)
    return tensors


def _is_plain(value: object, depth: int = 0) -> bool:
    if isinstance(value, dict):
        value = list(dict.values(value))
    if isinstance(value, (list, tuple, set)):
        return depth < _DEEPEST and all(_is_plain(item, depth + 1) for item in value)
    return isinstance(value, _PLAIN)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # a broken header ends anywhere in its reader
        raise incomplete(path, 'weight file', 'safetensors', error) from error


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
                f'{path} is a zip file, but not one of PyTorch (it holds {shown(names)}); '
                'unpack it, and give what is inside.'
            )
            raise CheckpointError(message)
        members = archive.infolist()
        packed = [item.filename for item in members if item.compress_type != zipfile.ZIP_STORED]
        unpacked = sum(member.file_size for member in members)
        if packed or unpacked > path.stat().st_size:
            message = (
                f'{path} ({path.stat().st_size} bytes) holds compressed or overlapping members '
                f'that would unpack to {unpacked} bytes ({shown(packed or names)}); save the '
                'weights with torch.save, which compresses nothing.'
            )
            raise CheckpointError(message)
        damaged = archive.testzip()  # torch does not compare them
    if damaged is not None:
        message = f'{path} is corrupt: the checksum of {damaged} is wrong; download it again.'
        raise CheckpointError(message)
