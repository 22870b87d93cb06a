# SPDX-License-Identifier: Apache-2.0
"""PackNet gives the numbers of the authors' code, layer by layer and as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from depth_core.contracts import DepthKind
from depth_core.convert import convert_state_dict, read_official
from depth_core.errors import ConfigError
from depth_core.models import create_model
from depth_core.models.selfsup.inverse_depth import InverseDepthModel, InverseDepthPrediction
from depth_core.models.selfsup.keys import layer_key
from depth_core.models.selfsup.packnet import PackNet
from depth_core.models.selfsup.packnet_blocks import (
    ConvNormElu,
    InverseDepthHead,
    PackLayer,
    ResidualBlock,
    ResidualConv,
    UnpackLayer,
)
from test.depth_core.packnet_official import (
    arrays,
    key_list,
    packnet,
    prefixed,
    write_training_file,
)
from test.rounding import assert_within_rounding, in_both_precisions, in_float64

pytestmark = pytest.mark.numeric

LAYER_TOLERANCE = 1e-5
"""Absolute, on values of about 1: the authors' float32 sums of up to 4608 products; ours are of
float64."""
NETWORK_CEILING = 1e-4
"""Relative to each value: such differences through the whole network."""

TINY: dict[str, Any] = {'channels': (16, 16, 32, 32, 64), 'blocks': (1, 1, 1, 1), 'features_3d': 2}


@cache
def _layers() -> dict[str, Tensor]:
    return in_float64(arrays('packnet_layers'))


_networks = cache(partial(arrays, 'packnet_nets_procedural'))


@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        ('conv2d_k5', ConvNormElu(3, 32, 5)),
        ('conv2d_k3s2', ConvNormElu(16, 32, 3, stride=2)),
        ('residualconv', ResidualConv(16, 32)),
        ('residualblock', ResidualBlock(16, 32, count=2)),
        ('invdepth', InverseDepthHead(16, min_depth=0.5)),
        ('pack3d_k3', PackLayer(16, 3, features_3d=8)),
        ('pack3d_k5', PackLayer(16, 5, features_3d=4)),
        ('unpack3d_k3', UnpackLayer(32, 32, 3, features_3d=8)),
        ('unpack3d_d4', UnpackLayer(16, 16, 3, features_3d=4)),
        ('pack2d', PackLayer(16, 3, features_3d=0)),
        ('unpack2d', UnpackLayer(16, 16, 3, features_3d=0)),
    ],
)
@torch.no_grad()
def test_each_layer_of_the_original(name: str, layer: nn.Module) -> None:
    expected = _layers()
    rename = (lambda key: key.replace('conv.', 'conv1.')) if name == 'invdepth' else layer_key
    layer.double().load_state_dict(
        {key: expected[f'{name}/sd/{rename(key)}'] for key in layer.state_dict()}
    )
    found = layer.eval()(expected[f'{name}/in0'])
    torch.testing.assert_close(found, expected[f'{name}/out'], rtol=0.0, atol=LAYER_TOLERANCE)


def test_packing_is_space_to_depth_with_the_channel_outermost() -> None:
    expected = _layers()
    found = nn.functional.pixel_unshuffle(expected['packing/in0'], 2)
    assert torch.equal(found, expected['packing/out'])


@pytest.fixture(scope='module', params=['1A', '1B'])
def official(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, PackNet]]:
    """A whole network with the weights of the reference outputs, one at a time: 0.5 GB.

    1A comes from a training file as packnet-sfm publishes them, 1B from the weights alone.
    """
    version = request.param
    weights: Mapping[str, Tensor] = packnet(version)
    if version == '1A':
        path = tmp_path_factory.mktemp('packnet') / 'PackNet01.ckpt'
        write_training_file(path, prefixed('model.depth_net.', weights))
        weights = read_official('packnet', path)
    with torch.device('meta'):
        model = create_model('packnet01', version=version)
    assert isinstance(model, PackNet)
    model.load_state_dict(convert_state_dict('packnet', weights), assign=True)
    if version == '1A':
        path.unlink()  # 513 MB, and pytest keeps the folders of three runs
    yield version, model.eval()
    model.to_empty(device='meta')


@torch.no_grad()
def test_the_whole_network_at_all_four_scales(official: tuple[str, PackNet]) -> None:
    version, model = official
    images = _networks()['packnet01/in_rgb']
    expected = {
        name: _networks()[f'packnet01_{version}/{name}']
        for name in ('inv_depth0', 'inv_depth1', 'inv_depth2', 'inv_depth3')
    }
    found = in_both_precisions(model, lambda dtype: model.official_forward(images.to(dtype)))
    assert list(found.float64) == list(expected)
    assert_within_rounding(found, expected, ceiling=NETWORK_CEILING, relative_to='each')
    for name, trained in model.train().official_forward(images).items():
        assert torch.equal(trained, found.float32[name])  # there is nothing that differs
    prediction = model.eval()(images)
    inverse = found.float32['inv_depth0'][:, 0]
    torch.testing.assert_close(prediction.depth, (1.0 / inverse).clamp(0.5, 100.0))
    # What the original lacks is neutral until it is trained.
    torch.testing.assert_close(prediction.sigma, 0.2 * prediction.depth)


def test_the_whole_network_has_the_original_number_of_weights(
    official: tuple[str, PackNet],
) -> None:
    version, model = official
    count = sum(
        weight.numel()
        for key, weight in model.named_parameters()
        if not key.startswith('sigma_head.')
    )
    assert count == int(_networks()[f'packnet01_{version}/nparams'])
    assert len(model.state_dict()) == 4 + len(
        key_list('packnet_nets_procedural', f'packnet01_{version}/keys')
    )


def test_the_slim_network_is_as_its_authors_made_it() -> None:
    with torch.device('meta'):
        model = create_model('packnet_slim')
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert shapes['encoder.stem.conv.weight'] == (32, 3, 5, 5)
    assert shapes['encoder.packs.0.conv.conv.weight'] == (32, 4 * 4 * 32, 5, 5)
    assert shapes['encoder.packs.4.conv3d.conv.weight'] == (4, 1, 3, 3, 3)
    assert shapes['decoder.levels.0.unpack.conv.conv.weight'] == (512, 512, 3, 3)
    assert shapes['decoder.levels.4.merge.conv.weight'] == (32, 32 + 32 + 1, 3, 3)


def _tiny(**options: Any) -> InverseDepthModel:
    torch.manual_seed(0)
    model = create_model('packnet01', **{**TINY, **options})
    assert isinstance(model, InverseDepthModel)
    return model


@torch.no_grad()
def test_depth_is_the_reciprocal_clipped_to_the_range() -> None:
    model = _tiny(min_depth=1.0, max_depth=1.5).eval()
    prediction = model(torch.rand(1, 3, 64, 96))
    assert isinstance(prediction, InverseDepthPrediction)
    inverse = prediction.inv_depths[0][:, 0]
    assert (inverse < 1.0 / 1.5).any()  # so that the clipping is seen
    torch.testing.assert_close(prediction.depth, (1.0 / inverse).clamp(1.0, 1.5))
    assert [tuple(value.shape[-2:]) for value in prediction.inv_depths] == [
        (64, 96), (32, 48), (16, 24), (8, 12),
    ]  # fmt: skip


def test_sigma_moves_nothing_but_its_head() -> None:
    model = _tiny()
    prediction = model(torch.rand(1, 3, 32, 64))
    prediction.sigma.log().sum().backward()
    moved = {
        key.split('.')[0] for key, weight in model.named_parameters() if weight.grad is not None
    }
    assert moved == {'sigma_head'}
    assert not prediction.features.requires_grad


def test_depth_is_up_to_scale_until_trained_for_metres() -> None:
    assert _tiny().spec.kind == DepthKind.UP_TO_SCALE
    metric = _tiny(metric=True)
    assert metric.spec.kind == DepthKind.METRIC
    assert metric.options['metric'] is True


def test_inverse_depth_is_float32_under_autocast() -> None:
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        prediction = _tiny().eval()(torch.rand(1, 3, 32, 64))
    assert {value.dtype for value in prediction.inv_depths} == {torch.float32}


def test_dropout_is_on_the_shortcuts_and_only_in_training() -> None:
    model, plain = _tiny(dropout=0.5), _tiny()
    model.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(model.eval()(images).depth, plain.eval()(images).depth)
        assert not torch.equal(model.train()(images).depth, plain(images).depth)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'version': '1C'}, "unknown PackNet version '1C'"),
        ({'channels': (16, 16, 32, 32)}, 'give 5 positive multiples of 16'),
        ({'channels': (16, 16, 32, 32, 40)}, 'give 5 positive multiples of 16'),
        ({'blocks': (1, 1, 0, 1)}, 'give 4 positive numbers'),
        ({'features_3d': 8}, '1, 2 and 4 always fit'),
        ({'dropout': 1.0}, r'dropout 1\.0 is not in \[0, 1\)'),
        ({'pretrained': True}, 'depth_core.convert'),
        ({'min_depth': 2.0, 'max_depth': 1.0}, 'give 0 < min < max'),
    ],
)
def test_what_no_packnet_can_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _tiny(**options)
