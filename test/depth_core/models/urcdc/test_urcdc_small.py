# SPDX-License-Identifier: Apache-2.0
"""The small URCDC-Depth keeps the ideas of the family and fits a robot."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from depth_core.errors import ConfigError, ModelError
from depth_core.models import create_model
from depth_core.models.urcdc.neural_crf import CrfStage
from depth_core.models.urcdc.small import UrcdcSmall

TINY: dict[str, object] = {'encoder': 'mobilenetv3_small_050', 'cnn_channels': (8, 8, 8, 8)}


def _small() -> UrcdcSmall:
    torch.manual_seed(0)
    return cast('UrcdcSmall', create_model('urcdc_small', **TINY))


@torch.no_grad()
def test_it_states_its_whole_range_for_any_weights() -> None:
    model = _small().eval()
    images = torch.rand(1, 3, 32, 64)
    model.depth_head.conv.weight.zero_()
    for bias, depth_m in ((-1e4, 0.5), (0.0, (0.5 * 80.0) ** 0.5), (1e4, 80.0)):
        model.depth_head.conv.get_parameter('bias').fill_(bias)
        prediction = model(images)
        torch.testing.assert_close(prediction.depth, torch.full_like(prediction.depth, depth_m))
        ends = torch.tensor([0.5 / 1.25, 80.0 * 1.25])
        raw = prediction.transformer.depth
        assert raw.min() >= ends[0] * 0.999
        assert raw.max() <= ends[1] * 1.001


def test_the_cnn_sees_the_other_branch_and_cannot_move_it() -> None:
    model = _small()
    prediction = model(torch.rand(2, 3, 64, 96))
    assert prediction.cnn is not None
    assert prediction.cnn.depth.shape == (2, 1, 64, 96)
    (prediction.cnn.depth.mean() + prediction.cnn.confidence.mean()).backward()
    for key, weight in model.named_parameters():
        assert (weight.grad is not None) == key.startswith('cnn'), key
    maps = model.encoder(torch.rand(1, 3, 64, 96))[-4:]
    model.eval()
    for unit, tap in zip(model.cnn.units, maps, strict=True):
        x = torch.rand(1, 8, *tap.shape[-2:])
        assert not torch.equal(unit(x, tap), unit(x, tap + 1.0))


def test_the_cnn_runs_in_training_only() -> None:
    model = _small()
    runs = []
    model.cnn.register_forward_hook(lambda *_: runs.append(1))
    images = torch.rand(1, 3, 32, 64)
    assert model.eval()(images).cnn is None
    assert runs == []


def test_it_has_a_crf_stage_at_every_level() -> None:
    model = _small()
    assert [type(stage) for stage in model.decoder.stages] == [CrfStage] * 4


@torch.no_grad()
@pytest.mark.parametrize('encoder', ['resnet18', 'edgenext_xx_small'])
def test_it_takes_other_encoders(encoder: str) -> None:
    model = create_model('urcdc_small', encoder=encoder).eval()
    assert model(torch.rand(1, 3, 64, 96)).depth.shape == (1, 64, 96)


@pytest.mark.parametrize(
    ('encoder', 'remedy'),
    [('mobilnetv3_large_075', 'mobilenetv3_large_075'), ('vit_tiny_patch16_224', 'pyramid')],
)
def test_it_refuses_what_is_no_pyramid(encoder: str, remedy: str) -> None:
    with pytest.raises(ModelError) as error:
        create_model('urcdc_small', encoder=encoder)
    assert encoder in str(error.value)
    assert remedy in str(error.value)


@torch.no_grad()
def test_an_encoder_whose_maps_do_not_halve_is_refused_at_such_a_size() -> None:
    model = create_model('urcdc_small', encoder='mobilevitv2_050').eval()
    assert model(torch.rand(1, 3, 64, 128)).depth.shape == (1, 64, 128)
    with pytest.raises(ModelError, match='map of 4x6 where 4x8 is due'):
        model(torch.rand(1, 3, 64, 96))


@pytest.mark.parametrize(
    ('options', 'value'),
    [
        ({'max_depth': 0.1}, '0.1'),
        ({'crf_channels': (8, 8)}, 'crf_channels [8, 8]'),
        ({'cnn_channels': (7, 8, 8, 8)}, '7 channels cannot be split into 2'),
        ({'pooled_channels': 9}, '9 channels cannot be split into 2'),
        ({'crf_heads': (3, 2, 3, 4)}, '32 channels cannot be split into 3'),
        ({'bypass': 1.0}, 'bypass is 1.0'),
        ({'window': 0}, 'window is 0'),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, object], value: str) -> None:
    with pytest.raises(ConfigError) as error:
        create_model('urcdc_small', **options)
    assert value in str(error.value)
