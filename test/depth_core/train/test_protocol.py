# SPDX-License-Identifier: Apache-2.0
"""Validation under a protocol: the numbers of evaluation, the name kept, misfits refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError
from depth_core.evaluate.run import evaluate_dataset
from depth_core.metrics import PROTOCOLS
from depth_core.models import NETWORKS, create_model
from depth_core.models.base import DepthModel
from depth_core.runtime.predictor import Predictor
from depth_core.train.command_line import parse
from depth_core.train.datasets import open_validation_set
from depth_core.train.loop import train
from depth_core.train.protocol import open_rule
from depth_core.train.recipes.densedepth import DenseDepthRecipe
from depth_core.train.recipes.rule import FlipAverage, Rule
from depth_core.train.settings import DatasetSettings, DataSettings, ValidationSettings
from depth_core.train.validate import draw, validate
from depth_core.weights.checkpoint import read_checkpoint, save_model

pytestmark = pytest.mark.numeric

NETWORK = (64, 96)


@dataclass(frozen=True)
class Native:
    """Two images that are larger than what the network sees, 8-bit as files are."""

    height: int = 375
    width: int = 1242

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        drawn = torch.Generator().manual_seed(index)
        shape = (self.height, self.width)
        coarse = torch.rand(1, 3, 6, 9, generator=drawn)
        image = torch.nn.functional.interpolate(coarse, shape, mode='bilinear')[0]
        return Sample(
            image=(image * 255.0).round() / 255.0,
            depth_m=torch.rand(shape, generator=drawn) * 60.0 + 2.0,
            valid=torch.rand(shape, generator=drawn) < 0.02,
            intrinsics=torch.tensor([[700.0, 0, 600], [0, 700.0, 180], [0, 0, 1]]),
            key=f'native/{index}',
        )


@pytest.fixture(scope='module')
def model() -> DepthModel:
    torch.manual_seed(0)
    return create_model('densedepth_small', **dict(NETWORKS['densedepth_small'].tiny)).eval()


@pytest.fixture(scope='module')
def fabric() -> Fabric:
    return Fabric(accelerator='cpu', devices=1)


def data_settings(**validation: Any) -> DataSettings:
    return DataSettings(
        height=NETWORK[0],
        width=NETWORK[1],
        train=DatasetSettings(name='synthetic'),
        validation=ValidationSettings(name='synthetic', **validation),
    )


@pytest.mark.parametrize(
    ('protocol', 'flip'),
    [('kitti_window_garg_80m', 'blended'), ('kitti_eigen_garg_80m', 'mean')],
)
def test_the_numbers_are_those_of_evaluation(
    tmp_path: Path, model: DepthModel, fabric: Fabric, protocol: str, flip: FlipAverage
) -> None:
    size = model.spec.default_size
    rule = Rule(protocol=PROTOCOLS[protocol], flip_average=flip, size=size)
    score = validate(DenseDepthRecipe(), model, Native(), fabric, batch_size=2, rule=rule)
    save_model(tmp_path / 'a.ckpt', model)
    run = evaluate_dataset(
        Predictor.open(tmp_path / 'a.ckpt'), Native(), protocol=PROTOCOLS[protocol],
        flip_average=flip, panels=0,
    )  # fmt: skip
    assert run.evaluation.mean is not None
    assert score.numbers['images_scored'] == 2
    # Area averages of 8 bits there and of floats here: half a grey level of the image.
    assert score.costs['abs_rel'] == pytest.approx(run.evaluation.mean.abs_rel, rel=5e-3)
    assert score.numbers['protocol'] == protocol
    assert protocol in score.summary


def test_pictures_show_what_the_network_sees(model: DepthModel, fabric: Fabric) -> None:
    rule = Rule(protocol=PROTOCOLS['kitti_window_garg_80m'], size=NETWORK)
    drawn = draw(DenseDepthRecipe(), model, Native(), fabric, count=1, rule=rule)
    assert drawn is not None
    # Four tiles under titles of 16 rows, and two scales of colours of 64 columns.
    assert drawn.shape == (16 + 64, 4 * 96 + 2 * 64, 3)


def test_a_protocol_that_does_not_fit_the_size_is_refused(model: DepthModel) -> None:
    said = r'protocol nyu_eigen does not fit samples of 375x1242: .*480x640.*protocol'
    with pytest.raises(ConfigError, match=said):
        open_rule(data_settings(protocol='nyu_eigen'), Native(), model)
    with pytest.raises(ConfigError, match=r'samples of 300x400.*smaller than the 352x1216 window'):
        open_rule(data_settings(protocol='kitti_window_garg_80m'), Native(300, 400), model)
    assert open_rule(data_settings(protocol='nyu_eigen'), Native(480, 640), model).size == NETWORK
    with pytest.raises(ConfigError, match='those of data set synthetic have none; give height'):
        open_validation_set(data_settings(protocol='nyu_eigen'), needs_depth=True)


def test_size_and_alignment_have_to_fit_the_network(model: DepthModel) -> None:
    asked = data_settings(protocol='kitti_eigen_garg_80m', network_size=(65, 96))
    with pytest.raises(ConfigError, match=r'data.validation.network_size: .*65'):
        open_rule(asked, Native(), model)
    with pytest.raises(ConfigError, match='align is affine_inverse, and densedepth_small gives'):
        open_rule(data_settings(align='affine_inverse'), Native(), model)


def test_a_run_keeps_the_name_of_its_protocol(tmp_path: Path, tiny_config: Path) -> None:
    held_out = (
        '{name: synthetic, options: {seed: 2, length: 2, height: 96, width: 128}, '
        'protocol: kitti_eigen_garg_80m, flip_average: mean}'
    )
    run = train(
        parse([
            '--config', str(tiny_config), '--trainer.run_dir', str(tmp_path / 'run'),
            '--data.validation', held_out, '--trainer.max_steps', '1', '--schedule.steps', '4',
        ])
    )  # fmt: skip
    (record,) = json.loads((run.path / 'metrics.json').read_text(encoding='utf-8'))
    assert (record['protocol'], record['flip_average']) == ('kitti_eigen_garg_80m', 'mean')
    said = (read_checkpoint(run.best).provenance or {})['validation']
    assert isinstance(said, dict)
    assert said['protocol'] == 'kitti_eigen_garg_80m'
    events = b''.join(path.read_bytes() for path in (run.path / 'tensorboard').iterdir())
    assert b'held_out_kitti_eigen_garg_80m/abs_rel' in events


def test_unknown_protocols_and_recipes_without_depth_are_refused(tiny_config: Path) -> None:
    base = ['--config', str(tiny_config)]
    with pytest.raises(ConfigError, match=r"data.validation.protocol 'nyu_eigne'.*nyu_eigen"):
        parse([*base, '--data.validation.protocol', 'nyu_eigne'])
    with pytest.raises(
        ConfigError, match=r'network_size is given without data\.validation\.protocol'
    ):
        parse([*base, '--data.validation.network_size', '[64, 64]'])
