# SPDX-License-Identifier: Apache-2.0
"""The kinds of file that this package writes: dictionaries of tensors and plain values.

They are `torch.save` files that torch reads with `weights_only=True`, so that they can run no
code; each says by an entry of what kind and version it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from depth_core.errors import CheckpointError
from depth_core.files import replaced_atomically
from depth_core.onnx_file import is_onnx
from depth_core.tensor_files.reading import incomplete, is_a_graph, read_content
from depth_core.tensor_files.tensors import refuse_not_stored

_ZIP_SIGNATURE: Final = b'PK'
_TEXT: Final = (str,)
_GROUP: Final = (dict, OrderedDict)
_OPTIONAL: Final = (*_GROUP, type(None))
_OF_TRAINING: Final = {'training': _OPTIONAL, 'provenance': _OPTIONAL}
_SHOWN: Final = 60
"""Characters of a key in a message."""
_MOST_BITS: Final = 128
"""Of a whole number; the states of random generators have as many."""
_PLAIN: Final = (Tensor, nn.Parameter, str, int, float, bool, type(None))


@dataclass(frozen=True, kw_only=True)
class OwnFormat:
    """A kind of file of this package."""

    name: str
    """What its entry `format` says."""
    what: str
    """What such a file is, in messages."""
    entries: Mapping[str, tuple[type, ...]]
    """What it holds beside `format` and `version`, and of which types."""
    made_by: str
    """Where such a file comes from, for who has another one: a sentence without its full stop."""
    version: int = 1

    def write(self, path: Path, **entries: object) -> None:
        """Write a file to `path`, which appears complete or not at all.

        Args:
            path: Final name.
            **entries: Tensors, plain values and containers of these; `state` by name.

        Raises:
            CheckpointError: An entry holds what could not be read back; nothing is written.
            DepthError: The file cannot be written, for instance because the disk is full.
        """
        for name, entry in entries.items():
            _refuse_unreadable(name, entry)
        entries = {
            name: dict(entry) if isinstance(entry, Mapping) else entry
            for name, entry in entries.items()
        }
        with replaced_atomically(path) as temporary:
            try:
                with temporary.open('wb') as file:
                    torch.save({'format': self.name, 'version': self.version, **entries}, file)
            except RuntimeError as error:
                # torch's zip writer notices a failed write in its own way, after the fact.
                cause = error.__context__
                if isinstance(cause, OSError):
                    raise cause from error
                raise OSError(0, str(error).splitlines()[0]) from error

    def read(self, path: Path) -> Mapping[str, Any]:
        """Read the file at `path` whole, onto the CPU.

        Raises:
            CheckpointError: It is missing, truncated, corrupt or of another kind or version.
        """
        if path.is_dir():
            message = f'{self.what} {path} is a folder; give the file inside it. {self.made_by}.'
            raise CheckpointError(message)
        if path.is_file():
            with path.open('rb') as file:
                start = file.read(len(_ZIP_SIGNATURE))
            if start and start != _ZIP_SIGNATURE:  # an old file of torch, Keras, safetensors
                raise self._foreign(path)
        return self.opened(path, read_content(path, what=self.what))

    def holds(self, content: object) -> bool:
        """Whether what was read is a file of this kind."""
        # By dict itself: a file may set attributes on its containers, methods among them.
        return isinstance(content, dict) and dict.get(content, 'format') == self.name

    def opened(self, path: Path, content: object) -> Mapping[str, Any]:
        """Check what was read from `path`; errors as for `read`."""
        if not isinstance(content, dict) or not self.holds(content):
            raise self._foreign(path)
        content = dict(dict.items(content))
        version = content.get('version')
        if type(version) is not int or version != self.version:
            message = (
                f'{self.what} {path} has format version {version!r}; this package '
                f'reads version {self.version}: use the release that wrote it, or make it again.'
            )
            raise CheckpointError(message)
        wrong = [
            name
            for name, types in self.entries.items()
            if type(content.get(name, ...)) not in types
        ]
        if wrong:
            reason = f'entries without their content: {", ".join(wrong)}'
            raise incomplete(path, self.what, self.name, reason)
        state = {str(key): value for key, value in dict.items(content['state'])}
        if not all(isinstance(value, Tensor) for value in state.values()):
            reason = 'entries without their content: state'
            raise incomplete(path, self.what, self.name, reason)
        stored_bytes = path.stat().st_size
        for name, entry in content.items():
            _refuse_strange(path, name, entry, stored_bytes)
        return {**content, 'state': state}

    def _foreign(self, path: Path) -> CheckpointError:
        if is_onnx(path):
            return is_a_graph(path)
        return CheckpointError(f'{path} is no {self.what} of this package. {self.made_by}.')


CHECKPOINT: Final = OwnFormat(
    name='depth_ros.checkpoint',
    what='checkpoint',
    entries={'name': _TEXT, 'options': _GROUP, 'state': _GROUP, **_OF_TRAINING},
    made_by='Official weights are brought into that form by depth_core.convert',
)
"""A depth network and, from training, what it resumes from."""

POSE_NETWORK: Final = OwnFormat(
    name='depth_ros.pose_network',
    what='pose network',
    entries={'name': _TEXT, 'state': _GROUP, 'provenance': _OPTIONAL},
    made_by='Published ones are brought into that form by depth_core.convert',
)

EMBEDDING: Final = OwnFormat(
    name='depth_ros.embedding',
    what='embedding network',
    entries={'kind': _TEXT, 'classes': (list,), 'state': _GROUP, **_OF_TRAINING},
    made_by='One is trained by depth_core.train',
)


def _refuse_strange(path: Path, place: str, value: object, stored_bytes: int) -> None:
    """Refuse, after reading, a value that this package does not write.

    A pickle may make any number or container of torch and of the standard library.

    Raises:
        CheckpointError: It is of another type, or a tensor that is not dense or not stored.
    """
    if type(value) in (dict, OrderedDict):
        for key, item in dict.items(cast('dict[Any, object]', value)):
            inside = f'{place}[{str(key)[:_SHOWN]!r}]'
            _refuse_strange(path, f'the key {inside}', key, stored_bytes)
            _refuse_strange(path, inside, item, stored_bytes)
        return
    if type(value) in (list, tuple):
        for index, item in enumerate(cast('list[object]', value)):
            _refuse_strange(path, f'{place}[{index}]', item, stored_bytes)
        return
    if isinstance(value, Tensor):
        refuse_not_stored({place: value}, source=str(path), stored_bytes=stored_bytes)
    if reason := _strange(value):
        message = (
            f'{path} is refused: {place} is {reason}, which no file of this package holds; make '
            'it again, or copy it again.'
        )
        raise CheckpointError(message)


def _strange(value: object) -> str:
    """What is wrong with a plain value or a tensor; an empty text for what is written here."""
    if type(value) not in _PLAIN:
        return f'of type {type(value).__name__}'
    if isinstance(value, Tensor) and (
        value.is_meta or value.is_quantized or value.layout != torch.strided
    ):
        return 'a tensor without values, quantised or not dense'
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f'a number of {value.bit_length()} bits'
    return ''


def _refuse_unreadable(place: str, value: object) -> None:
    """Refuse, before anything is written, a value that reading back would refuse."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_unreadable(place, key)
            _refuse_unreadable(f'{place}[{key!r}]', item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _refuse_unreadable(f'{place}[{index}]', item)
    elif type(value) not in _PLAIN:
        message = (
            f'{place} is of type {type(value).__name__}; a checkpoint takes tensors, numbers, '
            'strings and containers of these.'
        )
        raise CheckpointError(message)
