# SPDX-License-Identifier: Apache-2.0
"""Training without depth: what a batch of sequences holds, and what is said where it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from depth_core.data.sample import Sample
from depth_core.errors import ConfigError, DataError
from depth_core.models.base import DepthModel
from depth_core.train.recipes.selfsup import SelfSupRecipe

OUT = {'monodepth2_resnet18': 'decoder.out.bias', 'monodepth2_posecnn': 'out.bias'}


@pytest.mark.parametrize(
    ('missing', 'message'),
    [
        ({'neighbour_images': None}, 'a has no neighbouring frames.*neighbours, as'),
        ({'neighbour_dt_s': None}, 'a has no neighbouring frames'),
        ({'speed_mps': None}, 'a has no speed, and recipe.velocity_weight needs it'),
    ],
)
def test_samples_without_what_is_needed_are_refused(
    metric_model: DepthModel, sample: Sample, missing: dict[str, None], message: str
) -> None:
    step = SelfSupRecipe(velocity_weight=0.1).open(metric_model)
    poor = replace(sample, **missing)  # type: ignore[arg-type]
    call: Callable[[], object] = lambda: step.losses(poor, 0)  # noqa: E731
    with pytest.raises(DataError, match=message):
        call()


def test_networks_that_need_an_order_in_time_are_told_when_there_is_none(
    model: DepthModel, sample: Sample
) -> None:
    timeless = replace(sample, neighbour_dt_s=torch.full((2, 2), torch.nan))
    ordered = SelfSupRecipe(pose_network='monodepth2_posecnn').open(model).eval()
    with pytest.raises(DataError, match='order of sample a and its neighbours is unknown'):
        ordered.losses(timeless, 0)
    assert 'photometric' in SelfSupRecipe().open(model).eval().losses(timeless, 0)


@pytest.mark.parametrize('name', ['monodepth2_resnet18', 'monodepth2_posecnn'])
def test_the_order_of_frames_does_for_their_times(
    model: DepthModel, sample: Sample, name: str
) -> None:
    torch.manual_seed(1)
    step = SelfSupRecipe(pose_network=name).open(model).eval()  # type: ignore[arg-type]
    timeless = replace(sample, neighbour_dt_s=torch.full((2, 2), torch.nan))

    def error(offsets: list[int]) -> float:
        numbered = replace(timeless, neighbour_offsets=torch.tensor([offsets, offsets]))
        return step.losses(numbered, 0)['photometric'].item()

    with torch.no_grad():  # a motion that matters: whether it is turned back shows in the views
        for bias in (value for key, value in step.pose.named_parameters() if key == OUT[name]):
            bias.add_(torch.tensor([0.1, 0.2, 0.0, 0.5, 0.0, 3.0]).repeat(len(bias) // 6))
    timed = step.losses(sample, 0)['photometric'].item()
    assert error([-1, 1]) == timed
    assert error([1, -1]) != pytest.approx(timed, rel=1e-4)


def _first_of(batch: Sample) -> Sample:
    fields: dict[str, Any] = {
        name: None if held is None else held[0] for name, held in vars(batch).items()
    }
    return Sample(**fields)


class _Frames:
    """The first frame of a batch, each time with other labels."""

    def __init__(self, *samples: Sample) -> None:
        self.samples = [_first_of(sample) for sample in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def test_speeds_without_times_say_nothing_of_metres(sample: Sample) -> None:
    timeless = replace(
        sample,
        neighbour_dt_s=torch.full((2, 2), torch.nan),
        neighbour_offsets=torch.tensor([[-1, 1], [-1, 1]]),
    )
    with pytest.raises(DataError, match='no known speed or time'):
        SelfSupRecipe(velocity_weight=0.1).check_data(_Frames(timeless))


def test_data_that_never_says_what_a_metre_is_is_refused(sample: Sample) -> None:
    untold = replace(sample, speed_mps=torch.full((2,), torch.nan))
    by_speed = SelfSupRecipe(velocity_weight=0.1)
    with pytest.raises(DataError, match='none of 2 samples that were looked at, of 2'):
        by_speed.check_data(_Frames(untold, untold))
    blind = replace(sample, valid=torch.zeros_like(sample.valid))
    with pytest.raises(DataError, match='no depth for recipe'):
        SelfSupRecipe(supervised_weight=0.5).check_data(_Frames(blind))
    SelfSupRecipe().check_data(_Frames(replace(untold, valid=blind.valid)))  # up to scale


def test_the_order_of_labelled_and_other_frames_does_not_matter(
    metric_model: DepthModel, sample: Sample
) -> None:
    untold = replace(sample, speed_mps=torch.full((2,), torch.nan))
    recipe = SelfSupRecipe(velocity_weight=0.1)
    for order in ((sample, untold), (untold, untold, sample)):
        recipe.check_data(_Frames(*order))
    step = recipe.open(metric_model)
    for number in range(3):  # batches without a known speed come first
        assert step.losses(untold, number)['velocity'].item() == 0.0
    assert step.losses(sample, 3)['velocity'].item() > 0.0


def test_other_neighbours_than_expected_are_answered_with_both_settings(
    model: DepthModel, sample: Sample
) -> None:
    step = SelfSupRecipe(neighbours=4).open(model)
    with pytest.raises(
        ConfigError,
        match=r'options\.neighbours names 2 frames, and recipe\.neighbours is 4; give '
        r'recipe\.neighbours 2, or 4 offsets',
    ):
        step.losses(sample, 0)


def test_depth_that_never_comes_beside_speeds_is_named_once(
    metric_model: DepthModel, sample: Sample, caplog: pytest.LogCaptureFixture
) -> None:
    blind = replace(sample, valid=torch.zeros_like(sample.valid))
    recipe = SelfSupRecipe(velocity_weight=0.1, supervised_weight=0.9)
    step = recipe.open(metric_model)
    for _ in range(9):
        step._warn_of_missing_depth(blind)
    step._warn_of_missing_depth(sample)
    for _ in range(9):
        step._warn_of_missing_depth(blind)
    assert not caplog.messages, 'now and then there was depth'
    step.losses(blind, 0)
    (shown,) = caplog.messages
    assert 'no depth in 10 batches in a row, the last with sample a' in shown
    assert 'recipe.supervised_weight 0.9 takes its share' in shown
    for _ in range(30):
        step._warn_of_missing_depth(blind)
    assert len(caplog.messages) == 1
