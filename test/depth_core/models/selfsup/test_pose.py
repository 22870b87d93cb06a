# SPDX-License-Identifier: Apache-2.0
"""The pose networks give the numbers of packnet-sfm and of monodepth2, and say what they mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor

from depth_core.errors import ModelError
from depth_core.models.selfsup.keys import posecnn_key, posenet_key, poseresnet_key
from depth_core.models.selfsup.pose import (
    Motion,
    PoseCnn,
    PoseDecoder,
    PoseNetwork,
    create_pose_network,
    list_pose_networks,
)
from test.depth_core.packnet_official import (
    arrays,
    drawn,
    monodepth2_pose_decoder,
    pose_net,
    pose_resnet,
)
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

TOLERANCE = 1e-5
"""Relative to the largest number: the authors' float32 sums, through up to 22 layers; ours are of
float64."""
ALONE_TOLERANCE = 1e-12
"""Absolute, on values of 0.01 in float64: sums in another order."""


@cache
def _numbers(archive: str) -> dict[str, Tensor]:
    return in_float64(arrays(archive))


_packnet_sfm = partial(_numbers, 'packnet_nets_procedural')
_resnets = partial(_numbers, 'packnet_resnet18_procedural')
_monodepth2 = partial(_numbers, 'monodepth2_nets_procedural')


def _loaded(name: str, official: dict[str, Tensor], key: Callable[[str], str]) -> PoseNetwork:
    network = create_pose_network(name)
    network.load_state_dict({ours: official[key(ours)] for ours in network.state_dict()})
    return network.double().eval()


def _vector(motion: Motion) -> Tensor:
    return torch.cat((motion.translation, motion.rotation), dim=-1)


def _assert_close(actual: Tensor, expected: Tensor) -> None:
    atol = TOLERANCE * float(expected.abs().max())
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=atol)


@torch.no_grad()
def test_posenet() -> None:
    expected = {key: value.double() / 255.0 for key, value in _packnet_sfm().items()}
    network = _loaded('posenet', pose_net(), posenet_key)
    neighbours = torch.stack((expected['posenet/ctx0'], expected['posenet/ctx1']), dim=1)
    earlier = torch.tensor([[True, False], [True, False]])
    motion = network(expected['posenet/image'], neighbours, earlier)
    _assert_close(_vector(motion), _packnet_sfm()['posenet/out'])
    assert motion.form == 'euler_xyz'
    assert not motion.inverted.any()
    count = sum(weight.numel() for weight in network.parameters())
    assert count == int(_packnet_sfm()['posenet/nparams'])


@torch.no_grad()
def test_poseresnet_shows_the_image_first_whatever_the_order_in_time() -> None:
    expected = _resnets()
    network = _loaded('poseresnet18', pose_resnet(), poseresnet_key)
    neighbours = torch.stack((expected['poseresnet18/ref0'], expected['poseresnet18/ref1']), dim=1)
    for earlier in ([[True, False]], [[False, True]]):
        motion = network(expected['in_rgb'], neighbours, torch.tensor(earlier))
        _assert_close(_vector(motion), expected['poseresnet18/out'])
        assert motion.form == 'euler_xyz'
        assert not motion.inverted.any()


@torch.no_grad()
def test_the_pose_decoder_of_monodepth2() -> None:
    expected, official = _monodepth2(), monodepth2_pose_decoder()
    decoder = PoseDecoder(512).double()
    decoder.load_state_dict(
        {
            key: official[poseresnet_key(f'decoder.{key}').removeprefix('decoder.')]
            for key in decoder.state_dict()
        }
    )
    rotation, translation = decoder(expected['posedec_in'])
    _assert_close(rotation, expected['posedec_axisangle'].squeeze(2))
    _assert_close(translation, expected['posedec_translation'].squeeze(2))


@torch.no_grad()
def test_the_convolutional_network_of_monodepth2() -> None:
    expected = _monodepth2()
    lines = [
        f'{posecnn_key(key)} {tuple(value.shape)}' for key, value in PoseCnn().state_dict().items()
    ]
    network = _loaded('monodepth2_posecnn', drawn('md2_posecnn.', lines), posecnn_key)
    assert isinstance(network, PoseCnn)
    first, second = (expected['posecnn_in'].double() / 255.0).split(3, dim=1)
    rotation, translation = network.of_pair(torch.cat((first, second), dim=1))
    _assert_close(rotation, expected['posecnn_axisangle'].reshape(1, 3))
    _assert_close(translation, expected['posecnn_translation'].reshape(1, 3))
    # The earlier image goes first, and then the numbers lead from it to the later one.
    before = network(second, first[:, None], torch.tensor([[True]]))
    after = network(first, second[:, None], torch.tensor([[False]]))
    for motion in (before, after):
        _assert_close(motion.rotation[0], rotation)
        assert motion.form == 'axis_angle'
    assert before.inverted.all()
    assert not after.inverted.any()


@torch.no_grad()
@pytest.mark.parametrize('name', ['monodepth2_posecnn', 'monodepth2_resnet18'])
def test_pairs_are_ordered_in_time_one_by_one(name: str) -> None:
    torch.manual_seed(0)
    network = create_pose_network(name).double().eval()
    image, neighbours = torch.rand(2, 3, 64, 64).double(), torch.rand(2, 2, 3, 64, 64).double()
    earlier = torch.tensor([[True, False], [False, True]])
    motion = network(image, neighbours, earlier)
    assert torch.equal(motion.inverted, earlier)
    for index in range(2):
        for place in range(2):
            alone = network(
                image[index : index + 1],
                neighbours[index : index + 1, place : place + 1],
                earlier[index : index + 1, place : place + 1],
            )
            torch.testing.assert_close(
                motion.translation[index, place],
                alone.translation[0, 0],
                rtol=0.0,
                atol=ALONE_TOLERANCE,
            )


@pytest.mark.parametrize('name', list_pose_networks())
def test_motion_starts_small_and_every_weight_learns(name: str) -> None:
    torch.manual_seed(0)
    with torch.device('meta' if 'resnet50' in name else 'cpu'):
        network = create_pose_network(name)
        image, neighbours = torch.rand(1, 3, 64, 96), torch.rand(1, 2, 3, 64, 96)
        motion = network(image, neighbours, torch.tensor([[True, False]]))
    assert motion.translation.shape == motion.rotation.shape == (1, 2, 3)
    if motion.translation.is_meta:
        return
    assert float(_vector(motion).detach().abs().max()) < 0.1
    _vector(motion).sum().backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.any(), key


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="did you mean 'posenet'"):
        create_pose_network('posnet')
    network = create_pose_network('posenet', neighbours=1)
    with pytest.raises(ModelError, match='build it with neighbours=2'):
        network(torch.rand(1, 3, 64, 64), torch.rand(1, 2, 3, 64, 64), torch.ones(1, 2).bool())
