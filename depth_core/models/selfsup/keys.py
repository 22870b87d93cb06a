# SPDX-License-Identifier: Apache-2.0
"""Names of the published weights of the self-supervised family.

Each network has the names its authors' class has (packnet-sfm's, for the ResNets too). Around
these stand the names of a training file: `model.depth_net.` and `model.pose_net.` in packnet-sfm,
`disp_network.` and `pose_network.` in its older files, `networks.depth.` and `networks.pose.` in
vidar. monodepth2 writes encoder and decoder into a file each, without the network's own prefix;
who saved its networks in one file put the names of the parts before: `encoder.` and `depth.`, or
`depth_encoder.` and `depth_decoder.`, `pose_encoder.` and `pose.` or `pose_decoder.`, perhaps with
`models.` or `model.` in front.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

_DEPTH: Final = re.compile(r'^(?:.*?\b)?(?:depth_net|disp_network|networks\.depth)\.')
_AROUND: Final = r'^(?:(?:module|models?)\.)*'
OF_MONODEPTH2_POSE: Final = _AROUND + r'(?:pose_encoder|pose_decoder|pose)\.'
"""What stands before the names of monodepth2's pose networks, as a pattern."""
_POSE: Final = re.compile(
    rf'^(?:.*?\b)?(?:pose_net|pose_network|networks\.pose)\.|{OF_MONODEPTH2_POSE}'
)

_LEVELS: Final = 5


# Our keys to those of the authors' classes


def packnet_key(key: str) -> str:
    """Name of a weight of PackNet in packnet-sfm's class."""
    part, _, rest = key.partition('.')
    if part == 'encoder':
        place, _, rest = rest.partition('.')
        if place == 'stem':
            return f'pre_calc.{layer_key(rest)}'
        index, _, rest = rest.partition('.')
        stage = 'conv' if place == 'blocks' else 'pack'
        return f'{stage}{int(index) + 1}.{layer_key(rest)}'
    level = re.fullmatch(r'decoder\.levels\.(\d)\.(unpack|merge|head)\.(.+)', key)
    if level is None:
        return key
    number, place, rest = _LEVELS - int(level[1]), level[2], level[3]
    if place == 'head':
        return f'disp{number}_layer.{rest.replace("conv.", "conv1.")}'
    return f'{"iconv" if place == "merge" else "unpack"}{number}.{layer_key(rest)}'


def layer_key(rest: str) -> str:
    """Names inside the layers: their 2-D convolution, norm, shortcut and 3-D convolution."""
    *path, layer, parameter = rest.split('.')
    if path and path[-1] == 'conv3d':
        return '.'.join((*path, parameter))
    layer = {'conv': 'conv_base', 'norm': 'normalize', 'shortcut': 'conv3'}[layer]
    return '.'.join((*path, layer, parameter))


def resnet_key(key: str) -> str:
    """Name of a weight of the ResNet depth network in packnet-sfm's class."""
    key = _encoder(key)
    level = re.fullmatch(r'decoder\.levels\.(\d)\.(narrow|merge|head)\.conv\.(\w+)', key)
    if level is None:
        return key
    index, place, parameter = int(level[1]), level[2], level[3]
    if place == 'head':
        return f'decoder.decoder.{2 * _LEVELS + _LEVELS - 1 - index}.conv.{parameter}'
    return f'decoder.decoder.{2 * index + (place == "merge")}.conv.conv.{parameter}'


def posenet_key(key: str) -> str:
    """Name of a weight of PoseNet in packnet-sfm's class."""
    layer = re.fullmatch(r'layers\.(\d)\.(.+)', key)
    if layer is None:
        return key.replace('out.', 'pose_pred.')
    return f'conv{int(layer[1]) + 1}.{layer[2]}'


def poseresnet_key(key: str) -> str:
    """Name of a weight of PoseResNet in packnet-sfm's class."""
    names = {'squeeze': 0, 'conv0': 1, 'conv1': 2, 'out': 3}
    layer = re.fullmatch(r'decoder\.(\w+)\.(\w+)', key)
    return _encoder(key) if layer is None else f'decoder.net.{names[layer[1]]}.{layer[2]}'


def posecnn_key(key: str) -> str:
    """Name of a weight of PoseCnn in monodepth2's class."""
    return key.replace('layers.', 'net.').replace('out.', 'pose_conv.')


def _encoder(key: str) -> str:
    stage = re.fullmatch(r'encoder\.stages\.(\d)\.(.+)', key)
    if stage is not None:
        return f'encoder.encoder.layer{int(stage[1]) + 1}.{stage[2]}'
    return f'encoder.{key}' if key.startswith('encoder.') else key


# Other published namings to the authors' classes


def depth_to_authors(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the depth network of any published file to the names of packnet-sfm's classes.

    Weights of a pose network keep the names they have in the file.
    """
    return {
        key if is_of_pose(key) else _in_network(_DEPTH.sub('', key)): value
        for key, value in official.items()
    }


def is_of_pose(key: str) -> bool:
    """Say of a key of a published file whether it belongs to the pose network."""
    return _POSE.match(key) is not None


def is_of_depth(key: str) -> bool:
    """Say of a key of a published training file whether it belongs to the depth network.

    monodepth2 puts nothing before the names of its depth network, as the classes do of both.
    """
    return _DEPTH.match(key) is not None


def pose_to_authors(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the pose network of any published file to the names of the authors' classes.

    The weights of a depth network beside it are left out; in a file that names neither, all of
    them are the pose network's.
    """
    inside = {key: value for key, value in official.items() if is_of_pose(key)}
    return {_in_network(_POSE.sub('', key)): value for key, value in (inside or official).items()}


def _in_network(key: str) -> str:
    """Name inside packnet-sfm's class of what any training file calls `key` inside its network."""
    for pattern, replacement in _SPELLINGS:
        key = pattern.sub(replacement, key)
    return key


_SPELLINGS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # With dropout, packnet-sfm's shortcut is the first layer of two.
        (r'^(conv[2-5]\.\d\.conv3)\.0\.(weight|bias)$', r'\1.\2'),
        # vidar names the parts of its ResNets.
        (r'^networks\.(?:mono_encoder|pose_encoder)\.', 'encoder.'),
        (r'^networks\.(?:mono_depth|pose)\.', 'decoder.'),
        # monodepth2 in one file.
        (_AROUND + r'(?:depth_)?encoder\.(?=encoder\.)', 'encoder.'),
        (_AROUND + r'depth(?:_decoder)?\.(?=decoder\.\d)', ''),
        # monodepth2 writes each part alone.
        (r'^encoder\.(?!encoder\.)', 'encoder.encoder.'),
        (r'^decoder\.(?=\d)', 'decoder.decoder.'),
        (r'^net\.(?=[0-3]\.)', 'decoder.net.'),
    )
)


def has_no_place(key: str) -> bool:
    """Say of a key whether it is known to have no place in a depth network of the family."""
    return is_of_pose(key) or key.startswith('encoder.encoder.fc.')
