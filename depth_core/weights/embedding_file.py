# SPDX-License-Identifier: Apache-2.0
"""Files of embedding networks: ours, and the authors' under their key names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from torch import Tensor, nn

from depth_core.errors import CheckpointError, ConfigError, unknown_name
from depth_core.models.cliffnet.embedding import (
    EmbeddingTrunk,
    ReconstructionEmbedding,
    SceneEmbedding,
    frozen,
)
from depth_core.tensor_files.differences import differences
from depth_core.tensor_files.own import EMBEDDING
from depth_core.tensor_files.reading import is_safetensors, read_content, read_state
from depth_core.tensor_files.tensors import as_weights, cleaned, refuse_unusable

EmbeddingKind: TypeAlias = Literal['heg_s', 'heg_r']
"""heg_s classifies scenes, heg_r reconstructs a depth map."""

EMBEDDING_KINDS: Final[tuple[EmbeddingKind, ...]] = get_args(EmbeddingKind)


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
    EMBEDDING.write(
        Path(path),
        kind=kind,
        classes=list(classes),
        state={key: value.detach().cpu() for key, value in network.state_dict().items()},
        training=training,
        provenance=provenance,
    )


def read_embedding(path: Path | str) -> EmbeddingFile:
    """Read a file that `save_embedding` wrote.

    Raises:
        CheckpointError: It is missing, truncated, corrupt or of another kind.
    """
    path = Path(path)
    return _network_of(path, EMBEDDING.read(path))


def _network_of(path: Path, content: Mapping[str, Any]) -> EmbeddingFile:
    classes = tuple(content['classes'])
    network = create_embedding(content['kind'], classes=len(classes))
    load_embedding(network, content['state'], source=str(path))
    return EmbeddingFile(
        kind=content['kind'],
        classes=classes,
        network=network.eval(),
        training=content['training'],
    )


def load_embedding(network: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Put `state` into an embedding network; every key and every shape must match.

    Raises:
        CheckpointError: They do not, or values are NaN or infinite; `source` says where they come
            from.
    """
    own = network.state_dict()
    _check_names(state, own, source)
    refuse_unusable(state, own, source=source)
    network.load_state_dict(dict(state))


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
    content = None if is_safetensors(path) else read_content(path, what=EMBEDDING.what)
    if EMBEDDING.holds(content):
        file = _network_of(path, EMBEDDING.opened(path, content))
        if kind is not None and file.kind != kind:
            message = f'{path} holds a {file.kind}, and a {kind} is expected; give its file.'
            raise CheckpointError(message)
        return frozen(file.network.trunk)
    trunk = EmbeddingTrunk()
    trunk.load_state_dict(convert_embedding(read_state(path, content), source=str(path)))
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
        key: value for key, value in cleaned(official).items() if not key.startswith('classifier.')
    }
    expected = EmbeddingTrunk().state_dict()
    _check_names(state, expected, source)
    return as_weights(state, expected, source=source)


def _check_names(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    if found := differences(state, expected):
        before = f'{source} holds no embedding network of the expected form:'
        raise CheckpointError(found.message(before, 'Give the file of a HEG.'))
