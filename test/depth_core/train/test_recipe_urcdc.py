# SPDX-License-Identifier: Apache-2.0
"""The URCDC recipe: which terms a step has, on which pixels, and what they move."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from depth_core.data.sample import Sample
from depth_core.models import create_model
from depth_core.models.base import DepthModel, ModelSpec
from depth_core.models.urcdc.network import BranchPrediction, UrcdcPrediction, urcdc_spec
from depth_core.train.command_line import parse
from depth_core.train.loop import train
from depth_core.train.recipes.urcdc import UrcdcRecipe
from depth_core.weights.checkpoint import read_checkpoint
from test.rounding import in_float64

Reference = Callable[[str], dict[str, Tensor]]

EVEN = {'silog_transformer', 'silog_cnn', 'confidence_transformer', 'confidence_cnn'}
ODD = {'distillation_transformer', 'distillation_cnn'}

SMALL: dict[str, Any] = {
    'encoder': 'mobilenetv3_small_050',
    'crf_channels': (8, 16, 16, 16),
    'crf_heads': (1, 2, 2, 2),
    'pooled_channels': 8,
    'cnn_channels': (8, 8, 8, 8),
    'bypass': 0.0,
}


class Answers(DepthModel):
    """A network that answers what it was given, so that the recipe's numbers can be known."""

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        super().__init__()
        self.spec: ModelSpec = urcdc_spec('answers', 0.01, 100.0, default_size=(32, 32))
        self.branches = [
            BranchPrediction(depth=arrays[f'd{k}'], confidence=arrays[f'u{k}_pred'])
            for k in (1, 2)
        ]

    def forward(self, images: Tensor) -> UrcdcPrediction:
        del images
        first, second = self.branches
        depth = first.depth.squeeze(1)
        return UrcdcPrediction(depth=depth, sigma=depth, transformer=first, cnn=second)

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        return {'x': x}


@pytest.fixture
def arrays(reference: Reference) -> dict[str, Tensor]:
    return in_float64(reference('urcdc_losses'))


@pytest.fixture
def sample(arrays: dict[str, Tensor]) -> Sample:
    truth = arrays['gt'].squeeze(1)
    return Sample(
        image=torch.zeros(2, 3, 10, 12),
        depth_m=torch.where(truth > 0.0, truth, math.nan),
        valid=truth > 0.0,
        intrinsics=torch.eye(3).expand(2, 3, 3),
        key=('a', 'b'),
    )


@pytest.mark.numeric
@pytest.mark.parametrize(('name', 'nearest_m'), [('nyu', 0.1), ('kitti', 1.0)])
def test_both_kinds_of_step_cost_what_the_authors_say(
    arrays: dict[str, Tensor], sample: Sample, name: str, nearest_m: float
) -> None:
    step = UrcdcRecipe(nearest_m=nearest_m).open(Answers(arrays))
    even, odd = step.losses(sample, 0), step.losses(sample, 1)
    assert set(even) == EVEN
    assert set(odd) == ODD
    for terms, total in ((even, 'total_even'), (odd, 'total_odd')):
        _assert_authors(torch.stack(tuple(terms.values())).sum(), arrays[f'{name}.{total}'])
    _assert_authors(even['silog_cnn'], arrays[f'{name}.silog2'])
    _assert_authors(odd['distillation_transformer'], arrays[f'{name}.distill1'])


def _assert_authors(found: Tensor, expected: Tensor) -> None:
    # Theirs are float32 sums over 240 pixels, on values up to 5; ours are of float64.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ('settings', 'supervised', 'distilled'),
    [
        ({}, [0, 2, 4, 6], [1, 3, 5, 7]),
        ({'steps_per_epoch': 3}, [0, 2, 3, 5, 6], [1, 4, 7]),
        ({'steps_per_epoch': 4}, [0, 2, 4, 6], [1, 3, 5, 7]),
        ({'alternation': 'together'}, range(8), range(8)),
        ({'distillation_weight': 0.0}, range(8), []),
    ],
)
def test_steps_alternate_inside_each_epoch(
    arrays: dict[str, Tensor],
    sample: Sample,
    settings: dict[str, Any],
    supervised: list[int],
    distilled: list[int],
) -> None:
    opened = UrcdcRecipe(**settings).open(Answers(arrays))
    for step in range(8):
        expected = (EVEN if step in supervised else set()) | (ODD if step in distilled else set())
        assert set(opened.losses(sample, step)) == expected, step


@pytest.mark.numeric
def test_other_rectifications(arrays: dict[str, Tensor], sample: Sample) -> None:
    model = Answers(arrays)
    terms = UrcdcRecipe(rectification='none').open(model).losses(sample, 1)
    _assert_authors(terms['distillation_cnn'], 0.1 * arrays['diff_no_umap'])
    terms = UrcdcRecipe(rectification='prediction').open(model).losses(sample, 1)
    _assert_authors(terms['distillation_cnn'], 0.1 * arrays['diff_no_mask'])


@pytest.mark.numeric
def test_weights_scale_their_terms(arrays: dict[str, Tensor], sample: Sample) -> None:
    recipe = UrcdcRecipe(
        silog_scale=20.0, confidence_weight=2.0, distillation_weight=1.0, alternation='together'
    )
    terms = recipe.open(Answers(arrays)).losses(sample, 0)
    _assert_authors(terms['silog_transformer'], 2.0 * arrays['nyu.silog1'])
    _assert_authors(terms['confidence_cnn'], 4.0 * arrays['nyu.uncer2'])
    _assert_authors(terms['distillation_cnn'], 10.0 * arrays['nyu.distill2'])


def test_a_perfect_batch_has_no_loss_and_no_gradient(sample: Sample) -> None:
    depth = torch.where(sample.valid, sample.depth_m, 1.0).unsqueeze(1).requires_grad_()
    certain = torch.ones_like(depth)
    model = Answers({'d1': depth, 'd2': depth, 'u1_pred': certain, 'u2_pred': certain})
    terms = UrcdcRecipe(alternation='together').open(model).losses(sample, 0)
    loss = torch.stack(tuple(terms.values())).sum()
    assert loss.item() == 0.0
    loss.backward()
    assert depth.grad is not None
    assert not depth.grad.any()


def test_sky_is_trained_on_when_asked(arrays: dict[str, Tensor], sample: Sample) -> None:
    sky = sample.depth_m.clone()
    sky[:, 0] = math.inf
    beyond = replace(sample, depth_m=sky, valid=sample.valid & torch.isfinite(sky))
    at_end = replace(
        sample, depth_m=sky.clamp(max=100.0), valid=sample.valid | torch.isposinf(sky)
    )
    model = Answers(arrays)
    without = UrcdcRecipe().open(model)
    with_sky = UrcdcRecipe(sky_as_max_depth=True).open(model)
    expected = without.losses(at_end, 0)['silog_cnn']
    torch.testing.assert_close(with_sky.losses(beyond, 0)['silog_cnn'], expected)
    assert not torch.equal(without.losses(beyond, 0)['silog_cnn'], expected)


def test_odd_steps_leave_the_confidence_heads_alone(sample: Sample) -> None:
    torch.manual_seed(0)
    model = create_model('urcdc_small', **SMALL)
    image = torch.rand(2, 3, 64, 64)
    depth_m, valid = 5.0 + torch.rand(2, 64, 64), torch.ones(2, 64, 64, dtype=torch.bool)
    step = UrcdcRecipe().open(model)
    batch = replace(sample, image=image, depth_m=depth_m, valid=valid)
    for parity in (0, 1):
        model.zero_grad()
        torch.stack(tuple(step.losses(batch, parity).values())).sum().backward()
        without = {key for key, weight in model.named_parameters() if weight.grad is None}
        heads = {key for key, _ in model.named_parameters() if 'confidence_head' in key}
        assert without == (heads if parity else set())
    assert UrcdcRecipe().leaves_weights_out('urcdc_small', SMALL)
    assert not UrcdcRecipe(alternation='together').leaves_weights_out('urcdc_small', SMALL)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'nearest_m': -1.0}, 'recipe.nearest_m is -1.0; give at least 0.'),
        ({'distillation_weight': -0.1}, 'recipe.distillation_weight is -0.1; give at least 0.'),
        ({'confidence_weight': 0.0}, 'recipe.confidence_weight is 0.0; give more than 0, for'),
        ({'silog_scale': 0.0}, 'recipe.silog_scale is 0.0; give more than 0.'),
        ({'variance_focus': 1.5}, 'recipe.variance_focus is 1.5; give a number in [0, 1].'),
        ({'steps_per_epoch': 0}, 'recipe.steps_per_epoch is 0; give at least 1, or none.'),
    ],
)
def test_a_setting_out_of_range_is_told(
    arrays: dict[str, Tensor], settings: dict[str, Any], message: str
) -> None:
    problems = UrcdcRecipe(**settings).problems(Answers(arrays))
    assert len(problems) == 1
    assert problems[0].startswith(message)


def test_a_model_of_another_family_is_refused() -> None:
    model = create_model('densedepth_small', encoder='mobilenetv3_small_050')
    problems = UrcdcRecipe().problems(model)
    assert len(problems) == 1
    assert 'densedepth_small is of family densedepth' in problems[0]


CONFIG = """
model:
  name: urcdc_small
  options: {encoder: mobilenetv3_small_050, crf_channels: [8, 16, 16, 16],
            crf_heads: [1, 2, 2, 2], pooled_channels: 8, cnn_channels: [8, 8, 8, 8]}
data:
  height: 64
  width: 64
  train: {name: synthetic, options: {seed: 1, length: 6, scenes: indoor}}
  augmentation: jitter
  cutflip_probability: 0.5
recipe: {name: urcdc, nearest_m: 0.5, steps_per_epoch: 3}
optimizer: {lr: 1.0e-3, clip_norm: 10.0}
schedule: {name: constant}
trainer: {max_steps: 4, batch_size: 2, checkpoint_every_steps: 3, log_every_steps: 1,
          accelerator: cpu, threads: 1}
"""


def test_a_run_continues_exactly_where_it_stopped(tmp_path: Path) -> None:
    """Across an epoch of three steps, with units left out at random."""
    config = tmp_path / 'tiny.yaml'
    config.write_text(CONFIG, encoding='utf-8')

    def run(folder: str, *arguments: str) -> dict[str, Tensor]:
        where = ['--config', str(config), '--trainer.run_dir', str(tmp_path / folder)]
        return dict(read_checkpoint(train(parse([*where, *arguments])).last).state)

    whole = run('whole')
    run('parts', '--trainer.max_steps', '3')
    continued = run('parts', '--trainer.resume', 'last')
    assert all(torch.equal(whole[key], continued[key]) for key in whole)
