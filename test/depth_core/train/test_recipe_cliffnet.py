# SPDX-License-Identifier: Apache-2.0
"""The CLIFFNet recipe: which terms there are, on which pixels, and what they move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depth_core import losses
from depth_core.data.sample import Sample
from depth_core.errors import CheckpointError
from depth_core.losses.embedding import EMBEDDING_MASKS, EmbeddingMask
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.models.cliffnet.embedding import ReconstructionEmbedding, SceneEmbedding
from depth_core.models.cliffnet.network import CliffNet, CliffNetPrediction
from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.recipes.cliffnet import CliffNetRecipe, CliffNetStep
from depth_core.weights.embedding_file import save_embedding


@pytest.fixture
def model() -> DepthModel:
    torch.manual_seed(0)
    return create_model(
        'cliffnet', layers=(1, 1, 1, 1), channels=8, min_depth=1.0, max_depth=50.0
    ).eval()


@pytest.fixture
def sample() -> Sample:
    generator = torch.Generator().manual_seed(0)
    return Sample(
        image=torch.rand(2, 3, 32, 32, generator=generator),
        depth_m=2.0 + 40.0 * torch.rand(2, 32, 32, generator=generator),
        valid=torch.ones(2, 32, 32, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(2, 3, 3),
        key=('a', 'b'),
    )


@pytest.fixture
def heg_s(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / 'heg_s.ckpt'
    save_embedding(path, 'heg_s', SceneEmbedding(2), classes=('a', 'b'))
    return path


@pytest.fixture
def heg_r(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    path = tmp_path / 'heg_r.ckpt'
    save_embedding(path, 'heg_r', ReconstructionEmbedding())
    return path


def test_with_a_heg_it_is_the_authors_loss_and_a_sigma(
    model: DepthModel, sample: Sample, heg_s: Path
) -> None:
    opened = CliffNetRecipe(heg_s=heg_s).open(model)
    terms = opened.losses(sample, 500)
    assert set(terms) == {'depth', 'heg_s', 'sigma'}
    prediction = model(sample.image)
    assert isinstance(prediction, CliffNetPrediction)
    target = sample.depth_m.unsqueeze(1)
    torch.testing.assert_close(terms['depth'], losses.l1(prediction.raw_m, target))
    trunk = opened.trunks()['heg_s']
    expected = sum(
        weight * (found - true).abs().mean()
        for weight, found, true in zip(
            (10.0, 15.0), trunk(prediction.raw_m), trunk(target), strict=True
        )
    )
    torch.testing.assert_close(terms['heg_s'], expected)


def test_every_embedding_has_its_own_weights(
    model: DepthModel, sample: Sample, heg_s: Path, heg_r: Path
) -> None:
    recipe = CliffNetRecipe(
        heg_s=heg_s, heg_s_weights=(1.0, 0.0), heg_r=heg_r, heg_r_weights=(0.0, 2.0),
        sobel_weight=3.0, random_heg_weights=(4.0, 0.0), warm_up_steps=0,
    )  # fmt: skip
    opened = recipe.open(model)
    terms = opened.losses(sample, 0)
    assert set(terms) == {'depth', 'sigma', 'heg_s', 'heg_r', 'sobel', 'random_heg'}
    prediction, target = model(sample.image), sample.depth_m.unsqueeze(1)
    for name, level, weight in (('heg_s', 0, 1.0), ('heg_r', 1, 2.0), ('random_heg', 0, 4.0)):
        distances = losses.embedding_l1(opened.trunks()[name], prediction.raw_m, target)
        torch.testing.assert_close(terms[name], weight * distances[level])
    sobel = losses.sobel_l1(prediction.raw_m, target)
    torch.testing.assert_close(terms['sobel'], 3.0 * sobel)


def test_embeddings_fade_in(model: DepthModel, sample: Sample) -> None:
    opened = CliffNetRecipe(sobel_weight=1.0).open(model)
    full = opened.losses(sample, 100)['sobel']
    for step, share in ((0, 0.0), (25, 0.25), (99, 0.99), (12_345, 1.0)):
        torch.testing.assert_close(opened.losses(sample, step)['sobel'], share * full)


def test_depth_beyond_the_range_of_the_model_still_learns(
    model: DepthModel, sample: Sample
) -> None:
    assert isinstance(model, CliffNet)
    torch.nn.init.constant_(model.decoder.score[3].get_parameter('bias'), 500.0)
    terms = CliffNetRecipe().open(model).losses(sample, 0)
    assert terms['depth'] > 400.0  # of what the network said, and not of the 50 m it may say
    terms['depth'].backward()
    gradient = model.decoder.score[3].get_parameter('bias').grad
    assert gradient is not None
    assert float(gradient) == pytest.approx(1.0)


def test_sigma_cannot_move_the_depth(model: DepthModel, sample: Sample) -> None:
    CliffNetRecipe().open(model).losses(sample, 0)['sigma'].backward()
    moved = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert moved == {name for name, _ in model.named_parameters() if name.startswith('sigma_head')}


@pytest.mark.parametrize('masking', EMBEDDING_MASKS[:2])
@pytest.mark.parametrize('unknown', [float('nan'), 0.0, float('inf')])
def test_what_is_not_valid_changes_nothing(
    model: DepthModel, sample: Sample, unknown: float, masking: EmbeddingMask
) -> None:
    recipe = CliffNetRecipe(
        sobel_weight=1.0, random_heg_weights=(10.0, 15.0), log_l1_weight=1.0,
        embedding_mask=masking,
    )  # fmt: skip
    opened = recipe.open(model)
    valid = sample.valid.clone()
    valid[:, 8:24] = False
    known = opened.losses(replace(sample, valid=valid), 100)
    depth_m = torch.where(valid, sample.depth_m, unknown)
    masked = opened.losses(replace(sample, valid=valid, depth_m=depth_m), 100)
    for name, value in known.items():
        torch.testing.assert_close(masked[name], value)


def test_no_valid_pixel_is_no_loss_but_a_gradient(model: DepthModel, sample: Sample) -> None:
    nothing = replace(sample, valid=torch.zeros_like(sample.valid))
    recipe = CliffNetRecipe(sobel_weight=1.0, random_heg_weights=(1.0, 1.0), log_l1_weight=1.0)
    terms = recipe.open(model).losses(nothing, 100)
    total = torch.stack(tuple(terms.values())).sum()
    assert total == 0.0
    total.backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_sky_is_left_out_or_trained_as_the_largest_depth(
    model: DepthModel, sample: Sample
) -> None:
    valid = sample.valid.clone()
    valid[:, :16] = False
    far = replace(sample, valid=valid, depth_m=torch.where(valid, sample.depth_m, float('inf')))
    out = CliffNetRecipe().open(model).losses(far, 0)
    trained = CliffNetRecipe(sky_as_max_depth=True).open(model).losses(far, 0)
    at_range = replace(sample, depth_m=torch.where(valid, sample.depth_m, 50.0))
    expected = CliffNetRecipe().open(model).losses(at_range, 0)
    torch.testing.assert_close(trained['depth'], expected['depth'])
    assert out['depth'] != trained['depth']


def test_embeddings_are_frozen_and_kept_with_the_checkpoint(
    model: DepthModel, heg_s: Path
) -> None:
    opened = CliffNetRecipe(heg_s=heg_s).open(model).train()
    assert isinstance(opened, CliffNetStep)
    assert opened.model.training
    assert not any(module.training for module in opened.embeddings.modules())
    assert not any(weight.requires_grad for weight in opened.embeddings.parameters())
    assert 'embeddings.heg_s.features.0.weight' in opened.companions_state()


def test_the_other_kind_of_heg_is_refused(model: DepthModel, heg_r: Path) -> None:
    with pytest.raises(CheckpointError, match='holds a heg_r, and a heg_s is expected'):
        CliffNetRecipe(heg_s=heg_r).open(model)


def test_contradictions_are_named(model: DepthModel, tmp_path: Path) -> None:
    assert CliffNetRecipe().problems(model) == []
    recipe = CliffNetRecipe(
        depth_weight=0.0, sigma_weight=0.0, sobel_weight=-1.0, heg_r_weights=(1.0, -2.0)
    )  # fmt: skip
    problems = recipe.problems(model)
    assert len(problems) == 4
    assert problems[0] == 'recipe.sobel_weight is -1.0; give at least 0.'
    assert problems[1] == 'recipe.heg_r_weights is (1.0, -2.0); give at least 0.'
    assert 'nothing trains depth' in problems[2]
    assert 'random weights' in problems[3]
    with pytest.raises(CheckpointError, match=r'absent\.ckpt does not exist'):
        CliffNetRecipe(heg_s=tmp_path / 'absent.ckpt').open(model)
    with torch.device('meta'):
        other = create_model('densedepth_small', encoder='mobilenetv3_small_050')
    (problem,) = CliffNetRecipe().problems(other)
    assert 'densedepth_small is of family densedepth' in problem


TINY = """
model:
  name: cliffnet_small
  options: {encoder: mobilenetv3_small_050, channels: 8}
data:
  height: 32
  width: 32
  train: {name: synthetic, options: {seed: 1, length: 6, scenes: indoor}}
recipe: {name: cliffnet, random_heg_weights: [10.0, 15.0], sobel_weight: 1.0, warm_up_steps: 3}
optimizer: {lr: 1.0e-3}
trainer: {max_steps: 4, batch_size: 2, checkpoint_every_steps: 2, log_every_steps: 1,
          accelerator: cpu, threads: 1, images_logged: 0}
"""


def test_a_run_resumes_exactly_within_the_warm_up(tmp_path: Path, heg_s: Path) -> None:
    config = tmp_path / 'tiny.yaml'
    config.write_text(TINY, encoding='utf-8')
    given = ['--config', str(config), '--recipe.heg_s', str(heg_s)]
    whole = train(parse([*given, '--trainer.run_dir', str(tmp_path / 'whole')]))
    part = [*given, '--trainer.run_dir', str(tmp_path / 'part')]
    train(parse([*part, '--trainer.max_steps', '2']))
    rest = train(parse([*part, '--trainer.resume', 'last']))
    first, second = (torch.load(run.last, weights_only=True) for run in (whole, rest))
    assert first['training']['step'] == second['training']['step'] == 4
    for key, value in first['state'].items():
        assert torch.equal(value, second['state'][key]), key
