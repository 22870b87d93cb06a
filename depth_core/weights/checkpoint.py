# SPDX-License-Identifier: Apache-2.0
"""The one checkpoint format of this package: what training writes and everything else reads.

A checkpoint is a `torch.save` dictionary of tensors and plain Python values, so that it is read
with `weights_only=True` and can run no code. It names the model and its options: nothing beside
the file is needed to rebuild the network.
"""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from depth_core.errors import CheckpointError
from depth_core.files import replaced_atomically
from depth_core.models.base import DepthModel

SUFFIX: Final = '.ckpt'
"""What checkpoint files end with."""

_FORMAT: Final = 'depth_ros.checkpoint'
_VERSION: Final = 1
_KEYS_SHOWN: Final = 10
_ZIP_SIGNATURE: Final = b'PK'
_PLAIN: Final = (Tensor, nn.Parameter, str, int, float, bool, type(None))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file, on the CPU."""

    name: str
    """Registry name of the model."""
    options: Mapping[str, object]
    """The keyword options that rebuild it with `create_model`."""
    state: Mapping[str, Tensor]
    """Weights and buffers, the ones to predict with."""
    training: Mapping[str, object] | None
    """What `depth_core.train` needs to resume; None in files that were not written by it."""
    provenance: Mapping[str, object] | None
    """With what and from what it was made, for a reader."""

    @property
    def trained_size(self) -> tuple[int, int] | None:
        """(height, width) of the images it was trained on, where the provenance tells."""
        made_with = self.provenance or {}
        height, width = made_with.get('height'), made_with.get('width')
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def save_model(
    path: Path | str,
    model: DepthModel,
    *,
    training: Mapping[str, object] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> None:
    """Write `model` to `path`, which appears complete or not at all.

    Args:
        path: Final name, by custom ending in `.ckpt`.
        model: Network made by `create_model`.
        training: State to resume from: tensors, numbers, strings, and containers of these.
        provenance: How it was made: the same kinds of value.

    Raises:
        CheckpointError: The network does not say how to rebuild it, or `training` or
            `provenance` holds what could not be read back.
        DepthError: The file cannot be written, for instance because the disk is full.
    """
    if not hasattr(model, 'options') or not hasattr(model, 'spec'):
        message = (
            f'{type(model).__name__} carries no spec and options, so a checkpoint of it could '
            'not be read again; make the network with create_model.'
        )
        raise CheckpointError(message)
    _refuse_unreadable('training', training)
    _refuse_unreadable('provenance', provenance)
    payload = {
        'format': _FORMAT,
        'version': _VERSION,
        'name': model.spec.name,
        'options': dict(model.options),
        'state': {key: value.detach().cpu() for key, value in model.state_dict().items()},
        'training': None if training is None else dict(training),
        'provenance': None if provenance is None else dict(provenance),
    }
    with replaced_atomically(Path(path)) as temporary:
        try:
            with temporary.open('wb') as file:
                torch.save(payload, file)
        except RuntimeError as error:
            # torch's zip writer notices a failed write in its own way, after the fact.
            cause = error.__context__
            if isinstance(cause, OSError):
                raise cause from error
            raise OSError(0, str(error).splitlines()[0]) from error


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read the file at `path` whole, onto the CPU.

    Raises:
        CheckpointError: It is missing, truncated, corrupt or not a checkpoint of this package.
    """
    path = Path(path)
    if path.is_dir():
        message = (
            f'checkpoint {path} is a folder; give the {SUFFIX} file inside it. Official weights '
            'in a folder are read by depth_core.convert.'
        )
        raise CheckpointError(message)
    if not path.is_file():
        beside = sorted(item.name for item in path.parent.glob(f'*{SUFFIX}'))
        hint = f' In that folder: {", ".join(beside)}.' if beside else ''
        message = f'checkpoint {path} does not exist; check the path.{hint}'
        raise CheckpointError(message)
    try:
        # torch itself does not compare the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise _unreadable(path, f'checksum of {damaged} is wrong')
        payload = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        message = (
            f'{path} is not a checkpoint of this package: it holds more than tensors and plain '
            'values, or is no torch file at all. Official weights are read by depth_core.convert.'
        )
        raise CheckpointError(message) from error
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, KeyError) as error:
        with path.open('rb') as file:
            start = file.read(len(_ZIP_SIGNATURE))
        if start and start != _ZIP_SIGNATURE:  # torch's old format, Keras, safetensors, or none
            raise _foreign(path) from error
        raise _unreadable(path, str(error)) from error
    if not isinstance(payload, dict) or payload.get('format') != _FORMAT:
        raise _foreign(path)
    if payload.get('version') != _VERSION:
        message = (
            f'checkpoint {path} has format version {payload.get("version")!r}; this package reads '
            f'version {_VERSION}: use the release that wrote it, or train again.'
        )
        raise CheckpointError(message)
    return Checkpoint(
        name=payload['name'],
        options=payload['options'],
        state=payload['state'],
        training=payload['training'],
        provenance=payload['provenance'],
    )


def load_model(path: Path | str, device: torch.device | str = 'cpu') -> DepthModel:
    """Rebuild the network of a checkpoint, with its weights, in eval mode on `device`.

    Its `spec.default_size` is the size the weights were trained at, where the file tells.

    Raises:
        CheckpointError: The file cannot be read, or its weights are not those of the network.
        ConfigError: It names a model or option that this package does not know.
    """
    from depth_core.models import create_model  # noqa: PLC0415  the registry imports every family

    checkpoint = read_checkpoint(path)
    model = create_model(checkpoint.name, **checkpoint.options)
    load_weights(model, checkpoint.state, source=str(path))
    if checkpoint.trained_size is not None:
        model.spec = dataclasses.replace(model.spec, default_size=checkpoint.trained_size)
    return model.eval().to(device)


def load_weights(model: DepthModel, state: Mapping[str, Tensor], *, source: str) -> None:
    """Put `state` into `model`; every key and every shape must match.

    Args:
        model: Network to fill in place.
        state: Weights and buffers by name.
        source: Where they come from, for the error message.

    Raises:
        CheckpointError: Keys are missing, unexpected or of another shape; nothing was loaded.
    """
    own = model.state_dict()
    other_shape = [
        f'{key} (file {tuple(state[key].shape)}, network {tuple(own[key].shape)})'
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    faults = [
        *_listed('missing in the file', (key for key in own if key not in state)),
        *_listed('unknown to the network', (key for key in state if key not in own)),
        *_listed('of another shape', other_shape),
    ]
    if faults:
        message = (
            f'{source} does not fit {model.spec.name} with options {dict(model.options)}:\n  '
            + '\n  '.join(faults)
            + '\nNothing was loaded; use the file of this model, or the options it was made with.'
        )
        raise CheckpointError(message)
    model.load_state_dict(dict(state))


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


def _foreign(path: Path) -> CheckpointError:
    return CheckpointError(
        f'{path} is not a checkpoint of this package; official weights are brought into its '
        'format by depth_core.convert.'
    )


def _unreadable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f'checkpoint {path} ({path.stat().st_size} bytes) cannot be read: it is truncated, '
        f'corrupt or not a torch file ({reason.splitlines()[0] if reason else "no content"}); '
        'copy or download it again.'
    )


def _listed(rule: str, keys: Iterable[str]) -> list[str]:
    found = list(keys)
    if not found:
        return []
    shown = ', '.join(found[:_KEYS_SHOWN])
    more = f', and {len(found) - _KEYS_SHOWN} more' if len(found) > _KEYS_SHOWN else ''
    return [f'{len(found)} {rule}: {shown}{more}']
