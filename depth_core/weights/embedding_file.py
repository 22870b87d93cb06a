# SPDX-License-Identifier: Apache-2.0
"""Files of embedding networks: ours, and the authors' under their key names."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, unknown_name
from depth_core.files import replaced_atomically
from depth_core.models.cliffnet.embedding import (
    EmbeddingTrunk,
    ReconstructionEmbedding,
    SceneEmbedding,
    frozen,
)

EmbeddingKind: TypeAlias = Literal['heg_s', 'heg_r']
"""heg_s learnt to classify scenes, heg_r to give a depth map back."""

EMBEDDING_KINDS: Final[tuple[EmbeddingKind, ...]] = get_args(EmbeddingKind)

_FORMAT: Final = 'depth_ros.embedding'
_VERSION: Final = 1
_KEYS_SHOWN: Final = 10
_STATE_NAMES: Final = ('model_state_dict', 'state_dict')


@dataclass(frozen=True, kw_only=True)
class EmbeddingFile:
    """The content of a file, on the CPU."""

    kind: EmbeddingKind
    classes: tuple[str, ...]
    """Names of the scene classes; empty for heg_r."""
    network: SceneEmbedding | ReconstructionEmbedding
    """In eval mode."""
    training: Mapping[str, Any] | None
    """What its training resumes from; None in files that hold a result only."""


def create_embedding(
    kind: EmbeddingKind, *, classes: int = 0
) -> SceneEmbedding | ReconstructionEmbedding:
    """Make an untrained embedding network, a head for `classes` scene classes included.

    Raises:
        ConfigError: The kind is unknown.
    """
    if kind not in EMBEDDING_KINDS:
        raise ConfigError(unknown_name('kind of embedding', kind, EMBEDDING_KINDS))
    return SceneEmbedding(classes) if kind == 'heg_s' else ReconstructionEmbedding()


def save_embedding(
    path: Path | str,
    kind: EmbeddingKind,
    network: SceneEmbedding | ReconstructionEmbedding,
    *,
    classes: tuple[str, ...] = (),
    training: Mapping[str, object] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> None:
    """Write `network` to `path`, which appears complete or not at all.

    Args:
        path: Final name, by custom ending in `.ckpt`.
        kind: What it learns.
        network: Made by `create_embedding`.
        classes: Names of the scene classes, for heg_s.
        training: State to resume from: tensors, plain values, and containers of these.
        provenance: How it was made: the same kinds of value.

    Raises:
        DepthError: The file cannot be written, for instance because the disk is full.
    """
    payload = {
        'format': _FORMAT,
        'version': _VERSION,
        'kind': kind,
        'classes': list(classes),
        'state': {key: value.detach().cpu() for key, value in network.state_dict().items()},
        'training': None if training is None else dict(training),
        'provenance': None if provenance is None else dict(provenance),
    }
    with replaced_atomically(Path(path)) as temporary, temporary.open('wb') as file:
        torch.save(payload, file)


def read_embedding(path: Path | str) -> EmbeddingFile:
    """Read a file that `save_embedding` wrote.

    Raises:
        CheckpointError: It is missing, truncated, corrupt or of another kind.
    """
    path = Path(path)
    content = _read(path)
    if content.get('format') != _FORMAT:
        message = (
            f'{path} holds no embedding network of this package; one is trained by '
            'python -m depth_core.train.embedding.'
        )
        raise CheckpointError(message)
    if content.get('version') != _VERSION:
        message = (
            f'{path} has format version {content.get("version")!r}; this package reads version '
            f'{_VERSION}: use the release that wrote it, or train again.'
        )
        raise CheckpointError(message)
    classes = tuple(content['classes'])
    network = create_embedding(content['kind'], classes=len(classes))
    _refuse_other(content['state'], network.state_dict(), str(path))
    network.load_state_dict(content['state'])
    return EmbeddingFile(
        kind=content['kind'],
        classes=classes,
        network=network.eval(),
        training=content['training'],
    )


def read_trunk(path: Path | str, *, kind: EmbeddingKind | None = None) -> EmbeddingTrunk:
    """Read the part of an embedding network that a loss needs, frozen.

    Takes a file of ours, and one of the authors' (`features.N` keys, with `module.` before them
    or not, wrapped as `model_state_dict` or not) if it holds tensors and plain values only.

    Args:
        path: The file.
        kind: Refuse a file of ours that holds the other kind; None takes both.

    Raises:
        CheckpointError: It is missing, truncated, corrupt or of another kind.
    """
    path = Path(path)
    content = _read(path)
    if content.get('format') == _FORMAT:
        file = read_embedding(path)
        if kind is not None and file.kind != kind:
            message = f'{path} holds a {file.kind}, and a {kind} is asked for; give its file.'
            raise CheckpointError(message)
        return frozen(file.network.trunk)
    for name in _STATE_NAMES:
        if isinstance(content.get(name), Mapping):
            content = content[name]
    trunk = EmbeddingTrunk()
    trunk.load_state_dict(convert_embedding(content, source=str(path)))
    return frozen(trunk)


def convert_embedding(
    official: Mapping[str, Tensor], *, source: str = 'this state dict'
) -> dict[str, Tensor]:
    """Bring the authors' embedding network into the form of an `EmbeddingTrunk`.

    Their keys are ours but for a `module.`; the classifier it was trained with is left behind.

    Args:
        official: The authors' keys and tensors.
        source: Where they come from, for the error message.

    Raises:
        CheckpointError: Keys are missing or surplus, or shapes differ: the first ten, the count.
    """
    state = {
        key: value
        for name, value in official.items()
        if not (key := str(name).removeprefix('module.')).startswith('classifier.')
    }
    expected = EmbeddingTrunk().state_dict()
    _refuse_other(state, expected, source)
    return {
        key: state[key].detach().to('cpu', like.dtype).clone() for key, like in expected.items()
    }


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        message = (
            f'embedding network {path} does not exist; check the path, or train one with '
            'python -m depth_core.train.embedding.'
        )
        raise CheckpointError(message)
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums it writes
            if archive.testzip() is not None:
                raise _unreadable(path, 'a checksum is wrong')
        content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        message = f'{path} holds more than tensors and plain values, so it is not read.'
        raise CheckpointError(message) from error
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(content, Mapping):
        raise _unreadable(path, f'it holds {type(content).__name__}')
    return cast('Mapping[str, Any]', content)


def _unreadable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f'embedding network {path} ({path.stat().st_size} bytes) cannot be read: it is truncated, '
        f'corrupt or no such file ({reason.splitlines()[0] if reason else "no content"}); copy it '
        'again.'
    )


def _refuse_other(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str
) -> None:
    faults = []
    for rule, keys in (
        ('missing', [key for key in expected if key not in state]),
        ('surplus', [key for key in state if key not in expected]),
        (
            'of another shape',
            [key for key in expected if key in state and state[key].shape != expected[key].shape],
        ),
    ):
        if keys:
            more = f', and {len(keys) - _KEYS_SHOWN} more' if len(keys) > _KEYS_SHOWN else ''
            faults.append(f'{len(keys)} {rule}: {", ".join(keys[:_KEYS_SHOWN])}{more}')
    if faults:
        message = (
            f'{source} holds no embedding network as it is asked for:\n  '
            + '\n  '.join(faults)
            + '\nGive the file of a HEG.'
        )
        raise CheckpointError(message)
