# SPDX-License-Identifier: Apache-2.0
"""Weights of pose networks: the published ones, and files of our own.

A pose network serves training alone, so it is no part of a model's checkpoint: what a training
file holds of one becomes a file of its own, from which another training may start.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from depth_core.errors import CheckpointError, ConfigError, ModelError, unknown_name
from depth_core.files import replaced_atomically
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

_FORMAT: Final = 'depth_ros.pose_network'
_VERSION: Final = 1
_KEYS_SHOWN: Final = 10
_BROKEN: Final = (
    pickle.UnpicklingError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    ValueError,
)
"""How torch says that a file is broken, or none of its own."""

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
        name: A pose network; `identify_pose_network` tells it from a whole training file.
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
    state = pose_to_authors(official)
    if name == 'monodepth2_posecnn':
        state = {key.replace('decoder.net.', 'net.'): value for key, value in state.items()}
    with torch.device('meta'):
        like = create_pose_network(name, neighbours=_neighbours(name, state)).state_dict()
    expected = {_KEYS[name](key): key for key in like}
    shapes = [
        f'{key} (given {tuple(state[key].shape)}, network {tuple(like[ours].shape)})'
        for key, ours in expected.items()
        if key in state and state[key].shape != like[ours].shape
    ]
    surplus = [key for key in state if key not in expected and not key.startswith(_CLASSIFIER)]
    faults = [
        *_listed('missing', [key for key in expected if key not in state]),
        *_listed('surplus', surplus),
        *_listed('of another shape', shapes),
    ]
    if faults:
        message = f'these are not the weights of the pose network {name}:\n  ' + '\n  '.join(
            faults
        )
        raise CheckpointError(message)
    return {
        ours: state[key].detach().to('cpu', like[ours].dtype).clone()
        for key, ours in expected.items()
    }


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
    payload = {
        'format': _FORMAT,
        'version': _VERSION,
        'name': name,
        'state': {key: value.detach().cpu() for key, value in state.items()},
        'provenance': None if provenance is None else dict(provenance),
    }
    with replaced_atomically(Path(path)) as temporary, temporary.open('wb') as file:
        torch.save(payload, file)


def read_pose_network(path: Path | str) -> tuple[str, PoseNetwork]:
    """Read what `save_pose_network` wrote: the name and the network, in training mode.

    Raises:
        CheckpointError: The file is missing, broken or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        message = f'pose network {path} does not exist; check the path.'
        raise CheckpointError(message)
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
            f'{path} ({path.stat().st_size} bytes) is no complete file of a pose network; '
            'published ones are brought into that form by depth_core.convert.'
        )
        raise CheckpointError(message) from error
    if not isinstance(content, dict) or content.get('format') != _FORMAT:
        message = (
            f'{path} holds no pose network of this package; published ones are brought into '
            'that form by depth_core.convert.'
        )
        raise CheckpointError(message)
    if content.get('version') != _VERSION:
        message = (
            f'{path} has format version {content.get("version")!r}; this package reads version '
            f'{_VERSION}: use the release that wrote it, or convert again.'
        )
        raise CheckpointError(message)
    name, state = content['name'], content['state']
    network = create_pose_network(name, neighbours=_neighbours(name, _authors(name, state)))
    network.load_state_dict(state)
    return name, network


def read_fitting_pose_network(path: Path | str, name: str, *, neighbours: int) -> PoseNetwork:
    """Read a pose network to train on, which has to be the one that was asked for.

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


def _authors(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_KEYS[name](key): value for key, value in state.items()}


def _neighbours(name: str, state: Mapping[str, Tensor]) -> int:
    """How many neighbours a PoseNet was built for, six numbers each; others take any."""
    out = state.get('pose_pred.bias')
    return 2 if name != 'posenet' or out is None else len(out) // 6


def _listed(rule: str, keys: list[str]) -> list[str]:
    if not keys:
        return []
    more = f', and {len(keys) - _KEYS_SHOWN} more' if len(keys) > _KEYS_SHOWN else ''
    return [f'{len(keys)} {rule}: {", ".join(keys[:_KEYS_SHOWN])}{more}']
