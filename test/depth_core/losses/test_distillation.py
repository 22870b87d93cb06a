# SPDX-License-Identifier: Apache-2.0
"""The losses of URCDC-Depth: the authors' numbers and gradients, numbers by hand, masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_core import losses
from test.rounding import in_float64

pytestmark = pytest.mark.numeric

Reference = Callable[[str], dict[str, Tensor]]

ROUNDING = 1e-5
"""Absolute, on values up to 5: the authors' float32 sums over 240 pixels; ours are of float64."""
SETS = pytest.mark.parametrize('name', ['nyu', 'kitti'])


def _close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=ROUNDING)


@SETS
def test_each_term_is_the_authors(reference: Reference, name: str) -> None:
    arrays = in_float64(reference('urcdc_losses'))
    truth, valid = arrays['gt'], arrays[f'{name}.mask']
    assert torch.equal(valid, truth > {'nyu': 0.1, 'kitti': 1.0}[name])
    depths = (arrays['d1'], arrays['d2'])
    confidences = [losses.depth_confidence(depth, truth, valid) for depth in depths]
    for number, (depth, other) in enumerate([depths, depths[::-1]], start=1):
        own, teacher = confidences[number - 1], confidences[2 - number]
        _close(own[valid], arrays[f'{name}.conf{number}'][valid])
        assert not own[~valid].any()
        _close(losses.silog(depth, truth, valid), arrays[f'{name}.silog{number}'])
        distilled = 0.1 * losses.cross_distillation(depth, other, teacher, valid)
        _close(distilled, arrays[f'{name}.distill{number}'])
        learnt = 0.5 * losses.l1(arrays[f'u{number}_pred'], own, valid)
        _close(learnt, arrays[f'{name}.uncer{number}'])


@SETS
@pytest.mark.parametrize('step', ['even', 'odd'])
def test_totals_and_gradients_are_the_authors(reference: Reference, name: str, step: str) -> None:
    arrays = in_float64(reference('urcdc_losses'))
    truth, valid = arrays['gt'], arrays[f'{name}.mask']
    names = {'d1': 'd1', 'd2': 'd2', 'u1': 'u1_pred', 'u2': 'u2_pred'}
    given = {key: arrays[stored].clone().requires_grad_() for key, stored in names.items()}
    confidence = {
        number: losses.depth_confidence(given[f'd{number}'], truth, valid) for number in '12'
    }
    if step == 'even':
        total = sum(losses.silog(given[f'd{number}'], truth, valid) for number in '12') + sum(
            0.5 * losses.l1(given[f'u{number}'], confidence[number], valid) for number in '12'
        )
    else:
        total = sum(
            0.1
            * losses.cross_distillation(
                given[f'd{student}'], given[f'd{teacher}'], confidence[teacher], valid
            )
            for student, teacher in ('12', '21')
        )
    assert isinstance(total, Tensor)
    _close(total, arrays[f'{name}.total_{step}'])
    total.backward()
    for key, value in given.items():
        stored = f'{name}.grad_{step}_{key}'
        if stored in arrays:
            assert value.grad is not None
            # Gradients are about 0.01: a tenth of a percent of that.
            torch.testing.assert_close(value.grad, arrays[stored], rtol=1e-4, atol=1e-7)
        else:
            assert value.grad is None


def test_the_variants_the_authors_do_not_use(reference: Reference) -> None:
    arrays = in_float64(reference('urcdc_losses'))
    depths = (arrays['d1'], arrays['d2'])
    relative = losses.relative_distillation(*depths, arrays['nyu.mask'])
    _close(relative, arrays['diff_no_umap'])
    everywhere = losses.cross_distillation(*depths, arrays['u1_pred'])
    _close(everywhere, arrays['diff_no_mask'])


def test_by_hand() -> None:
    depth, truth = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([1.0, 5.0, 0.0])
    confidence = losses.depth_confidence(depth, truth)
    expected = torch.tensor([1.0, math.exp(-5.0 / 9.0), math.exp(-5.0)])
    torch.testing.assert_close(confidence, expected)
    student, teacher = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 5.0, 3.0])
    trust = torch.tensor([0.5, 0.25, 1.0])
    # Errors of 1, 3 and 0 m with trust 0.5, 0.25 and 1.
    loss = losses.cross_distillation(student, teacher, trust)
    assert loss.item() == pytest.approx(1.25 / 1.75)
    valid = torch.tensor([True, True, False])
    loss = losses.cross_distillation(student, teacher, trust, valid)
    assert loss.item() == pytest.approx(1.25 / 0.75)
    # Errors of 1, 3 and 0 m between sums of 3, 7 and 6 m.
    relative = losses.relative_distillation(student, teacher)
    assert relative.item() == pytest.approx((1.0 / 3.0 + 3.0 / 7.0) / 3.0)


def test_only_the_student_learns() -> None:
    given = [torch.rand(2, 1, 3, 4).add(1.0).requires_grad_() for _ in range(3)]
    student, teacher, confidence = given
    loss = losses.cross_distillation(student, teacher, confidence)
    (loss + losses.relative_distillation(student, teacher)).backward()
    assert student.grad is not None
    assert teacher.grad is None
    assert confidence.grad is None
    assert not losses.depth_confidence(student, torch.rand(2, 1, 3, 4)).requires_grad


def test_what_is_not_valid_reaches_nothing() -> None:
    valid = torch.tensor([True, False, False, False])
    wild = torch.tensor([2.0, math.nan, math.inf, -math.inf])
    student = wild.clone().requires_grad_()
    teacher, truth = wild.roll(0).clone(), wild.clone()
    teacher[0], truth[0] = 3.0, 2.5
    confidence = losses.depth_confidence(teacher, truth, valid)
    assert confidence[1:].tolist() == [0.0, 0.0, 0.0]
    loss = losses.cross_distillation(student, teacher, confidence, valid)
    loss = loss + losses.relative_distillation(student, teacher, valid)
    assert loss.item() == pytest.approx(1.0 + 0.2)
    loss.backward()
    assert student.grad is not None
    assert student.grad[1:].tolist() == [0.0, 0.0, 0.0]


def test_an_empty_mask_costs_nothing() -> None:
    student = torch.rand(5).requires_grad_()
    valid = torch.zeros(5, dtype=torch.bool)
    confidence = losses.depth_confidence(student, torch.rand(5), valid)
    loss = losses.cross_distillation(student, torch.rand(5), confidence, valid)
    loss = loss + losses.relative_distillation(student, torch.rand(5), valid)
    assert loss.item() == 0.0
    loss.backward()
    assert student.grad is not None
    assert not student.grad.any()
