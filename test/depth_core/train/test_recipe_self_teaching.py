# SPDX-License-Identifier: Apache-2.0
"""Self-teaching: who moves, who does not, and what sigma learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depth_core.data.sample import Sample
from depth_core.errors import ModelError
from depth_core.models import create_model
from depth_core.models.base import DepthModel
from depth_core.train.recipes.self_teaching import SelfTeachingRecipe
from depth_core.weights.checkpoint import load_model, save_model


@pytest.fixture(scope='module')
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('teacher') / 'teacher.ckpt'
    save_model(path, create_model('selfsup_resnet18'))
    return path


@pytest.fixture
def model() -> DepthModel:
    torch.manual_seed(1)
    return create_model('selfsup_resnet18')


@pytest.fixture
def sample() -> Sample:
    generator = torch.Generator().manual_seed(0)
    return Sample(
        image=torch.rand(2, 3, 64, 64, generator=generator),
        depth_m=torch.ones(2, 64, 64),
        valid=torch.zeros(2, 64, 64, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(2, 3, 3),
        key=('a', 'b'),
    )


def test_the_student_moves_and_the_teacher_does_not(
    model: DepthModel, sample: Sample, teacher: Path
) -> None:
    step = SelfTeachingRecipe(teacher=teacher).open(model).train()
    assert not step.teacher.training
    terms = step.losses(sample, 0)
    assert set(terms) == {'depth', 'sigma'}
    terms['sigma'].backward(retain_graph=True)
    moved = {key for key, weight in step.named_parameters() if weight.grad is not None}
    assert moved
    assert all(key.startswith('model.sigma_head.') for key in moved)
    terms['depth'].backward()
    assert all(weight.grad is None for weight in step.teacher.parameters())
    assert step.model.get_parameter('encoder.conv1.weight').grad is not None
    assert any(key.startswith('teacher.') for key in step.companions_state())


def test_one_that_knows_all_has_nothing_to_learn(model: DepthModel, sample: Sample) -> None:
    """Without a teacher of its own a network is its own teacher: what is left is the jitter."""
    step = SelfTeachingRecipe().open(model).eval()
    assert step.losses(sample, 0)['depth'].item() == pytest.approx(0.0, abs=1e-6)
    jittered = replace(sample, image=1.0 - sample.image, clean_image=sample.image)
    assert step.losses(jittered, 0)['depth'].item() > 1e-4


def test_training_brings_the_student_to_its_teacher(sample: Sample, teacher: Path) -> None:
    student = load_model(teacher)
    biases = [
        weight
        for key, weight in student.named_parameters()
        if '.head.' in key and key.endswith('bias')
    ]
    with torch.no_grad():
        for bias in biases:
            bias.add_(2.0)  # all it sees is too near
    step = SelfTeachingRecipe(teacher=teacher).open(student).eval()
    optimizer = torch.optim.Adam(
        [*biases, *student.get_submodule('sigma_head').parameters()], lr=0.1
    )
    values = []
    for _ in range(15):
        terms = step.losses(sample, 0)
        optimizer.zero_grad()
        torch.stack(tuple(terms.values())).sum().backward()
        optimizer.step()
        values.append({name: term.item() for name, term in terms.items()})
    assert values[-1]['depth'] < 0.5 * values[0]['depth']
    assert values[-1]['sigma'] < values[0]['sigma']


def test_a_teacher_of_another_kind_is_refused(teacher: Path) -> None:
    with pytest.raises(ModelError, match=r'of up_to_scale depth, and .* to give metric depth'):
        SelfTeachingRecipe(teacher=teacher).open(create_model('selfsup_resnet18', metric=True))
    other = create_model('densedepth_small', encoder='mobilenetv3_small_050')
    problems = SelfTeachingRecipe(sigma_weight=0.0).problems(other)
    assert 'sigma_weight is 0.0' in problems[0]
    assert 'is of family densedepth' in problems[1]
