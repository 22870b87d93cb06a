# SPDX-License-Identifier: Apache-2.0
"""Reference numbers of packnet-sfm, pacnet and monodepth2, and weights drawn by their formula.

The archives hold no weights of whole networks: each is drawn from a seed made of its name.
"""

from __future__ import annotations

import ast
import sys
import types
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).resolve().parents[1] / 'data'


def arrays(name: str) -> dict[str, Tensor]:
    """The numeric arrays of an archive of test/data, by name."""
    with np.load(DATA / f'{name}.npz') as archive:
        return {
            key: torch.from_numpy(value)
            for key in archive
            if (value := archive[key]).dtype.kind != 'U'
        }


def key_list(name: str, field: str) -> list[str]:
    """Lines `key (shape)` that an archive lists."""
    with np.load(DATA / f'{name}.npz') as archive:
        return [str(line) for line in archive[field]]


def drawn(prefix: str, lines: Iterable[str], *, scale: float = 1.0) -> dict[str, Tensor]:
    """A state dict by lines `key (shape)`; the seed of each weight is that of prefix + key."""
    state = {}
    for line in lines:
        key, _, shape = line.partition(' ')
        state[key] = _drawn(prefix + key, ast.literal_eval(shape), scale)
    return state


def _drawn(name: str, shape: tuple[int, ...], scale: float) -> Tensor:
    leaf = name.rpartition('.')[2]
    if leaf == 'num_batches_tracked':
        return torch.zeros((), dtype=torch.int64)
    z = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF).standard_normal(shape)
    if leaf == 'running_var':
        z = 1.0 + 0.2 * np.abs(z)
    elif len(shape) > 1:
        z = scale * z * np.sqrt(2.0 / np.prod(shape[1:]))
    elif leaf == 'weight':
        z = 1.0 + 0.1 * z
    else:
        z = 0.1 * z
    return torch.from_numpy(np.asarray(z, dtype=np.float32))


def packnet(version: str) -> dict[str, Tensor]:
    """PackNet01 of packnet-sfm, by the names of its class."""
    name = f'packnet01_{version}'
    return drawn(f'{name}.', key_list('packnet_nets_procedural', f'{name}/keys'))


def depth_resnet() -> dict[str, Tensor]:
    """The ResNet-18 depth network of packnet-sfm, by the names of its class."""
    lines = key_list('packnet_resnet18_procedural', 'depthresnet18/keys')
    return drawn('depthresnet18.', lines, scale=0.7)


def pose_net() -> dict[str, Tensor]:
    """PoseNet of packnet-sfm, by the names of its class."""
    return drawn('posenet.', key_list('packnet_nets_procedural', 'posenet/keys'))


def pose_resnet() -> dict[str, Tensor]:
    """PoseResNet of packnet-sfm, by the names of its class."""
    lines = key_list('packnet_resnet18_procedural', 'poseresnet18/keys')
    return drawn('poseresnet18.', lines, scale=0.7)


def monodepth2_depth() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What monodepth2 writes to encoder.pth and depth.pth."""
    name = 'monodepth2_nets_procedural'
    return (
        drawn('md2_encoder.', key_list(name, 'enc_keys'), scale=0.7),
        drawn('md2_depth.', key_list(name, 'dec_keys'), scale=0.7),
    )


def monodepth2_pose_decoder() -> dict[str, Tensor]:
    """What monodepth2 writes to pose.pth."""
    lines = key_list('monodepth2_nets_procedural', 'posedec_keys')
    return drawn('md2_posedec.', lines, scale=0.7)


def write_training_file(path: Path, state: Mapping[str, Tensor], *, zipped: bool = True) -> None:
    """Write a checkpoint as packnet-sfm and vidar do: weights beside settings and an optimizer.

    The settings are of a class of yacs, which is not installed: a stand-in of its name is there
    while the file is written, and gone when it is read.
    """
    made = type('CfgNode', (dict,), {'__module__': 'yacs.config'})
    modules = {name: types.ModuleType(name) for name in ('yacs', 'yacs.config')}
    modules['yacs.config'].CfgNode = made  # type: ignore[attr-defined]
    with patch.dict(sys.modules, modules):
        content = {
            'config': made(arch=made(max_epochs=50), name='drawn'),
            'epoch': 49,
            'state_dict': dict(state),
            'optimizer': {'state': {0: {'step': 3}}, 'param_groups': [{'lr': 2e-4}]},
            'scheduler': {'last_epoch': 49},
        }
        torch.save(content, path, _use_new_zipfile_serialization=zipped)


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with something before each name."""
    return {f'{prefix}{key}': value for key, value in state.items()}
