# SPDX-License-Identifier: Apache-2.0
"""Networks of the published size, built without memory: their weights by name, shape and number.

Every published weight has a place or is known to be dead, and every weight of ours is published,
but for its own additions: `mismatches` is strict both ways.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import torch
from torch import Tensor

from depth_core.convert import mismatches
from depth_core.models import create_model

pytestmark = pytest.mark.usefixtures('built_once')

DATA: Final = Path(__file__).resolve().parents[2] / 'data'

# Weights the authors' classes hold and never use are not built here: timm's last norm and
# classifier of BEiT-L, and the first unit of the coarsest fusion.
_BEIT_UNUSED: Final = 1_027_048 + 2 * (256 * 256 * 9 + 256)
_RESNET18_CLASSIFIER: Final = 512 * 1000 + 1000

PARAMETERS: Final[Mapping[tuple[str, str | None], tuple[int, str]]] = {
    ('cliffnet', None): (36_892_481, 'the authors\' class "Net", counted'),
    ('densedepth', None): (42_657_689, 'paper, table 2: 42.6 M'),
    ('packnet01', '1A'): (128_294_020, "packnet-sfm's class, counted; paper: about 128 M"),
    ('packnet01', '1B'): (124_164_580, "packnet-sfm's class, counted"),
    ('selfsup_resnet18', None): (
        14_842_236 - _RESNET18_CLASSIFIER,
        "packnet-sfm's class, counted",
    ),
    ('urcdc', None): (333_760_486, "the authors' class, counted"),
    ('zoedepth_k', None): (344_820_487 - _BEIT_UNUSED, "the authors' class, counted"),
    ('zoedepth_n', None): (344_816_746 - _BEIT_UNUSED, "the authors' class, counted"),
    ('zoedepth_nk', None): (346_100_355 - _BEIT_UNUSED, "the authors' class, counted"),
}
"""Parameters of the authors' network that take part, by name and version, and where they stand."""


def _read(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[str, Tensor]]:
    for line in archive.read(f'{name}.txt').decode().splitlines():
        key, _, shape = line.partition(' ')
        size = tuple(int(side) for side in shape.split(',') if side)
        yield key, torch.empty(size, device='meta')


def _published(*names: str, prefix: str = '') -> dict[str, Tensor]:
    """Names and shapes of published files, without values."""
    with zipfile.ZipFile(DATA / 'official_keys.zip') as archive:
        return {prefix + key: value for name in names for key, value in _read(archive, name)}


@pytest.mark.parametrize(('name', 'version'), PARAMETERS)
def test_as_many_parameters_as_published(name: str, version: str | None) -> None:
    options = {} if version is None else {'version': version}
    with torch.device('meta'):
        model = create_model(name, **options)
    own = model.own_state()
    count = sum(weight.numel() for key, weight in model.named_parameters() if key not in own)
    expected, source = PARAMETERS[name, version]
    assert count == expected, source


@pytest.mark.parametrize(
    ('name', 'file', 'prefix'),
    [
        ('packnet01', 'packnet01', 'model.depth_net.'),
        ('selfsup_resnet18', 'selfsup_resnet18', 'model.depth_net.'),
        ('urcdc', 'urcdc', 'module.'),
        ('zoedepth_k', 'zoedepth_k', 'module.'),
        ('zoedepth_n', 'zoedepth_n', ''),
        ('zoedepth_nk', 'zoedepth_nk', ''),
    ],
)
def test_every_published_weight_has_its_place(name: str, file: str, prefix: str) -> None:
    assert mismatches(name, _published(file, prefix=prefix)) == []


@pytest.mark.parametrize(
    ('family', 'file', 'name'),
    [
        ('zoedepth', 'zoedepth_k', 'zoedepth_k'),
        ('zoedepth', 'hub_zoedepth_nk', 'zoedepth_nk'),
        ('packnet', 'packnet01', 'packnet01'),
        ('packnet', 'selfsup_resnet18', 'selfsup_resnet18'),
    ],
)
def test_the_weights_tell_the_model_of_a_family(family: str, file: str, name: str) -> None:
    published = _published(file)
    assert mismatches(family, published) == []
    key = next(iter(published))
    without = {other: value for other, value in published.items() if other != key}
    # What is missing is told of the nearest model, not of another one of the family.
    assert mismatches(family, without) == mismatches(name, without) != []


@pytest.mark.parametrize(
    ('name', 'file', 'words'),
    [
        # Of another variant, another version, another family.
        ('zoedepth_n', 'zoedepth_k', ['8 of another shape: attractors.0._net.2.weight (given']),
        (
            'zoedepth_nk',
            'zoedepth_n',
            ['missing: seed_bin_regressors.nyu', 'surplus: seed_bin_regressor._'],
        ),
        ('selfsup_resnet50', 'selfsup_resnet18', ['missing: encoder.encoder.layer1.0.conv3']),
        ('packnet01', 'posenet', ['missing: pre_calc.conv_base.weight', '30 surplus: conv1.0']),
        ('urcdc', 'zoedepth_n', ['missing: backbone.', 'surplus: core.core.', ', and ']),
        ('zoedepth_n', 'urcdc', ['missing: core.core.', '1634 surplus: ', ', and 1631 more']),
    ],
)
def test_other_weights_are_told_by_name(name: str, file: str, words: list[str]) -> None:
    faults = '\n'.join(mismatches(name, _published(file)))
    for word in words:
        assert word in faults
