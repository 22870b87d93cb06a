# SPDX-License-Identifier: Apache-2.0
"""Weights for the semantic network: from a checkpoint of ours, or of segmentation-models-pytorch.

Four kinds of file are taken: a checkpoint of any guided depth network, of which the semantic part
is read; a state dict of `segmentation_models_pytorch.FPN` as a PyTorch or safetensors file; a
folder that its `save_pretrained` wrote; and a state dict of the encoder alone, as timm and
torchvision publish theirs, with or without the classifier. Nothing in them is executed.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.models.selfsup.semantic import SemanticNetwork
from depth_core.weights.checkpoint import SUFFIX, read_checkpoint

STATE_PREFIX: Final = 'semantics.network.'
"""Where the semantic network stands in the state of a guided depth network."""

_OWN_PREFIX: Final = 'network.'
_SAFETENSORS: Final = '.safetensors'
_WRAPPERS: Final = ('state_dict', 'model_state_dict', 'model')
_PREFIXES: Final = ('module.', 'model.')
_ENCODER: Final = 'network.encoder.'
_OF_TIMM: Final = 'model.'
_BEHIND_ENCODER: Final = (f'{_OWN_PREFIX}decoder.', f'{_OWN_PREFIX}segmentation_head.')
_CLASSIFIERS: Final = (
    'fc.', 'last.linear.', 'classifier.', 'head.', 'conv.head.', 'norm.head.', 'final.layer.',
    'downsamp.modules.',
)  # fmt: skip
"""What stands between the last feature map and the classes in the networks of timm and
torchvision, with dots for underscores; no encoder has it."""
_COUNTER: Final = '.num_batches_tracked'
"""Older files lack it; it is not used."""
_KEYS_SHOWN: Final = 10

_LOG: Final = logging.getLogger(__name__)


def load_semantic_weights(network: SemanticNetwork, path: Path | str) -> None:
    """Put the weights of a file into `network`, all of them or none.

    Args:
        network: Built with the encoder, widths and classes of the file.
        path: One of the kinds above. Of an encoder alone only the encoder changes, which is said
            in the log.

    Raises:
        CheckpointError: The file is missing, broken, of another kind, or of another network.
    """
    path = Path(path)
    state = _read(path)
    own = network.state_dict()
    encoder_alone = bool(state) and not any(key.startswith(_BEHIND_ENCODER) for key in state)
    expected = own
    if encoder_alone:
        state = _of_encoder(state, own)
        expected = {key: value for key, value in own.items() if key.startswith(_ENCODER)}
    other_shape = [
        f'{key} (file {tuple(state[key].shape)}, network {tuple(own[key].shape)})'
        for key in expected
        if key in state and state[key].shape != own[key].shape
    ]
    missing = (key for key in expected if key not in state and not key.endswith(_COUNTER))
    faults = [
        *_listed('missing in the file', missing),
        *_listed('unknown to the network', (key for key in state if key not in own)),
        *_listed('of another shape', other_shape),
    ]
    if faults:
        remedy = (
            'semantic_encoder of the network it was saved from; it was taken for an encoder alone'
            if encoder_alone
            else 'semantic_encoder, semantic_channels, semantic_head_channels and '
            'semantic_classes of the network it was saved from'
        )
        message = (
            f'{path} does not fit this semantic network:\n  '
            + '\n  '.join(faults)
            + f'\nNothing was loaded; give {remedy}.'
        )
        raise CheckpointError(message)
    network.load_state_dict({**own, **state})
    if encoder_alone:
        _LOG.warning(
            '%s holds an encoder alone: the feature pyramid and the head keep the weights they '
            'have, random ones unless they were trained before.', path
        )  # fmt: skip


def _of_encoder(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the weights of an encoder alone to our names; those of its classifier are left out.

    timm turns the dots in the names of its networks into underscores when it cuts them into
    pyramids, so both count as the same. What has no place keeps the name it has.
    """
    places = {
        _plain(key.removeprefix(_ENCODER).removeprefix(_OF_TIMM)): key
        for key in own
        if key.startswith(_ENCODER)
    }
    given = {}
    for key, value in state.items():
        inside = key.removeprefix(_ENCODER).removeprefix(_OWN_PREFIX).removeprefix(_OF_TIMM)
        given[_plain(inside)] = (key, value)
    # In EfficientNets the last norm stands behind the layer that widens for the classifier.
    beyond = (*_CLASSIFIERS, 'bn2.') if 'conv.head.weight' in given else _CLASSIFIERS
    return {
        places.get(name, key): value
        for name, (key, value) in given.items()
        if name in places or not name.startswith(beyond)
    }


def _plain(key: str) -> str:
    return key.replace('_', '.')


def _read(path: Path) -> dict[str, Tensor]:
    """Weights by the names of `SemanticNetwork`."""
    if path.is_dir():
        path /= f'model{_SAFETENSORS}'
    if not path.is_file():
        message = f'semantic weights {path} do not exist; check the path.'
        raise CheckpointError(message)
    if path.suffix == SUFFIX and _is_of_ours(path):
        state = read_checkpoint(path).state
        inside = {
            key.removeprefix(STATE_PREFIX): value
            for key, value in state.items()
            if key.startswith(STATE_PREFIX)
        }
        if not inside:
            message = (
                f'{path} is a checkpoint of a network without semantic guidance; give one of '
                'semantic_packnet or semantic_resnet18.'
            )
            raise CheckpointError(message)
        return inside
    state = _read_safetensors(path) if path.suffix == _SAFETENSORS else _read_pytorch(path)
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return {f'{_OWN_PREFIX}{key}': value for key, value in state.items()}


def _is_of_ours(path: Path) -> bool:
    """Other tools end their files in .ckpt too."""
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        message = f'{path} is no complete safetensors file ({error}); download it again.'
        raise CheckpointError(message) from error


def _read_pytorch(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location='cpu', weights_only=True)
    except (
        pickle.UnpicklingError,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
    ) as error:
        message = (
            f'{path} ({path.stat().st_size} bytes) is no complete PyTorch file of tensors and '
            'plain values; save the state dict alone, or download it again.'
        )
        raise CheckpointError(message) from error
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        message = f'{path} holds no state dict (names and tensors); save model.state_dict().'
        raise CheckpointError(message)
    return {str(key): value for key, value in content.items()}


def _listed(rule: str, keys: Iterable[str]) -> list[str]:
    found = list(keys)
    if not found:
        return []
    more = f', and {len(found) - _KEYS_SHOWN} more' if len(found) > _KEYS_SHOWN else ''
    return [f'{len(found)} {rule}: {", ".join(found[:_KEYS_SHOWN])}{more}']
