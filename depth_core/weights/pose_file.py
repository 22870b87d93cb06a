# SPDX-License-Identifier: Apache-2.0
"""Weights of pose networks: the published ones, and files of our own.

A pose network serves training alone, so it is no part of a model's checkpoint: what a training
file holds of one becomes a file of its own, from which another training may start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, ModelError, unknown_name
from depth_core.models.selfsup.keys import (
    OF_MONODEPTH2_POSE,
    is_of_depth,
    is_of_pose,
    pose_to_authors,
    posecnn_key,
    posenet_key,
    poseresnet_key,
)
from depth_core.models.selfsup.pose import PoseNet, PoseNetwork, create_pose_network
from depth_core.tensor_files.differences import differences
from depth_core.tensor_files.own import CHECKPOINT, POSE_NETWORK
from depth_core.tensor_files.reading import read_content
from depth_core.tensor_files.tensors import as_weights, cleaned, refuse_unusable, with_counters

_KEYS: Final[Mapping[str, Callable[[str], str]]] = {
    'posenet': posenet_key,
    'poseresnet18': poseresnet_key,
    'poseresnet50': poseresnet_key,
    'monodepth2_resnet18': poseresnet_key,
    'monodepth2_resnet50': poseresnet_key,
    'monodepth2_posecnn': posecnn_key,
}
"""Each pose network, and how our keys are named in its authors' class."""

_OF_MONODEPTH2: Final = re.compile(rf'{OF_MONODEPTH2_POSE}|^(?:.*\b)?networks\.pose\.networks\.')
"""Names around a ResNet that is shown its images in the order of time: monodepth2's folder, and
vidar, which trains as monodepth2 does. packnet-sfm shows the same network the image first."""

_BESIDE: Final = 'pose.'
"""Before its keys among the networks that a training keeps beside its model."""

_CLASSIFIER: Final = 'encoder.encoder.fc.'


def identify_pose_network(official: Mapping[str, Tensor]) -> str | None:
    """Say which pose network a published training file holds.

    Args:
        official: All keys of the file, or of a folder of monodepth2 with `pose_encoder.` and
            `pose.` before those of these two files.

    Returns:
        A name for `create_pose_network`; None when the file holds no pose network.
    """
    inside = [key for key in official if is_of_pose(key)]
    if not inside:
        return None
    state = pose_to_authors(official)
    if 'pose_pred.weight' in state:
        return 'posenet'
    if 'pose_conv.weight' in state:
        return 'monodepth2_posecnn'
    size = '50' if 'encoder.encoder.layer1.0.conv3.weight' in state else '18'
    ordered = any(_OF_MONODEPTH2.match(key) for key in inside)
    return f'monodepth2_resnet{size}' if ordered else f'poseresnet{size}'


def convert_pose_state_dict(name: str, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a published pose network into the form `create_pose_network(name)` takes.

    Args:
        name: A pose network; `identify_pose_network` identifies it in a whole training file.
        official: Keys and tensors of a training file, in which the depth network is passed over,
            or of the pose network alone.

    Returns:
        Every key of our network: new CPU tensors.

    Raises:
        CheckpointError: Keys are missing or surplus, or shapes differ: the first ten, the count.
        ModelError: The name is unknown.
    """
    if name not in _KEYS:
        raise ModelError(unknown_name('pose network', name, _KEYS))
    if any(is_of_depth(key) for key in official) and not any(map(is_of_pose, official)):
        message = 'these weights are of a depth network alone; give a file with a pose network.'
        raise CheckpointError(message)
    state = pose_to_authors(cleaned(official))
    if name == 'monodepth2_posecnn':
        state = {key.replace('decoder.net.', 'net.'): value for key, value in state.items()}
    with torch.device('meta'):
        like = create_pose_network(name, neighbours=_neighbours(name, state)).state_dict()
    expected = {_KEYS[name](key): value for key, value in like.items()}
    state = {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
    state = with_counters(state, expected)
    if found := differences(state, expected):
        message = found.message(
            f'these are not the weights of the pose network {name}:',
            'Give the file of this network, or the name of the one it holds.',
        )
        raise CheckpointError(message)
    copied = as_weights(state, expected, source=f'the weights for the pose network {name}')
    return {key: copied[_KEYS[name](key)] for key in like}


def save_pose_network(
    path: Path | str,
    name: str,
    state: Mapping[str, Tensor],
    *,
    provenance: Mapping[str, object] | None = None,
) -> None:
    """Write a pose network to `path`, which appears complete or not at all.

    Args:
        path: Final name.
        name: Of the network.
        state: Its weights by our keys.
        provenance: How it was made: plain values.

    Raises:
        DepthError: The file cannot be written, for instance because the disk is full.
    """
    POSE_NETWORK.write(
        Path(path),
        name=name,
        state={key: value.detach().cpu() for key, value in state.items()},
        provenance=provenance,
    )


def read_pose_network(path: Path | str) -> tuple[str, PoseNetwork]:
    """Read a pose network, in training mode, and its name.

    Args:
        path: What `save_pose_network` wrote, or a checkpoint that a training with the recipe
            selfsup can be resumed from.

    Raises:
        CheckpointError: The file is missing, broken or of another kind, or its weights are not
            those of the network.
    """
    name, state = _name_and_state(Path(path))
    network = create_pose_network(name, neighbours=_neighbours(name, _authors(name, state)))
    own = network.state_dict()
    if found := differences(state, own):
        before = f'{path} does not fit the pose network {name}:'
        raise CheckpointError(found.message(before, 'Make it again.'))
    refuse_unusable(state, own, source=str(path))
    network.load_state_dict(state)
    return name, network


def read_fitting_pose_network(path: Path | str, name: str, *, neighbours: int) -> PoseNetwork:
    """Read a pose network to train on, which has to be the one that was requested.

    Raises:
        CheckpointError: As `read_pose_network`.
        ConfigError: It has another name, or was built for other neighbours.
    """
    found, network = read_pose_network(path)
    if found != name:
        message = (
            f'pose_weights {path} is a {found}, and pose_network is {name}; give pose_network '
            f'{found}, or another file.'
        )
        raise ConfigError(message)
    if isinstance(network, PoseNet) and network.neighbours != neighbours:
        message = (
            f'pose_weights {path} takes {network.neighbours} neighbours, and neighbours is '
            f'{neighbours}; give as many, or another file.'
        )
        raise ConfigError(message)
    return network


def _name_and_state(path: Path) -> tuple[str, Mapping[str, Tensor]]:
    if not path.is_file():
        content = POSE_NETWORK.read(path)  # which says what is wrong
        return content['name'], content['state']
    found = read_content(path, what=POSE_NETWORK.what)
    if not CHECKPOINT.holds(found):
        content = POSE_NETWORK.opened(path, found)
        return content['name'], content['state']
    training = CHECKPOINT.opened(path, found)['training'] or {}
    recipe = training.get('settings', {}).get('recipe', {})
    state = {
        key.removeprefix(_BESIDE): value
        for key, value in training.get('companions', {}).items()
        if key.startswith(_BESIDE)
    }
    if not state or 'pose_network' not in recipe:
        message = (
            f'checkpoint {path} has no pose network beside its depth network; give last.ckpt or '
            f'step-*.ckpt of a training with the recipe selfsup, or a file of depth_core.convert '
            f'--pose_output.'
        )
        raise CheckpointError(message)
    return recipe['pose_network'], state


def _authors(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_KEYS[name](key): value for key, value in state.items()}


def _neighbours(name: str, state: Mapping[str, Tensor]) -> int:
    """How many neighbours a PoseNet was built for, six numbers each; others take any."""
    out = state.get('pose_pred.bias')
    return 2 if name != 'posenet' or out is None else len(out) // 6
