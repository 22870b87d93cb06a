# SPDX-License-Identifier: Apache-2.0
"""Weights for the semantic network: from a checkpoint of ours, or of segmentation-models-pytorch.

Four kinds of file are taken: a checkpoint of any guided depth network, of which the semantic part
is read; a state dict of `segmentation_models_pytorch.FPN` as a PyTorch or safetensors file; a
folder that its `save_pretrained` wrote; and a state dict of the encoder alone, as timm and
torchvision publish theirs, with or without the classifier. Nothing in them is executed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from depth_core.errors import CheckpointError
from depth_core.models.selfsup.semantic import SemanticNetwork
from depth_core.tensor_files.differences import differences
from depth_core.tensor_files.own import CHECKPOINT
from depth_core.tensor_files.reading import (
    SAFETENSORS,
    is_safetensors,
    read_content,
    read_state,
)
from depth_core.tensor_files.tensors import as_weights, cleaned, with_counters

STATE_PREFIX: Final = 'semantics.network.'
"""Where the semantic network stands in the state of a guided depth network."""

_OWN_PREFIX: Final = 'network.'
_ENCODER: Final = 'network.encoder.'
_OF_TIMM: Final = 'model.'
_BEHIND_ENCODER: Final = (f'{_OWN_PREFIX}decoder.', f'{_OWN_PREFIX}segmentation_head.')
_CLASSIFIERS: Final = (
    'fc.', 'last.linear.', 'classifier.', 'head.', 'conv.head.', 'norm.head.', 'final.layer.',
    'downsamp.modules.',
)  # fmt: skip
"""What stands between the last feature map and the classes in the networks of timm and
torchvision, with dots for underscores; no encoder has it."""

_LOG: Final = logging.getLogger(__name__)


def load_semantic_weights(network: SemanticNetwork, path: Path | str) -> None:
    """Put the weights of a file into `network`, all of them or none.

    Args:
        network: Built with the encoder, widths and classes of the file.
        path: One of the kinds above. Of an encoder alone only the encoder changes, which is said
            in the log.

    Raises:
        CheckpointError: The file is missing, broken, of another kind, or of another network, or
            has values that are NaN or infinite.
    """
    path = Path(path)
    state = _read(path)
    own = network.state_dict()
    encoder_alone = bool(state) and not any(key.startswith(_BEHIND_ENCODER) for key in state)
    expected = own
    if encoder_alone:
        state = _of_encoder(state, own)
        expected = {key: value for key, value in own.items() if key.startswith(_ENCODER)}
    state = with_counters(state, expected)
    if found := differences(state, expected):
        remedy = (
            'semantic_encoder of the network it was saved from; it was taken for an encoder alone'
            if encoder_alone
            else 'semantic_encoder, semantic_channels, semantic_head_channels and '
            'semantic_classes of the network it was saved from'
        )
        message = found.message(
            f'{path} does not fit this semantic network:', f'Nothing was loaded; give {remedy}.'
        )
        raise CheckpointError(message)
    network.load_state_dict({**own, **as_weights(state, expected, source=str(path))})
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
        path /= f'model{SAFETENSORS}'
    content = None if is_safetensors(path) else read_content(path, what='semantic weight file')
    if CHECKPOINT.holds(content):
        return _of_ours(path, CHECKPOINT.opened(path, content)['state'])
    state = cleaned(read_state(path, content))
    if all(key.startswith(_OF_TIMM) for key in state):
        state = {key.removeprefix(_OF_TIMM): value for key, value in state.items()}
    return {f'{_OWN_PREFIX}{key}': value for key, value in state.items()}


def _of_ours(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    inside = {
        key.removeprefix(STATE_PREFIX): value
        for key, value in state.items()
        if key.startswith(STATE_PREFIX)
    }
    if not inside:
        message = (
            f'{path} is a checkpoint of a network without semantic guidance; give one of '
            'semantic_packnet, semantic_resnet18 or selfsup_small with guided_strides.'
        )
        raise CheckpointError(message)
    return inside
